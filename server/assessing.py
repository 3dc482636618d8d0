"""The command that measures a generator: fimi-server assess-generator."""

from __future__ import annotations

import argparse
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from server.errors import ConfigError, DataError
from server.given import FROM_1, GREY, check_values, data_of, decimals, numbers, seeds

if TYPE_CHECKING:
    from server.config import RunConfig
    from server.synth.assess.trained import Amounts
    from server.synth.assess.variants import Source, Variant
    from server.synth.assess.whole import AssessSettings
    from server.synth.settings import Solver

AMOUNTS = "60,120,250,500,1000,2000"
FULL = {"amounts": AMOUNTS, "alone": "1000,4000", "bases": "120,500", "times": "1,4", "seeds": "0,1,2"}
SWEEP = {"amounts": AMOUNTS, "alone": "1000", "bases": "120,250", "times": "4", "seeds": "0,1"}
"""Of many variants: what a ranking needs, ten in less than an hour on two cores for images of 28x28."""
STEPS, MAX_TEST = 500, 4000


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """assess-generator."""
    assess = commands.add_parser("assess-generator", help="measure what a generator's samples are worth")
    assess.add_argument("config", type=Path, metavar="RUN.toml", nargs="?", help="of a run that will use it, or --data")
    assess.add_argument("--data", metavar="SOURCE", help="as data.source of RUN.toml, its other fields as default")
    assess.add_argument("--generator", type=Path, metavar="DIR", help="its folder (default: as in a run)")
    assess.add_argument("--out", type=Path, required=True, help="folder for assessment.json, tables and figures")
    what = (
        "guidance, steps or solver, as guidance=1,1.5,2 or solver=dpm++,ddim; several: all combinations, less of each"
    )
    assess.add_argument("--sweep", action="append", default=[], metavar="NAME=V,V", help=what)
    what = "with selection, too: the least probability that the judges must give; they are trained where they lack"
    assess.add_argument("--select", metavar="P,P", help=what)
    assess.add_argument("--amounts", help="real samples, for the learning curve")
    assess.add_argument("--alone", help="synthetic samples trained on alone: the class-accuracy score")
    assess.add_argument("--bases", help="real samples that synthetic ones are added to ...")
    assess.add_argument("--times", help="... so many times as many")
    assess.add_argument("--seeds", help="of every training (default: 0,1,2; of a sweep 0,1)")
    assess.add_argument("--per-class", type=int, help="samples of each class (default: as many as are trained on)")
    assess.add_argument("--steps", type=int, help=f"of each training (default: {STEPS})")
    assess.add_argument("--max-test", type=int, help=f"images of the test part to test on (default: {MAX_TEST})")
    assess.add_argument("--black-below", type=int, help="darker pixels are made 0 (default: as in its pool)")
    assess.add_argument("--workers", type=int, default=2, help="trainings side by side (default: 2)")
    assess.add_argument("--device", default="auto", help="of the sampler: auto, cpu or cuda")
    assess.set_defaults(function=assess_command)


