"""Opens whatever `synth.generator` names: a checkpoint of train-generator, a pipeline's folder, or hub:OWNER/NAME."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.config import SynthConfig
from server.errors import ConfigError, DataError
from server.synth.generator import Generator
from server.synth.settings import MOST_STEPS, Sampling

if TYPE_CHECKING:
    from server.synth.hardware import Hardware
    from server.synth.pipelines.conditions import Conditions
    from server.synth.pipelines.folder import PipelineFolder
    from server.synth.pipelines.kinds import Kind

HUB = "hub:"
CHECKPOINT = ".safetensors"
PIPELINE_BATCH = {"cpu": 4, "cuda": 32}  # samples; halved where memory runs out


@dataclass(frozen=True)
class Wanted:
    """What images a run is in need of: of these classes, (H, W, C)."""

    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]


@dataclass(frozen=True)
class PipelineAbout:
    """A pipeline that was looked at, not loaded: all that can be refused before has been."""

    source: str
    folder: PipelineFolder
    kind: Kind
    conditions: Conditions
    settings: dict[str, Any]
    commit: str | None

    @property
    def card(self) -> dict[str, Any]:
        """What is known of it, for generator-card.json of a run; None where nothing is."""
        return {
            "pipeline": self.source,
            "class": self.folder.kind,
            "weights_digest": self.folder.digest,
            "revision": self.commit,
            "licence": self.folder.licence,
            "trained_on": None,
            "sampling": self.settings,
            self.conditions.name: [list(options) for options in self.conditions.options],
            **dict(self.conditions.also),
        }

    def describe(self) -> str:
        """For the log of a run."""
        settings = ", ".join(f"{name} {value:g}" for name, value in self.settings.items())
        licence = self.folder.licence or "unknown"
        return (
            f"{self.source}: a {self.folder.kind} that others trained (licence: {licence}), not on this run's public "
            f"part, so what it has seen is not known; {settings}"
        )


def is_pipeline(source: str | Path) -> bool:
    """Whether it is a pipeline of diffusers and not a checkpoint of ours; raises DataError for a folder of ours."""
    if isinstance(source, str):
        return True
    if (source / f"generator{CHECKPOINT}").is_file() and not (source / "model_index.json").exists():
        raise DataError(
            f"synth.generator: {source} is a folder of train-generator; name the file in it, generator{CHECKPOINT}"
        )
    return source.suffix != CHECKPOINT and not source.is_file()


def open_generator(
    source: str | Path, synth: SynthConfig, wanted: Callable[[], Wanted], hardware: Hardware | None = None
) -> Generator:
    """A Path, or a text that begins with "hub:" -> what samples it, with the settings of [synth].

    With synth.select, its samples pass its judges, with pixels under synth.black_below, else 0, made 0 for that.
    Raises ConfigError for settings that do not go with it, DataError for files that are missing, broken or unsafe,
    MissingExtraError for a package that is not there. `wanted` is asked by pipelines alone. `hardware`: a GPU where
    there is one, unless it is given.
    """
    generator = _unselected(source, synth, wanted, hardware)
    if not synth.select:
        return generator
    from server.synth.selection import selected

    return selected(generator, judges_folder(source), synth.select, black_below=synth.black_below or 0)


def _unselected(
    source: str | Path, synth: SynthConfig, wanted: Callable[[], Wanted], hardware: Hardware | None
) -> Generator:
    if is_pipeline(source):
        return _pipeline_generator(look_at(source, synth, wanted()), wanted().image_shape, hardware)
    from server.synth.hardware import Hardware
    from server.synth.sampler import load_generator

    return load_generator(Path(source), own_sampling(synth), hardware or Hardware.here(compile=False))


def open_on(device: str, synth: SynthConfig, wanted: Wanted, source: str | Path) -> Generator:
    """`open_generator` on a device ("auto", "cpu", "cuda") of whatever machine this is called on: can be pickled up to
    its last argument."""
    from server.synth.hardware import Hardware

    return open_generator(source, synth, lambda: wanted, Hardware.here(device, compile=False))


def files_to_send(source: str | Path, synth: SynthConfig) -> list[Path]:
    """What another machine lacks to open it: all parts of a checkpoint, its judges. A pipeline must be found there."""
    if is_pipeline(source):
        return []
    from server.synth.checkpoint import parts_of
    from server.synth.judges import FILE

    return [*parts_of(Path(source)), *([judges_folder(source) / FILE] if synth.select else [])]


def judges_folder(source: str | Path) -> Path:
    """Where judges.safetensors of a generator lies: beside a checkpoint, in a pipeline's folder."""
    if isinstance(source, str):
        raise ConfigError(f"synth.select: {source} has no place for judges.safetensors; fetch it into a folder")
    return source if is_pipeline(source) else source.parent


