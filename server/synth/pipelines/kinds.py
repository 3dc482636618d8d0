"""What a pipeline is: the classes it is made of, what it is asked with, and the steps and guidance that its kind wants.

Read from the classes' signatures and the folder's settings, so that nothing has to be loaded for it.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from dataclasses import dataclass
from typing import Any, Literal

import torch

from server.errors import ConfigError, DataError, MissingExtraError
from server.synth.pipelines.folder import INDEX, Part, PipelineFolder

FEW_STEPS = 4
FEW_STEP_SCHEDULERS = ("LCMScheduler", "TCDScheduler")
OWN_NOISE = ("DPMSolverSDEScheduler", "CosineDPMSolverMultistepScheduler")  # draw theirs past the samples' seeds
DIT_NO_CLASS = 1000
"""The label that DiTPipeline shows in place of a class for guidance, whatever its network was trained with."""


@dataclass(frozen=True)
class Kind:
    """`cls` is the pipeline's class, `takes` the names of its call's arguments; it is asked with a text or a class.

    `steps` and `guidance` are what it wants where nobody says otherwise, None where it takes none. Of one that takes
    classes, labels run from 0 to `n_labels` - 1 (None: unknown), and `by_name` has those that it knows by name.
    """

    cls: Any
    takes: frozenset[str]
    form: Literal["text", "class"]
    steps: int | None
    guidance: float | None
    n_labels: int | None
    by_name: dict[str, int]


def kind_of(folder: PipelineFolder) -> Kind:
    """Raises DataError for a pipeline that makes no images of a text or a class, or that draws noise of its own."""
    for part in folder.parts:
        if issubclass(part_class(folder, part), torch.nn.Module) and not part.weights:
            raise DataError(
                f"{folder.path / part.name} has no weights in safetensors: save or fetch the pipeline again"
            )
    cls = _class(folder, "diffusers", folder.kind)
    if "image" in (takes := _takes(cls)):  # one that changes images: its parts may serve for text to image, too
        from diffusers.pipelines import auto_pipeline

        cls = auto_pipeline._get_task_class(auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING, folder.kind, False) or cls
        takes = _takes(cls)
    if not {"generator", "output_type"} <= takes.keys() or not takes.keys() & {"prompt", "class_labels"}:
        raise DataError(
            f"{folder.path / INDEX}: {folder.kind} makes no images from a text or a class label; choose a "
            "text-to-image pipeline, or a class-conditional one"
        )
    if not any(part.name == "scheduler" for part in folder.parts):
        raise DataError(f"{folder.path / INDEX}: {folder.kind} has no scheduler of its own, so its steps cannot be led")
    scheduler = folder.settings_of("scheduler")
    if scheduler.get("_class_name") in OWN_NOISE:
        raise DataError(
            f"{folder.path / 'scheduler'}: {scheduler['_class_name']} draws noise that no seed names; choose another "
            "scheduler, as DPMSolverMultistepScheduler"
        )
    form: Literal["text", "class"] = "text" if "prompt" in takes else "class"
    network = folder.settings_of("transformer") or folder.settings_of("unet")
    steps, guidance = _wanted(folder, takes, scheduler, network)
    n_labels = network.get("num_embeds_ada_norm", network.get("num_class_embeds")) if form == "class" else None
    if folder.kind == "DiTPipeline" and n_labels != DIT_NO_CLASS:
        guidance = 1.0
    return Kind(cls, frozenset(takes), form, steps, guidance, n_labels, _names(folder) if form == "class" else {})


def check_settings(kind: Kind, steps: int | None, guidance: float | None, negative: str | None) -> None:
    """Raises ConfigError for what a user set and the pipeline would not heed."""
    if steps is not None and "num_inference_steps" not in kind.takes:
        raise ConfigError(f"synth.steps: {kind.cls.__name__} takes no number of steps; leave it out")
    if guidance is not None and "guidance_scale" not in kind.takes:
        raise ConfigError(f"synth.guidance: {kind.cls.__name__} takes no guidance; leave it out")
    strength = kind.guidance if guidance is None else guidance
    if kind.cls.__name__ == "DiTPipeline" and strength is not None and strength > 1 and kind.n_labels != DIT_NO_CLASS:
        raise ConfigError(
            f"synth.guidance: DiTPipeline guides with label {DIT_NO_CLASS} as no class, and this one has "
            f"{kind.n_labels} labels; set synth.guidance = 1"
        )
    if negative is not None and "negative_prompt" not in kind.takes:
        raise ConfigError(f"synth.negative_prompt: {kind.cls.__name__} takes none; leave it out")
    if negative is not None and strength is not None and strength <= 1:
        raise ConfigError(
            f"synth.negative_prompt: has no effect with guidance {strength:g}; leave it out, or set synth.guidance "
            "above 1"
        )


def part_class(folder: PipelineFolder, part: Part) -> Any:
    """The class that model_index.json names for a part."""
    return _class(folder, part.library, part.kind)


def _class(folder: PipelineFolder, library: str, name: str) -> Any:
    module = _library(folder, library)
    cls: Any = getattr(module, name, None)
    if not isinstance(cls, type) or not hasattr(cls, "from_pretrained"):
        raise DataError(
            f"{folder.path / INDEX}: {library} {module.__version__} has no part {name}; the pipeline was saved "
            "with another version"
        )
    if type(cls).__name__ == "DummyObject":  # what stands in for a class whose packages are not there
        needs: list[str] = getattr(cls, "_backends", [library])
        lacking = [package for package in needs if importlib.util.find_spec(package) is None]
        raise missing_package(folder, (lacking or needs)[0])
    return cls


def _library(folder: PipelineFolder, name: str) -> Any:
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        raise missing_package(folder, error.name or name) from error
    if name == "transformers":
        module.logging.set_verbosity_error()
    return module


def missing_package(folder: PipelineFolder, package: str) -> MissingExtraError:
    """The sentence with the line that installs it."""
    line = "pip install 'fimi[text2image]'" if package == "transformers" else f"pip install {package}"
    return MissingExtraError(f"the pipeline at {folder.path} needs the package {package!r}; install it with: {line}")


def _takes(cls: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(cls.__call__).parameters)


def _wanted(
    folder: PipelineFolder, takes: dict[str, inspect.Parameter], scheduler: dict[str, Any], network: dict[str, Any]
) -> tuple[int | None, float | None]:
    """Steps and guidance: its call's own defaults, or those of models that were distilled to few steps."""
    steps, guidance = _default(takes, "num_inference_steps"), _default(takes, "guidance_scale")
    if "prompt" not in takes or not _is_distilled(folder, scheduler, network):
        return None if steps is None else int(steps), guidance
    embedded = network.get("time_cond_proj_dim") is not None  # guidance is told to the network, as its own strength
    few = min(int(steps or FEW_STEPS), FEW_STEPS)
    return few, guidance if embedded or guidance is None else 0.0


def _default(takes: dict[str, inspect.Parameter], name: str) -> float | None:
    value = takes[name].default if name in takes else None
    return value if isinstance(value, (int, float)) else None


def _is_distilled(folder: PipelineFolder, scheduler: dict[str, Any], network: dict[str, Any]) -> bool:
    """Turbo, LCM, Lightning, schnell: no settings say so outright, but all of them are sampled in ways of their own."""
    if scheduler.get("_class_name") in FEW_STEP_SCHEDULERS or network.get("time_cond_proj_dim") is not None:
        return True
    trailing = scheduler.get("timestep_spacing") == "trailing" and scheduler.get("prediction_type") == "epsilon"
    return trailing or (folder.kind == "FluxPipeline" and network.get("guidance_embeds") is False)


def _names(folder: PipelineFolder) -> dict[str, int]:
    """{"0": "tench, Tinca tinca"} -> {"tench": 0, "Tinca tinca": 0}."""
    table = folder.index.get("id2label") or {}
    try:
        return {name.strip(): int(number) for number, names in table.items() for name in str(names).split(",")}
    except (ValueError, AttributeError) as error:
        raise DataError(
            f'{folder.path / INDEX}: id2label is no table of numbers and names, as {{"0": "cat"}}: {error}'
        ) from error