def assess_command(arguments: argparse.Namespace) -> None:
    """fimi-server assess-generator"""
    check_values(
        arguments,
        {"steps": FROM_1, "per_class": FROM_1, "max_test": FROM_1, "workers": FROM_1, "black_below": GREY},
    )
    config, dataset = data_of(arguments.config, arguments.data)
    folder = _generator_folder(arguments, config)
    from server.files import write_atomic
    from server.synth.assess.drawing import draw_all
    from server.synth.assess.tables import page, variants_table
    from server.synth.assess.whole import assess
    from server.synth.card import check_trained_on, read_card
    from server.synth.judges import judges_beside
    from server.synth.public import public_part

    part = public_part(dataset, config.data.public_fraction, config.data.split_seed)
    check_trained_on(folder / "generator.safetensors", part.facts["digest"])
    card = read_card(folder / "generator-card.json") or {}
    shown = card.get("training", {})
    mirror, shift = bool(shown.get("mirror", False)), int(shown.get("shift", 0))
    chosen = variants_of(arguments.sweep, arguments.select, config)
    settings = replace(_settings(arguments, config, folder, len(part.class_names)), mirror=mirror, shift=shift)
    judges = judges_beside(part, folder, mirror=mirror, say=_say) if any(own.select for own in chosen) else None

    def source(variant: Variant) -> Source:
        return _source(folder, variant, arguments.device, settings.black_below)

    found = assess(dataset, part, chosen, source, arguments.out, settings, judges=judges, say=_say)
    figures = draw_all(found, part, arguments.out, mirror=mirror, shift=shift)
    content = json.loads((arguments.out / "assessment.json").read_text())
    of_run = variants_of([], None, config)[0]
    if of_run in chosen:
        _say(_entered(arguments, folder, content, chosen.index(of_run)))
    write_atomic(arguments.out / "assessment.md", page(content, figures).encode())
    print("\n".join(variants_table(content["variants"])))
    print(f"{arguments.out}: assessment.json, assessment.md, {', '.join(figures)}")


def _entered(arguments: argparse.Namespace, folder: Path, content: dict[str, Any], number: int) -> str:
    """`enter_worth`, but for a generator that ships and was not named; returns what became of it, in a sentence."""
    from server.sources import ASSETS

    if arguments.generator is None and folder.resolve().is_relative_to(ASSETS):
        return f"the card of the generator that ships is left as it is; --generator {folder} enters this into it"
    return enter_worth(folder, content, number)


def enter_worth(folder: Path, content: dict[str, Any], number: int) -> str:
    """Variant `number` of an assessment into the card of the generator in `folder`, unless that has one of the same
    samples from more seeds or test images; returns which, in a sentence."""
    from server.synth.card import read_card, write_card

    path = folder / "generator-card.json"
    card = read_card(path)
    if card is None:
        return f"no {path}: nothing is entered"
    own = content["variants"][number]
    copies, worth, score = own["copies"]["pixels"][0], own["worth"], own["score"][-1]
    entry = {
        "samples": own["name"],
        "generator": own["generator"],
        "select": own["select"],
        "network": content["settings"]["network"],
        "steps": content["settings"]["recipe"]["steps"],
        "seeds": len(content["settings"]["amounts"]["seeds"]),
        "test_images": content["data"]["test_images"],
        "score_samples": score["samples"],
        "score": score["made"],
        "score_of_real": score["real"],
        "eta": worth.get("eta_free"),
        "eta_95": worth["intervals"]["eta_free"] if "intervals" in worth else worth.get("refused"),
        "near_copies": copies["made"],
        "near_copies_among_unseen_real": copies["held_out"],
        "near_copies_found_of_planted": copies["planted"],
        "near_copies_looked_for_in": own["images_a_side"],
    }
    held = card.get("worth", {})
    same = all(held.get(part) == entry[part] for part in ("generator", "select", "samples"))
    if same and any(held[part] > entry[part] for part in ("seeds", "test_images")):
        return f"{path} keeps its worth, of {held['seeds']} seeds on {held['test_images']} test images"
    write_card(path, card | {"worth": entry})
    return f"{path}: the worth of its samples is entered"