def own_sampling(synth: SynthConfig) -> Sampling:
    """How a checkpoint of ours is sampled; raises ConfigError for settings that it does not heed."""
    for name in ("template", "prompts", "negative_prompt", "labels"):
        if getattr(synth, name):
            raise ConfigError(f"synth.{name}: is for pipelines, and the generator is a checkpoint; leave it out")
    given = {name: getattr(synth, name) for name in ("steps", "guidance", "solver") if getattr(synth, name) is not None}
    sampling = Sampling(**given)
    if sampling.steps > MOST_STEPS:
        raise ConfigError(f"synth.steps: is {sampling.steps}; at most {MOST_STEPS} for a checkpoint")
    if sampling.guidance < 1.0:
        raise ConfigError(f"synth.guidance: is {sampling.guidance:g}; at least 1 for a checkpoint, which is none")
    return sampling


def look_at(source: str | Path, synth: SynthConfig, wanted: Wanted) -> PipelineAbout:
    """Check folder, classes and settings of a pipeline without loading it; raises as `open_generator`."""
    from server.synth.pipelines import conditions, hub, kinds
    from server.synth.pipelines.folder import read_folder

    path, commit = hub.fetch(source) if isinstance(source, str) else (source, None)
    if not path.is_dir():
        raise DataError(
            f"synth.generator: {path} is neither a checkpoint ({CHECKPOINT}) nor a pipeline's folder; for one of the "
            "hub write hub:OWNER/NAME"
        )
    folder = read_folder(path)
    kind = kinds.kind_of(folder)
    kinds.check_settings(kind, synth.steps, synth.guidance, synth.negative_prompt)
    if synth.solver is not None:
        raise ConfigError(f"synth.solver: {folder.kind} brings its own scheduler; leave it out")
    others = ("labels",) if kind.form == "text" else ("template", "prompts", "negative_prompt")
    for name in others:
        if getattr(synth, name):
            raise ConfigError(f"synth.{name}: {folder.kind} is asked with a {kind.form}; leave it out")
    if kind.form == "text":
        asked = conditions.prompts(wanted.class_names, synth.template, synth.prompts, synth.negative_prompt)
    else:
        asked = conditions.labels(wanted.class_names, kind.by_name, kind.n_labels, synth.labels)
    steps = kind.steps if synth.steps is None else synth.steps
    guidance = kind.guidance if synth.guidance is None else synth.guidance
    given = {"num_inference_steps": steps, "guidance_scale": guidance}
    settings = {name: value for name, value in given.items() if value is not None}
    return PipelineAbout(str(source), folder, kind, asked, settings, commit)


def _pipeline_generator(
    about: PipelineAbout, image_shape: tuple[int, int, int], hardware: Hardware | None
) -> Generator:
    from server.synth.batches import Batches
    from server.synth.hardware import Hardware
    from server.synth.pipelines.generate import PipelineGenerator
    from server.synth.pipelines.loading import load

    place = hardware or Hardware.here()

    def load_it() -> Any:
        return load(about.folder, about.kind, place)

    weights = about.folder.digest if about.commit is None else f"{about.commit} {about.folder.digest}"
    batches = Batches(PIPELINE_BATCH[place.device])
    return PipelineGenerator(about.source, weights, load_it, about.conditions, about.settings, image_shape, batches)
