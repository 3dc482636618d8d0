"""Sampling in a real child process while "devices train": the same samples, no trace of the process afterwards."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import psutil
import pytest
import torch

from models.unet import UNetShape, build_unet
from server.ahead import LOG, STOPPED, Ahead, sampling_ahead
from server.config import load_config
from server.run_dir import Origin, RunDir
from server.run_plans import make_plan
from server.sampling import open_supply
from server.steps import Run, make_shards, prepare_data
from server.synth.diffusion import save_checkpoint
from tests.e2e.world import write_world
from tests.server.test_steps import Quiet, enrolled
from tests.synth.tiny_pipelines import save_class_pipeline

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # diffusers' schedulers, numpy 2
]
DEVICES = (enrolled(id_="a"), enrolled(id_="b"))


def world(folder: Path, *, strategies: tuple[str, ...] = ("tfl", "fimi"), steps: int = 1) -> Path:
    """A run file whose generator is a real network that nobody trained."""
    file = write_world(folder, rounds=1, strategies=list(strategies), local_samples=100)
    shape = UNetShape(12, 1, 4, (32, 32), 1)
    torch.manual_seed(0)
    save_checkpoint(folder / "generator.safetensors", build_unet(shape), shape)
    text = file.read_text().replace('pool = "pool"', f'generator = "generator.safetensors"\nsteps = {steps}')
    file.write_text(text)
    return file


def run_in(file: Path, out: Path) -> Run:
    """As `fimi-server run` leaves it once the devices are measured."""
    folder = RunDir.begin(out, "r", file.read_bytes(), Origin(base_dir=str(file.parent)))
    run = Run(folder, load_config(file), file.parent, Quiet())
    tfl = msgspec.structs.replace(run.config, strategy="tfl")
    prepare_data(replace(run, config=tfl))  # no card, which a run with synthetic samples would look for
    folder.save("devices.json", DEVICES)
    return run


async def first_block(store: Path, pid: int) -> None:
    """Nobody tells when the child has made one: it waits for an idle processor."""
    async with asyncio.timeout(120):
        while not list(store.glob("*/*/class-*/*.png")):
            assert psutil.pid_exists(pid)
            await asyncio.sleep(0.02)


def said(run: Run) -> list[str]:
    assert isinstance(run.progress, Quiet)
    return run.progress.said


async def test_what_a_later_strategy_wants_is_there_when_its_turn_comes(tmp_path: Path) -> None:
    file = world(tmp_path / "world")
    run = run_in(file, tmp_path / "runs")
    async with sampling_ahead(run) as ahead:
        async with ahead.aside(("fimi",)):
            assert make_shards(run, "tfl", make_plan(run, "tfl", DEVICES)) == {}
        assert ahead._process is not None
        child = psutil.Process(ahead._process.pid)
        assert await ahead._process.wait() == 0, (run.folder.path / LOG).read_text()
        assert not run.folder.has("plan-fimi.json")  # it planned for itself
        plan = make_plan(run, "fimi", DEVICES)
        async with ahead.aside(()):
            shards = make_shards(run, "fimi", plan)
        assert ahead._process is None
    assert not child.is_running()
    assert not [line for line in said(run) if line.startswith("sampling")]

    alone = run_in(file, tmp_path / "others")  # with a store of its own
    assert make_shards(alone, "fimi", make_plan(alone, "fimi", DEVICES)) == shards
    assert [line for line in said(alone) if line.startswith("sampling")]
    assert set(shards) == {"a", "b"}


async def test_it_waits_for_everybody_and_ends_with_the_run(tmp_path: Path) -> None:
    run = run_in(world(tmp_path / "world", steps=25), tmp_path / "runs")
    async with sampling_ahead(run) as ahead:
        async with ahead.aside(("fimi",)):
            pass
        assert ahead._process is not None
        child = psutil.Process(ahead._process.pid)
        await first_block(tmp_path / "runs" / "samples", child.pid)
        assert child.nice() == 19
        assert os.sched_getscheduler(child.pid) == os.SCHED_IDLE
    assert not child.is_running()
    supply = open_supply(run.config, run.base, run.folder)
    for block in supply.stock.own.blocks(supply.stock.kind):
        supply.stock.own.read(supply.stock.kind, block)  # whole, whenever it was killed
    assert not [line for line in said(run) if "ahead" in line]  # to be killed is its trade, nothing to report


async def test_the_block_in_hand_is_finished_for_who_needs_it_next(tmp_path: Path) -> None:
    run = run_in(world(tmp_path / "world", steps=25), tmp_path / "runs")
    async with sampling_ahead(run) as ahead:
        async with ahead.aside(("fimi",)):
            pass
        process = ahead._process
        assert process is not None
        await first_block(tmp_path / "runs" / "samples", process.pid)
        await ahead.end(finish=True)
        assert process.returncode == STOPPED  # by itself, with blocks left to make
    supply = open_supply(run.config, run.base, run.folder)
    log = (run.folder.path / LOG).read_text()
    assert f"fimi: {supply.stock.own.counts(supply.stock.kind).sum()} of" in log.splitlines()[-1]
    assert not [line for line in said(run) if "ahead" in line]


async def test_a_plan_that_may_be_revised_gets_a_block_to_spare(tmp_path: Path) -> None:
    file = world(tmp_path / "world", strategies=("fimi",))
    file.write_text(file.read_text().replace("[plan]", "[plan]\nreplan = true"))
    run = run_in(file, tmp_path / "runs")
    plan = make_plan(run, "fimi", DEVICES)
    async with sampling_ahead(run) as ahead:
        async with ahead.aside(("fimi",), finish=False):
            make_shards(run, "fimi", plan)
        supply = open_supply(run.config, run.base, run.folder)
        before = supply.stock.own.counts(supply.stock.kind)
        assert ahead._process is not None
        assert await ahead._process.wait() == 0, (run.folder.path / LOG).read_text()
    used = np.array([device.synth_counts for device in plan.plan.devices]).any(axis=0)
    assert used.any()
    assert np.array_equal(supply.stock.own.counts(supply.stock.kind) - before, 50 * used)


async def test_a_pipeline_samples_ahead_too(tmp_path: Path) -> None:
    file = world(tmp_path / "world")
    save_class_pipeline(file.parent / "dit")
    labels = ", ".join(f'"{label}" = {label}' for label in range(4))
    text = file.read_text().replace('"generator.safetensors"', f'"dit"\nlabels = {{ {labels} }}')
    file.write_text(text)
    run = run_in(file, tmp_path / "runs")
    async with sampling_ahead(run) as ahead:
        async with ahead.aside(("fimi",)):
            pass
        assert ahead._process is not None
        assert await ahead._process.wait() == 0, (run.folder.path / LOG).read_text()
    assert set(make_shards(run, "fimi", make_plan(run, "fimi", DEVICES))) == {"a", "b"}
    assert not [line for line in said(run) if line.startswith("sampling")]  # all of it was there


async def test_a_child_that_fails_is_a_sentence_and_no_end(tmp_path: Path) -> None:
    run = run_in(world(tmp_path / "world"), tmp_path / "runs")
    (run.base / "generator.safetensors").write_bytes(b"torn")
    async with sampling_ahead(run) as ahead:
        async with ahead.aside(("fimi",)):
            pass
        assert ahead._process is not None
        await ahead._process.wait()
    assert said(run)[-1].startswith("sampling ahead ended, samples are made when they are needed: ")
    assert "generator.safetensors is not a safetensors file" in said(run)[-1]


async def test_without_need_or_leave_nothing_is_started(tmp_path: Path) -> None:
    file = world(tmp_path / "world")
    run = run_in(file, tmp_path / "runs")
    quiet = msgspec.structs.replace(run.config, synth=msgspec.structs.replace(run.config.synth, background=False))
    pool = msgspec.structs.replace(run.config, synth=msgspec.structs.replace(run.config.synth, generator=None))
    for config, wanted in ((run.config, ("tfl", "tfl-top")), (run.config, ()), (quiet, ("fimi",)), (pool, ("fimi",))):
        ahead = Ahead(replace(run, config=config))
        async with ahead.aside(wanted):
            pass
        assert ahead._process is None
    assert not run.folder.has(LOG)