def variants_of(sweeps: list[str], select: str | None, config: RunConfig) -> list[Variant]:
    """All combinations, the run's own sampling where nothing is swept; with --select without selection first."""
    from server.synth.assess.variants import Variant
    from server.synth.opening import own_sampling
    from server.synth.settings import MOST_STEPS, SOLVERS, Sampling

    of_run = own_sampling(config.synth)
    swept: dict[str, list[float]] = {"steps": [of_run.steps], "guidance": [of_run.guidance]}
    solvers = [of_run.solver]
    for text in sweeps:
        name, equals, values = text.partition("=")
        if name == "solver" and set(values.split(",")) <= set(SOLVERS):
            solvers = cast("list[Solver]", list(dict.fromkeys(values.split(","))))
            continue
        if name not in swept or not equals:
            raise ConfigError(f"--sweep: {text!r}; write guidance=1,1.5,2 or steps=10,20 or solver=dpm++,ddim")
        swept[name] = decimals(values, f"--sweep {name}")
    odd = any(steps != int(steps) or not 1 <= steps <= MOST_STEPS for steps in swept["steps"])
    if odd or min(swept["guidance"]) < 1:
        raise ConfigError(f"--sweep: steps are whole numbers from 1 to {MOST_STEPS}, guidance is 1 or more")
    thresholds = [config.synth.select] if select is None else [0.0, *decimals(select, "--select")]
    if not all(0.0 <= own <= 1.0 for own in thresholds):
        raise ConfigError(f"--select: {select!r}; probabilities from 0 to 1")
    combined = itertools.product(solvers, swept["steps"], swept["guidance"], dict.fromkeys(thresholds))
    return [Variant(Sampling(int(steps), guidance, solver), own) for solver, steps, guidance, own in combined]


def _generator_folder(arguments: argparse.Namespace, config: RunConfig) -> Path:
    from server.sources import NO_GENERATOR, generator_source
    from server.synth.opening import is_pipeline

    if arguments.generator is not None:
        return Path(arguments.generator)
    base = Path.cwd() if arguments.config is None else arguments.config.resolve().parent
    source = generator_source(config, base)
    if source is None:
        raise DataError(NO_GENERATOR.format(config.data.source) + ", or give --generator")
    if is_pipeline(source):
        raise ConfigError(
            f"synth.generator: {source} is a pipeline; give --generator with a folder of train-generator, or measure "
            "the pool that synth-pool makes of it with fit-learning"
        )
    return Path(source).parent


def _amounts(arguments: argparse.Namespace) -> Amounts:
    from server.synth.assess.trained import Amounts

    usual = SWEEP if arguments.sweep else FULL

    def given(name: str) -> str:
        return str(getattr(arguments, name) or usual[name])

    def whole(name: str) -> tuple[int, ...]:
        return tuple(sorted(set(numbers(given(name), f"--{name}"))))

    times = tuple(sorted(set(decimals(given("times"), "--times"))))
    return Amounts(whole("amounts"), whole("alone"), whole("bases"), times, tuple(sorted(set(seeds(given("seeds"))))))


def _settings(arguments: argparse.Namespace, config: RunConfig, folder: Path, n_classes: int) -> AssessSettings:
    from server.learning.training import Recipe
    from server.synth.assess.whole import AssessSettings
    from server.synth.ready import black_below_of
    from server.synth.store import Store

    steps, training = arguments.steps or STEPS, config.training
    recipe = Recipe(steps=steps)
    if arguments.config is not None:
        recipe = Recipe(
            steps,
            training.batch_size,
            training.learning_rate,
            training.momentum,
            training.clip_norm,
            training.weight_decay,
        )
    black_below = arguments.black_below
    if black_below is None:
        black_below = black_below_of(Store(folder / "pool"), "--black-below") or 0
    amounts = _amounts(arguments)
    return AssessSettings(
        amounts,
        network=config.network.name,
        recipe=recipe,
        feature_network=config.network.name,
        per_class=arguments.per_class or max(10, -(-amounts.most_synthetic // n_classes)),
        black_below=black_below,
        max_test=arguments.max_test or MAX_TEST,
        workers=arguments.workers,
    )


def _source(folder: Path, variant: Variant, device: str, black_below: int) -> Source:
    from server.synth.assess.variants import Source
    from server.synth.hardware import Hardware
    from server.synth.ready import ready_images
    from server.synth.sampler import load_generator

    generator = load_generator(folder / "generator.safetensors", variant.sampling, Hardware.here(device, compile=False))
    return Source(generator, ready_images(folder / "pool", generator.digest, black_below))


def _say(line: str) -> None:
    print(line, flush=True)
