"""What a pipeline's samples become: a pool that the command makes, and those that judges recognise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from server import cli
from server.config import SynthConfig
from server.errors import DataError
from server.learning.training import Recipe
from server.synth.judges import JudgeSettings, train_judges
from server.synth.opening import Wanted
from server.synth.pool import load_pool
from server.synth.public import PublicPart
from tests.synth.test_pipelines import CLASSES, SEEDS, WANTED, opened
from tests.synth.tiny_pipelines import save_class_pipeline, save_text_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers, numpy 2


def test_a_pool_of_a_pipeline_is_made_by_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dit = save_class_pipeline(tmp_path / "dit", _3="Cat, house cat", _151="dog")
    x, y = np.zeros((8, 8, 8, 1), np.uint8), np.arange(8) % 2
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y, class_names=np.array(["cat", "dog"]))
    run = tmp_path / "RUN.toml"
    run.write_text(
        '[fleet]\ndevices = 1\n[data]\nsource = "mine.npz"\n'
        f'[synth]\ngenerator = "{dit}"\nsteps = 1\nlabels = {{ cat = "house cat" }}\n'
    )
    options = ["--per-class", "2", "--block", "2", "--device", "cpu"]
    assert cli.main(["synth-pool", str(run), "--out", str(tmp_path), *options]) == 0
    pool = load_pool(tmp_path / "pool")
    assert pool.counts.tolist() == [2, 2]
    synth = SynthConfig(steps=1, labels={"cat": 3})
    assert pool.generator == opened(dit, synth, Wanted(("cat", "dog"), (8, 8, 1))).digest
    said = capsys.readouterr().out
    assert "4 samples, 2 of each of 2 classes" in said
    assert said.endswith(f"made by {dit}; name it in synth.pool\n")


def test_selection_of_a_pipelines_samples_by_judges_in_its_folder(tmp_path: Path) -> None:
    mine = save_text_pipeline(tmp_path / "mine", timestep_spacing="trailing")
    plain = opened(mine, SynthConfig(steps=1))
    with pytest.raises(DataError, match=r"no judges at .*mine/judges\.safetensors, which selection needs"):
        opened(mine, SynthConfig(steps=1, select=0.5))
    noise = np.random.default_rng(0).integers(0, 256, (12, 12, 12, 3), dtype=np.uint8)
    part = PublicPart("noise", noise, np.arange(12) % 3, WANTED.class_names, 0.5, 0)
    judges = train_judges(part, mine, JudgeSettings(1, "tiny", Recipe(steps=1, batch_size=4)))
    choosy = opened(mine, SynthConfig(steps=1, select=0.5))
    assert opened(mine, SynthConfig(steps=1)).digest == plain.digest != choosy.digest
    images, chosen = (generator.sample(CLASSES, SEEDS) for generator in (plain, choosy))
    before, after = (judges.recognised(own, CLASSES) for own in (images, chosen))
    assert (before < 0.5).any()
    assert (after >= before).all()
    assert (after > before).any()
    assert np.array_equal(chosen[before >= 0.5], images[before >= 0.5])
