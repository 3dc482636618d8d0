"""Loads a folder that was looked at: safetensors only, nothing from the network, every weight there and finite."""

from __future__ import annotations

import re
import sys
from typing import Any

import torch
from safetensors import SafetensorError

from server.errors import DataError, ResourceError
from server.resources import is_out_of_memory
from server.synth.hardware import Hardware
from server.synth.pipelines.folder import LEFT_OUT, Part, PipelineFolder
from server.synth.pipelines.kinds import Kind, missing_package, part_class


def load(folder: PipelineFolder, kind: Kind, hardware: Hardware) -> Any:
    """The pipeline on the hardware's device, in half precision on a GPU; raises DataError and MissingExtraError.

    Half is bfloat16 where the GPU computes in it, as its range is that of float32, and weights that overflow float16
    are common.
    """
    quiet()
    try:
        models = {part.name: _model(folder, part, precision(hardware)) for part in folder.parts if part.weights}
        absent: dict[str, Any] = {name: None for name in LEFT_OUT if name in folder.index}
        if "requires_safety_checker" in folder.index:
            absent["requires_safety_checker"] = False
        pipeline = kind.cls.from_pretrained(
            folder.path, local_files_only=True, use_safetensors=True, **models, **absent
        )
        pipeline.to(hardware.device)
    except ImportError as error:
        package = re.search(r"requires the (\S+) library", str(error))
        raise missing_package(folder, package[1].lower() if package else error.name or str(error)) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        if is_out_of_memory(error):
            raise ResourceError(
                f"{folder.path} does not fit into the memory of {hardware.describe()}: free memory, sample on another "
                "device, or choose a smaller pipeline"
            ) from error
        first = str(error).strip().splitlines()
        raise DataError(f"{folder.path} cannot be loaded: {first[0] if first else type(error).__name__}") from error
    for name in models:
        check_finite(getattr(pipeline, name), str(folder.path / name))
        if hardware.channels_last and name in ("unet", "vae"):
            getattr(pipeline, name).to(memory_format=torch.channels_last)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def precision(hardware: Hardware) -> torch.dtype:
    """Of weights and passes on this hardware."""
    if hardware.device == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def check_finite(model: torch.nn.Module, where: str) -> None:
    """Raises DataError that names the first weight that is not a number."""
    for name, weight in (*model.named_parameters(), *model.named_buffers()):
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise DataError(f"{where}: {name} holds numbers that are not finite; fetch or save the pipeline again")


def quiet() -> None:
    """No bars of the libraries' own among a run's lines."""
    import diffusers

    diffusers.utils.logging.disable_progress_bar()
    if "transformers" in sys.modules:  # whatever needs it has it imported by now
        import transformers

        transformers.utils.logging.disable_progress_bar()


def _model(folder: PipelineFolder, part: Part, dtype: torch.dtype) -> Any:
    """One part with all its weights: what a file lacks, the libraries would fill with random numbers."""
    cls = part_class(folder, part)
    kept = {"dtype" if part.library == "transformers" else "torch_dtype": dtype}
    model, report = cls.from_pretrained(
        folder.path / part.name,
        variant=part.variant,
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
        **kept,
    )
    for what, names in (("lack", report["missing_keys"]), ("do not fit", report["mismatched_keys"])):
        if names:
            name = sorted(map(str, names))[0]
            raise DataError(
                f"{folder.path / part.name}: its weights {what} {name} ({len(names)} in all); fetch or save it again"
            )
    return model.eval()
