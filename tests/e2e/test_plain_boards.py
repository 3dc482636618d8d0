"""Real processes: boards without meter or clock train in plain FL, and boards offer their calibrations."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_client.calibration import offer
from firmware_profiles.calibrated import Calibration
from firmware_profiles.loader import load_profile
from server.config import PlanConfig
from server.measured import planner_device
from server.plan.solve import solve
from server.run_dir import Enrolled
from server.strategies import plan_strategy, settle_terms
from server.uplinks import upload_seconds
from tests.e2e.test_three_clients import LIMIT_S, ROOT, left_behind, run_of, serve
from tests.e2e.world import N_CLASSES, images, write_world
from tests.edge_client.conftest import free_port
from tools.boards.law import BoardLaw, draw_law
from tools.calibrate.calibrate import calibrate_text
from tools.calibrate.profile_file import write_profile

pytestmark = pytest.mark.slow


def world(folder: Path, port: int, devices: int, strategies: list[str], **how: int) -> Path:
    """A run file that waits for devices at a port."""
    file = write_world(folder, strategies=strategies, local_samples=600, **how)
    text = file.read_text().partition("\n[[boards]]")[0]
    text = text.replace("window_s = 1.0\nsettle_s = 0.3", "window_s = 3.0\nsettle_s = 1.0\nfreqs = 6")
    file.write_text(f"{text}\n[broker]\nport = {port}\n[fleet]\ndevices = {devices}\n")
    return file


def device_data(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, N_CLASSES, 600)
    np.savez(path, x=images(y, rng), y=y, n_classes=N_CLASSES)
    return path


@contextmanager
def process(*words: object, cwd: Path = ROOT) -> Iterator[subprocess.Popen[bytes]]:
    one = subprocess.Popen([sys.executable, "-m", *map(str, words)], cwd=cwd, stdout=subprocess.DEVNULL)
    try:
        yield one
    finally:
        one.terminate()
        one.wait(60)


def plain_client(folder: Path, id_: str, port: int, seed: int) -> list[object]:
    """A client on a machine that has nothing: no cpufreq, no sensor."""
    root = folder / id_
    root.mkdir()
    data = device_data(folder / f"{id_}.npz", seed)
    return ["edge_client.cli", "run", "--broker", f"mqtt://127.0.0.1:{port}", "--fleet", "demo", "--id", id_,
            "--data", data, "--root", root]  # fmt: skip


def fleet_file(folder: Path, port: int, boards: dict[str, str | None]) -> Path:
    """FLEET.toml: virtual Raspberry Pi 4Bs by id, with the client.toml of each."""
    text = f'broker = "127.0.0.1:{port}"\nfleet = "demo"\ndir = "{folder / "boards"}"\n'
    for seed, (id_, config) in enumerate(boards.items()):
        data = device_data(folder / f"{id_}.npz", seed)
        text += f'[[board]]\nid = "{id_}"\nprofile = "raspberry-pi-4b"\ndata = "{data}"\n'
        text += f'client_config = "{config}"\n' if config else ""
    file = folder / "FLEET.toml"
    file.write_text(text)
    return file


def whole_run(config: Path, out: Path, *others: list[object]) -> tuple[int, str]:
    """A server, what else is started once its broker listens, to the end."""
    server = serve("run", str(config), "--out", str(out))
    assert server.stdout is not None
    said = ""
    with ExitStack() as stack:
        for line in server.stdout:
            said += line
            if line.startswith("broker at"):
                for words in others:
                    stack.enter_context(process(*words))
                break
        more, _ = server.communicate(timeout=LIMIT_S)
    return server.returncode, said + more


def test_plain_fl_over_two_plain_boards_and_a_virtual_one(tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "runs"
    config = world(tmp_path / "world", port, 3, ["tfl"], rounds=2)
    fleet: list[object] = ["tools.boards.cli", "fleet", fleet_file(tmp_path, port, {"pi4-1": None})]
    plain = [plain_client(tmp_path, id_, port, seed) for seed, id_ in enumerate(("vm-1", "vm-2"), start=7)]
    code, said = whole_run(config, out, fleet, *plain)
    assert code == 0, said
    run = run_of(out)
    plan = run.plan("tfl")
    assert [device.id for device in plan.plan.devices] == ["pi4-1"]
    assert [own.id for own in plan.unplanned] == ["vm-1", "vm-2"]
    for record in run.rounds("tfl"):
        assert set(record.verdicts.values()) == {"accepted"}
        for closed in record.closed:
            told = closed.energy.energy_j is not None
            assert told == (closed.device == "pi4-1")
            assert closed.energy.source == ("measured" if told else "unavailable")
        for update in record.updates:
            if update.device != "pi4-1":
                assert all(segment.requested_hz is None for segment in update.segments)
                assert (record.planned[update.device].compute_j, record.planned[update.device].upload_j) == (None, None)
    report = json.loads((run.path / "report.json").read_text())
    found = report["strategies"]["tfl"]
    assert (found["energy_added_j"], found["planned_j"], found["measured_j"]) == (None, None, None)
    assert (found["devices"], found["devices_with_joules"]) == (3, 1)
    assert found["known_added_j"] > 0
    assert found["joules_by_device"]["vm-1"] == [None, None]
    assert "J added on 1 of 3 devices" in said
    assert "(1 of 3 devices)" in (run.path / "report.html").read_text()


def test_a_planned_strategy_refuses_a_plain_board(tmp_path: Path) -> None:
    port = free_port()
    config = world(tmp_path / "world", port, 1, ["tfl", "fimi"], rounds=1)
    code, said = whole_run(config, tmp_path / "runs", plain_client(tmp_path, "vm-1", port, 7))
    assert code == 6, said
    assert "vm-1 has no power meter (meter: none): no plan without joules; give it a meter" in said
    assert "or `calibration` in its client.toml (fimi-calibrate makes it)" in said


# ---- calibrated boards -------------------------------------------------------------------------------------------


def law_of(id_: str) -> BoardLaw:
    """The law of that virtual unit, which no client and no server knows."""
    profile = load_profile("raspberry-pi-4b")
    return draw_law(profile, 1.0, random.Random(f"0:{id_}:{profile.name}"))


def calibrated(id_: str) -> Calibration:
    """What a sweep of the unit would have found with another network, of which a sample takes 1 ms at the top clock.

    Another one, and seconds that waver by a tenth from clock to clock: this host's own pace does so, as no board's, and
    a calibration that says how uncertain it is is held against the board accordingly.
    """
    law = law_of(id_)
    lines = ["freq_hz,samples,duration_s,energy_j,cores,source,boundary,meter,network,batch_size,runtime,board"]
    for index, freq_hz in enumerate(law.opps_hz):
        seconds = law.relative_tau(freq_hz) * (1.1 if index % 2 else 0.9)
        watts = law.busy_w(freq_hz, 45.0)
        lines.append(
            f"{freq_hz:.0f},1000,{seconds!r},{seconds * watts!r},1,measured,board,hwmon,vgg9,32,torch,"
            "Raspberry Pi 4 Model B"
        )
    return calibrate_text("\n".join(lines) + "\n", "law.csv", idle_w=law.idle_w)


def all_measured(device: Enrolled) -> Enrolled:
    """As if all clocks had been measured, on a board that keeps its law and is as fast as it was at the top."""
    law = law_of(device.id)
    top = max(device.profile.points, key=lambda point: point.freq_hz or 0.0)
    points = tuple(
        msgspec.structs.replace(top, freq_hz=hz, verified_hz=hz, s_per_sample=s, j_per_sample=s * law.busy_w(hz, 45.0))
        for hz in law.opps_hz
        for s in (top.s_per_sample * law.relative_tau(hz),)
    )
    idle = msgspec.structs.replace(device.profile.idle, idle_power_w=law.idle_w)
    profile = msgspec.structs.replace(device.profile, points=points, idle=idle)
    return msgspec.structs.replace(device, profile=profile, calibration=None)


def planned_j(device: Enrolled, seconds: float) -> float:
    """Joules over idle of a round of `seconds` for training."""
    planner = [planner_device(device, 0)]
    terms = settle_terms(
        planner, PlanConfig(round_s=seconds + upload_seconds(planner[0])), learning=None, local_epochs=1
    )
    return plan_strategy("tfl", planner, terms, solve).plan.devices[0].executed_compute_j


def test_calibrations_are_offered_and_used_or_refused_by_name_and_a_board_without_a_meter_is_modelled(
    tmp_path: Path,
) -> None:
    """Either answer is right here: this host's pace differs by a quarter between two windows now and then, which a
    server must not take for the board it was told of. That a good calibration is used and a bad one found out is
    tested, strictly, in tests/rounds/test_calibrations.py on boards that keep their pace."""
    configs: dict[str, str | None] = {}
    for id_, meter in (("pi4-1", "auto"), ("pi4-2", "modelled")):
        write_profile(tmp_path / f"{id_}.toml", calibrated(id_))
        config = tmp_path / f"{id_}.client.toml"
        config.write_text(f'calibration = "{tmp_path / id_}.toml"\nmeter = "{meter}"\n')
        configs[id_] = str(config)
    port, out = free_port(), tmp_path / "runs"
    file = world(tmp_path / "world", port, 2, ["tfl", "fimi"], rounds=1)
    code, said = whole_run(file, out, ["tools.boards.cli", "fleet", fleet_file(tmp_path, port, configs)])
    assert code == 0, said
    run = run_of(out)
    for device in run.devices():
        assert device.join.calibration == offer(calibrated(device.id))
        assert device.calibration is not None
        assert f"{device.id}: {device.calibration.why}" in said
        if not device.calibration.points:  # this host's pace was off by more than a quarter between two windows
            assert "its calibration is not used, all clocks are measured: at 600 MHz" in device.calibration.why
            assert len(device.profile.points) == 6
            continue
        assert device.calibration.why.startswith(f"2 clocks were measured, {len(device.calibration.points)} come from")
        assert len(device.profile.points) == 2
        # rounds that need clocks in between cost about what they would with all of them measured
        whole = all_measured(device)
        quickest_s = 600 * min(point.s_per_sample for point in whole.profile.points)
        for slack in (1.1, 1.3, 1.6):
            assert planned_j(device, slack * quickest_s) == pytest.approx(
                planned_j(whole, slack * quickest_s), rel=0.25
            )
    measured, modelled = (device.join.capabilities for device in run.devices())
    assert (measured.meter_source, modelled.meter_source, modelled.meter) == ("measured", "modelled", "calibration")
    for record in run.rounds("fimi"):
        sources = {closed.device: closed.energy.source for closed in record.closed}
        assert sources == {"pi4-1": "measured", "pi4-2": "modelled"}
    notes = json.loads((run.path / "report.json").read_text())["notes"]
    assert "The joules of pi4-2 come from a model of load and clock, not from a meter." in notes
    assert any(note.startswith("pi4-1: ") and "calibration" in note for note in notes)
    assert left_behind(tmp_path) == []
