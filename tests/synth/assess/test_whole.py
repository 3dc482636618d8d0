"""The whole assessment on images of 8x8 pixels, and the command around it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from server import cli, generating
from server.assessing import variants_of
from server.config import RunConfig, SynthConfig
from server.data.dataset import Dataset
from server.errors import ConfigError, DataError
from server.learning.training import Recipe
from server.synth import judges as judges_module
from server.synth.assess import whole
from server.synth.assess.drawing import closest_pairs, draw_all
from server.synth.assess.tables import page
from server.synth.assess.trained import Amounts
from server.synth.assess.variants import Source, Variant, samples_of
from server.synth.assess.whole import Assessed, AssessSettings, assess, best
from server.synth.card import read_card
from server.synth.generator import Stop, never
from server.synth.judges import FILE, JudgeSettings, train_judges
from server.synth.make import GeneratorSettings, train_generator
from server.synth.opening import open_generator
from server.synth.pool import load_pool
from server.synth.public import PublicPart, public_part
from server.synth.settings import Sampling
from server.synth.train import TrainSettings

CLASSES = 3


def patterns(labels: np.ndarray, seed: int, noise: float) -> np.ndarray:
    """Noisy images of one fixed pattern a class."""
    prototypes = np.random.default_rng(99).integers(60, 196, (CLASSES, 8, 8, 1))
    images = prototypes[labels] + noise * np.random.default_rng(seed).normal(size=(len(labels), 8, 8, 1))
    return images.clip(0, 255).astype(np.uint8)


class Patterns:
    """Implements `Generator`: a pattern with more noise than the data have; every `wrong`-th seed of another class."""

    def __init__(self, wrong: int = 4) -> None:
        self.digest = f"{wrong:04d}" + "0" * 60
        self.drawn = 0
        self._wrong = wrong

    def sample(self, classes: np.ndarray, seeds: np.ndarray, stop: Stop = never) -> np.ndarray:
        self.drawn += len(classes)
        shown = np.where(seeds % self._wrong == 0, (classes + 1) % CLASSES, classes)
        return np.concatenate(
            [patterns(np.array([c]), s, 80.0) for c, s in zip(shown.tolist(), seeds.tolist(), strict=True)]
        )


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    train, test = np.arange(600) % CLASSES, np.arange(150) % CLASSES
    return Dataset("patterns", patterns(train, 0, 70.0), train, patterns(test, 1, 70.0), test, ("a", "b", "c"))


SETTINGS = AssessSettings(
    Amounts(real=(6, 24, 90, 270), alone=(120,), bases=(6,), times=(4.0, 15.0), seeds=(0, 1)),
    network="tiny",
    recipe=Recipe(steps=60),
    feature_network="tiny",
    feature_recipe=Recipe(steps=60),
    per_class=40,
    max_test=150,
    refits=5,
    workers=1,
)
VARIANTS = (Variant(Sampling(5, 1.0)), Variant(Sampling(5, 1.0), 0.5))
JUDGES = JudgeSettings(members=2, network="tiny", recipe=Recipe(steps=80, batch_size=8))


def run(dataset: Dataset, out: Path, generator: Patterns, said: list[str], **changed: Any) -> list[Assessed]:
    part = public_part(dataset, 0.5, 0)
    judges = train_judges(part, out, JUDGES)
    settings = replace(SETTINGS, **changed)
    return assess(dataset, part, VARIANTS, lambda _: Source(generator), out, settings, judges=judges, say=said.append)


@pytest.fixture(scope="module")
def assessed(dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Assessed], list[str]]:
    """Where it was written, what was found, what was said."""
    out, said = tmp_path_factory.mktemp("out"), []
    return out, run(dataset, out, Patterns(), said), said


def test_a_whole_assessment_and_what_selection_does(assessed: tuple[Path, list[Assessed], list[str]]) -> None:
    out, (plain, chosen), said = assessed
    content = json.loads((out / "assessment.json").read_text())
    assert [v["name"] for v in content["variants"]] == ["5 steps, guidance 1", "5 steps, guidance 1, select 0.5"]
    assert content["variants"][0] == json.loads(json.dumps(plain.values))
    # a quarter of the seeds are of a wrong class; the judges, who know the patterns, throw most of these out
    assert chosen.values["rejected"] > 0.2
    assert chosen.values["never_recognised"] < 0.05
    assert len(chosen.values["rejected_by_class"]) == CLASSES
    assert chosen.values["score"][0]["made"]["mean"] > plain.values["score"][0]["made"]["mean"]
    assert chosen.values["generator"] != plain.values["generator"]
    assert chosen.values["score"][0]["real"] == plain.values["score"][0]["real"]
    assert content["best"]["score"] == chosen.values["name"]
    likeness = plain.values
    assert likeness["kernel"] > likeness["kernel_floor"]
    assert likeness["images_a_side"] == 75
    assert likeness["manifold_of_real"]["coverage"] > 0.8
    assert likeness["copies"]["pixels"][0]["planted"] > 0.9
    assert likeness["copies"]["pixels"][0]["made"] < 0.1
    # five real amounts, and alone, 6 + 24 and 6 + 90 of either variant, two seeds of each
    assert "training 22 of 22: 6 real and 90 synthetic samples" in said[-4]
    assert said[0].startswith("5 steps, guidance 1 (1 of 2): sampling 100 of 120, ")
    assert 0.0 <= chosen.values["rejected_of_real"] < chosen.values["rejected"]


def test_it_goes_on_where_it_ended_and_mixes_nothing_stale_in(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    generator = Patterns()
    first = run(dataset, tmp_path, generator, said)
    drawn = generator.drawn
    monkeypatch.setattr(whole, "likeness", None)  # would fail if it were called
    again = run(dataset, tmp_path, generator, said := [])
    assert [own.values for own in again] == [own.values for own in first]
    assert generator.drawn == drawn
    assert not [line for line in said if "training" in line or "sampling" in line]
    monkeypatch.undo()
    other = run(dataset, tmp_path, Patterns(wrong=1000), said := [])
    assert other[0].values["samples_digest"] != first[0].values["samples_digest"]
    trained = [line for line in said if line.startswith("training")]
    assert trained
    assert not [line for line in trained if "and 0 synthetic" in line]  # the real ones serve every generator
    run(dataset, tmp_path, generator, said := [], max_test=90)
    assert [line for line in said if "and 0 synthetic" in line]  # another test: nothing of the old one counts


def test_amounts_that_do_not_fit_are_refused_before_anything_is_drawn(dataset: Dataset, tmp_path: Path) -> None:
    amounts = SETTINGS.amounts
    for changed, words in (
        (replace(amounts, real=(6, 24, 90, 301)), "301 real samples are asked for, the public part has 300"),
        (replace(amounts, alone=(121,)), "121 synthetic samples are asked for, each variant has 120"),
        (replace(amounts, bases=(0,)), "amounts of samples start at 1"),
        (replace(amounts, times=(0.05,)), "amounts of samples start at 1"),
        (replace(amounts, alone=()), "each list needs one"),
    ):
        generator = Patterns()
        with pytest.raises(DataError, match=words):
            run(dataset, tmp_path, generator, [], amounts=changed)
        assert generator.drawn == 0
    with pytest.raises(DataError, match="5 steps, guidance 1, select 0.5: selection needs judges"):
        samples_of(
            VARIANTS[1], Source(Patterns()), tmp_path, n_classes=3, per_class=1, black_below=0, judges=None, say=print
        )


def test_no_eta_is_no_reason_to_lose_the_rest(dataset: Dataset, tmp_path: Path) -> None:
    few = replace(SETTINGS.amounts, real=(6,))
    plain, _ = found = run(dataset, tmp_path, Patterns(), [], amounts=few)
    assert "amounts of data are too few" in plain.values["worth"]["refused"]
    assert best([own.values for own in found])["eta"] is None
    part = public_part(dataset, 0.5, 0)
    figures = draw_all(found, part, tmp_path, mirror=False, shift=0)
    text = page(json.loads((tmp_path / "assessment.json").read_text()), figures)
    assert "eta: none" in text
    assert "| 5 steps, guidance 1 " in text
    header, _, first, *_ = text[text.index("| class ") :].splitlines()
    names = [cell.strip() for cell in header.split("|")[1:-1]]
    assert names[2:] == ["recall, 5 steps, guidance 1", "recall, 5 steps, guidance 1, select 0.5", "drawn again"]
    assert first.startswith("| a ")


def test_no_real_image_is_shown_of_data_without_a_licence(
    dataset: Dataset, assessed: tuple[Path, list[Assessed], list[str]], tmp_path: Path
) -> None:
    _, found, _ = assessed
    part = public_part(dataset, 0.5, 0)
    names = draw_all(found, part, tmp_path, mirror=False, shift=0)
    assert names == ["score.png", "augmentation.png", "recall.png", "copies.png", "variants.png"]
    assert all((tmp_path / name).stat().st_size > 1000 for name in names)
    assert sorted(path.name for path in tmp_path.glob("*.png")) == sorted(names)
    assert (
        draw_all(found, replace(part, name="fashion-mnist"), tmp_path, mirror=True, shift=0)[-1] == "closest-pairs.png"
    )
    shown = closest_pairs(found[0], part, mirror=False, shift=0)
    made, public = found[0].likeness.pairs[0]
    assert np.array_equal(shown[:8, :8], found[0].made.images[made])
    assert np.array_equal(shown[:8, 8:16], part.images[public])


def test_variants_of_the_command_line() -> None:
    config = RunConfig(synth=SynthConfig(steps=20))
    assert variants_of([], None, config) == [Variant(Sampling())]
    assert variants_of([], "0.3,0.5", config) == [Variant(Sampling(), own) for own in (0.0, 0.3, 0.5)]
    selecting = RunConfig(synth=SynthConfig(select=0.4))
    assert variants_of([], None, selecting) == [Variant(Sampling(), 0.4)]
    swept = variants_of(["guidance=1,2", "steps=5,10"], None, config)
    assert [own.sampling for own in swept] == [Sampling(5, 1.0), Sampling(5, 2.0), Sampling(10, 1.0), Sampling(10, 2.0)]
    solvers = variants_of(["solver=ddim,dpm++"], None, config)
    assert [own.name for own in solvers] == ["20 steps of ddim, guidance 1.25", "20 steps, guidance 1.25"]
    for sweeps, select, words in (
        (["width=1"], None, "write guidance=1,1.5,2"),
        (["steps"], None, "write guidance=1,1.5,2"),
        (["solver=euler"], None, r"or solver=dpm\+\+,ddim"),
        (["steps=2.5"], None, "whole numbers from 1 to 100"),
        (["guidance=0.5"], None, "guidance is 1 or more"),
        (["guidance=a"], None, "--sweep guidance: 'a'"),
        (["guidance=1,nan"], None, "--sweep guidance: '1,nan'"),
        ([], "1.5", "probabilities from 0 to 1"),
    ):
        with pytest.raises(ConfigError, match=words):
            variants_of(sweeps, select, config)


def test_a_pipeline_is_measured_by_its_pool(
    dataset: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_npz(tmp_path / "own.npz", dataset)
    run = tmp_path / "RUN.toml"
    run.write_text('[data]\nsource = "own.npz"\n[synth]\ngenerator = "hub:a/b"\n[fleet]\ndevices = 2\n')
    assert cli.main(["assess-generator", str(run), "--out", str(tmp_path / "out")]) == 2
    assert "hub:a/b is a pipeline; give --generator with a folder of train-generator, or" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers, numpy 2
def test_the_command_assesses_a_real_generator(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_npz(tmp_path / "own.npz", dataset)
    (tmp_path / "RUN.toml").write_text('[data]\nsource = "own.npz"\n[network]\nname = "tiny"\n[fleet]\ndevices = 2\n')
    config, own = _data(tmp_path)
    part: PublicPart = public_part(own, config.data.public_fraction, config.data.split_seed)
    training = TrainSettings(steps=2, batch=4, warmup_steps=1, bfloat16=False)
    train_generator(part, tmp_path / "generator", GeneratorSettings((32, 32), train=training))
    monkeypatch.setattr(judges_module, "JudgeSettings", partial(JudgeSettings, members=1, recipe=Recipe(steps=3)))
    command = [
        "assess-generator", str(tmp_path / "RUN.toml"), "--generator", str(tmp_path / "generator"),
        "--out", str(tmp_path / "out"), "--sweep", "steps=1,2", "--select", "0.2", "--amounts", "6,24,90,270",
        "--alone", "12", "--bases", "6", "--times", "2", "--seeds", "0", "--steps", "40", "--workers", "1",
    ]  # fmt: skip
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "| 2 steps, guidance 1.25, select 0.2 |" in printed
    content = json.loads((tmp_path / "out" / "assessment.json").read_text())
    assert len(content["variants"]) == 4
    card = read_card(tmp_path / "generator" / "generator-card.json") or {}
    assert card["selection"]["file"] == FILE
    page = (tmp_path / "generator" / "generator-card.md").read_text()
    assert "## Selection" in page
    assert "## Worth" not in page  # of settings that were swept, not the run's own
    assert (tmp_path / "out" / "variants.png").exists()
    assert cli.main(command) == 0
    assert "training" not in capsys.readouterr().out
    assert cli.main([own for own in command if own not in ("--sweep", "steps=1,2", "--select", "0.2")]) == 0
    worth = (read_card(tmp_path / "generator" / "generator-card.json") or {})["worth"]
    assert (worth["samples"], worth["select"], worth["seeds"]) == ("20 steps, guidance 1.25", 0, 1)
    assert (worth["network"], worth["steps"], worth["near_copies_looked_for_in"]) == ("tiny", 40, 30)
    assert 0 <= worth["near_copies"] <= 1
    page = (tmp_path / "generator" / "generator-card.md").read_text()
    assert "## Worth" in page
    assert "A tiny trained for 40 steps on 12 samples of this generator" in page
    hurried = [*(own for own in command if own not in ("--sweep", "steps=1,2", "--select", "0.2")), "--max-test", "9"]
    assert cli.main(hurried) == 0
    assert f"keeps its worth, of 1 seeds on {worth['test_images']} test images" in capsys.readouterr().out
    assert (read_card(tmp_path / "generator" / "generator-card.json") or {})["worth"] == worth


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers' schedulers, numpy 2
def test_a_generator_of_a_run_that_selects_gets_its_judges_and_a_pool_that_they_passed(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _write_npz(tmp_path / "own.npz", dataset)
    (tmp_path / "RUN.toml").write_text('[data]\nsource = "own.npz"\n[fleet]\ndevices = 2\n[synth]\nselect = 0.1\n')
    monkeypatch.setattr(judges_module, "JudgeSettings", partial(JudgeSettings, members=1, recipe=Recipe(steps=3)))
    monkeypatch.setattr(generating, "_score", lambda *_: None)  # a VGG-9, minutes; test_make.py has it
    command = [
        "train-generator", str(tmp_path / "RUN.toml"), "--out", str(tmp_path / "g"), "--steps", "2", "--batch", "4",
        "--widths", "32,32", "--per-class", "2", "--block", "2",
    ]  # fmt: skip
    assert cli.main(command) == 0
    assert "judges for selection: 1 of 1" in capsys.readouterr().out
    config, own = _data(tmp_path)
    made_by = open_generator(tmp_path / "g" / "generator.safetensors", config.synth, lambda: None)  # type: ignore[arg-type, return-value]
    assert load_pool(tmp_path / "g" / "pool").generator == made_by.digest


def _write_npz(path: Path, dataset: Dataset) -> None:
    parts = ("x_train", "y_train", "x_test", "y_test")
    np.savez(path, **{name: getattr(dataset, name) for name in parts})


def _data(folder: Path) -> tuple[RunConfig, Dataset]:
    from server.given import data_of

    return data_of(folder / "RUN.toml")
