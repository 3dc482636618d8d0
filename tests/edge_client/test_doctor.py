"""The doctor on captured boards, on a plain machine, and what it says of each part."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from edge_client import cli
from edge_client.config import ClientConfig
from edge_client.doctor import broker, checks, report
from edge_client.doctor.checks import Check
from edge_client.doctor.command import examine
from edge_client.hardware.board import discover
from edge_client.hardware.meters import Wanted
from edge_client.hardware.sysfs import SysFs
from edge_client.helper.client import SOCKET, HelperLine
from edge_client.protocol.joining import parse_url
from edge_client.runtimes import Python
from tests.edge_client import captured
from tests.edge_client.conftest import Broker, free_port
from tests.edge_client.samples import save
from tests.edge_client.trees import POLICY, nano, put, settings

RUNTIME = "numpy"


def examined(fs: SysFs, **more: object) -> report.Report:
    file = settings(fs.root)
    config = ClientConfig(root=str(fs.root), runtime=RUNTIME, meter_period_s=0.02, **more)  # type: ignore[arg-type]
    return examine(config, discover(fs, file), file, "1.0")


def by_name(found: report.Report) -> dict[str, Check]:
    return {check.name: check for check in found.checks}


def test_a_plain_machine_gets_advice_and_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--root", str(tmp_path), "--runtime", RUNTIME]) == 0
    said = capsys.readouterr().out
    assert " W now" not in said  # no watts where nothing measures
    assert said.splitlines()[-3:] == [
        "Training works once this is mended: data, broker.",
        "Plans are not enforced here: the board works at its own clock and power.",
        "Joules are not known, and reported as unavailable; a run with a plan needs them.",
    ]


def test_json_is_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--root", str(tmp_path), "--runtime", RUNTIME, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == {"version", "board", "checks", "summary"}
    assert found["summary"] == {"training": True, "policy": "no", "energy": "unavailable"}
    assert {tuple(sorted(check)) for check in found["checks"]} == {("message", "name", "remedy", "status")}
    status = {check["name"]: check["status"] for check in found["checks"]}
    assert (status["clock"], status["energy"], status["state"]) == ("missing", "missing", "ok")


@pytest.mark.parametrize(
    ("tree", "clock", "energy"),
    [
        (
            "jetson-nano",
            "(schedutil now), 15 clocks from 102 to 1479 MHz can be set, verified by known work",
            "ina3221",
        ),
        ("jetson-orin-nano", "2 cpufreq policies (schedutil now), ", "ina3221"),
        ("raspberry-pi-5", "from 1000 to 2400 MHz can be set, verified by its firmware", "pi5-pmic"),
    ],
)
def test_captured_boards(tree: str, clock: str, energy: str, tmp_path: Path) -> None:
    found = examined(captured.board(tree, tmp_path))
    lines = by_name(found)
    assert lines["clock"].status == "ok"
    assert clock in lines["clock"].message
    assert lines["energy"].status == "ok"
    assert f"measured by {energy} (" in lines["energy"].message
    assert found.summary == report.Summary(training=True, policy="yes", energy="measured")


def test_a_meter_that_is_there_and_forbidden_is_named_with_what_mends_it(tmp_path: Path) -> None:
    lines = by_name(examined(captured.board("x86-rapl", tmp_path)))
    assert lines["energy"].status == "missing"
    assert lines["meter rapl"].status == "degraded"
    assert lines["meter rapl"].message.endswith("/energy_uj: Permission denied")
    assert (lines["meter rapl"].remedy or "").startswith("let this user read it: sudo chmod o+r ")


def test_a_model_is_called_one(tmp_path: Path) -> None:
    fs = nano(tmp_path)
    put(tmp_path, {"proc/stat": "cpu  10 0 10 100 0 0 0 0 0 0"})
    board = discover(fs, settings(tmp_path), None, Wanted("modelled"))
    lines = {check.name: check for check in checks.meter(board, {}, 2.5)}
    assert lines["energy"].status == "degraded"
    assert lines["energy"].message.startswith("modelled by modelled (board, 30% of scale), 2.50 W now")
    assert lines["energy"].remedy == "calibrate it, or add a meter"


def test_a_clock_that_may_be_read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fs = nano(tmp_path)
    monkeypatch.setattr(SysFs, "writable", lambda *_: False)
    lines = by_name(examined(fs))
    assert lines["clock"].message == "1 cpufreq policy may be read but not set: training runs at the owner's clock"
    assert lines["clock"].remedy == "fimi-client units fimi-units, then what it says"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert by_name(examined(fs))["rights"].status == "missing"


def test_a_helper_that_was_killed_leaves_its_socket_and_is_not_believed_in(tmp_path: Path) -> None:
    fs, path = nano(tmp_path), tmp_path / SOCKET
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as helper:
        helper.bind(str(path))
        helper.listen()
        line = HelperLine(path)
        config = ClientConfig(root=str(fs.root), runtime=RUNTIME)
        lines = by_name(examine(config, discover(fs, settings(fs.root), helper=line), settings(fs.root), "1.0"))
        assert (lines["clock"].status, lines["rights"].status) == ("ok", "ok")
        assert lines["clock"].message.endswith("can be set through the helper, verified by known work and the driver")
    lines = by_name(examine(config, discover(fs, settings(fs.root), helper=line), settings(fs.root), "1.0"))
    said = f"the helper at {path} does not answer (Connection refused)"
    assert (lines["clock"].status, lines["clock"].message) == ("missing", f"1 cpufreq policy cannot be set: {said}")
    assert (lines["rights"].status, lines["rights"].message) == ("missing", said)
    assert lines["rights"].remedy == "sudo systemctl restart fimi-helper, or mend `helper` in client.toml"


@pytest.mark.parametrize(
    ("bits", "status", "said", "remedy"),
    [
        ("0x0", "ok", "nothing holds the clock down", None),
        ("0x50005", "degraded", "the clock is held down now: throttled, under-voltage", "a stronger supply and cable"),
        ("0x8", "degraded", "the clock is held down now: soft-limit", "cooling: a heat sink, a fan, less load"),
    ],
)
def test_throttling(bits: str, status: str, said: str, remedy: str | None, tmp_path: Path) -> None:
    fs = captured.board(
        "raspberry-pi-5", tmp_path, {"bin/vcgencmd": f'#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled={bits}'}
    )
    (tmp_path / "bin/vcgencmd").chmod(0o755)
    check = checks.limits(discover(fs, settings(tmp_path)))
    assert (check.status, check.message, check.remedy) == (status, said, remedy)


def test_a_wifi_card_without_iw(tmp_path: Path) -> None:
    fs = put(tmp_path, {"sys/class/net/wlan0/wireless/status": 0})
    assert checks.radio(discover(fs, settings(tmp_path))) == Check(
        name="radio", status="missing", message="wlan0 is a Wi-Fi card, but iw is not installed",
        remedy="sudo apt install iw",
    )  # fmt: skip


def test_runtimes_installed_and_asked_for() -> None:
    versions = {"numpy": "2.1.0", "onnxruntime": "1.22.1"}
    found = list(checks.runtimes("torch", Python(versions.__contains__, versions.get)))
    assert [(check.name, check.status, check.remedy) for check in found] == [
        ("runtime onnx", "ok", None),
        ("runtime torch", "missing", "pip install 'fimi[torch]'"),
        ("runtime numpy", "ok", None),
    ]
    assert found[0].message == "onnxruntime 1.22.1 is installed"


def test_tflite_goes_by_two_names() -> None:
    (found,) = checks.runtimes("auto", Python({"ai_edge_litert"}.__contains__, lambda _: None))
    assert (found.name, found.message) == ("runtime tflite", "ai_edge_litert is installed")


def test_a_runtime_that_would_fail_is_named_with_its_remedy() -> None:
    versions = {"numpy": "2.4.6", "tflite_runtime": "2.14.0", "onnxruntime": "1.14.1"}
    found = {check.name: check for check in checks.runtimes("onnx", Python(versions.__contains__, versions.get))}
    assert found["runtime tflite"].status == "degraded"
    assert "fails with NumPy 2.4.6" in found["runtime tflite"].message
    assert found["runtime onnx"].status == "missing"
    assert found["runtime onnx"].message == "onnxruntime 1.14.1 is too old, training needs 1.15"
    assert "numpy<2" in (found["runtime tflite"].remedy or "")


@pytest.mark.parametrize(
    ("clock", "radio", "policy"),
    [
        ("ok", Check(name="radio", status="ok", message="measured"), "yes"),
        ("ok", Check(name="radio", status="missing", message=checks.NO_RADIO), "yes"),
        ("ok", Check(name="radio", status="degraded", message="unverified"), "partly"),
        ("ok", Check(name="radio", status="missing", message="ignores"), "partly"),
        ("missing", Check(name="radio", status="ok", message="measured"), "partly"),
        ("missing", Check(name="radio", status="missing", message=checks.NO_RADIO), "no"),
    ],
)
def test_a_policy_is_enforced_only_as_far_as_that_is_known(clock: checks.Status, radio: Check, policy: str) -> None:
    found = report.summarise([Check(name="clock", status=clock, message=""), radio], RUNTIME, "measured")
    assert found.policy == policy


def test_what_a_killed_client_left_is_told(tmp_path: Path) -> None:
    file = settings(tmp_path)
    file.save("cpufreq", {f"{POLICY}/scaling_governor": "schedutil"})
    state, left = checks.state(file.path.parent, file)
    assert state.status == "ok"
    assert (left.status, left.remedy) == ("degraded", "fimi-client restore")
    assert "changed and not restored: cpufreq" in left.message


def test_a_state_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    (state,) = checks.state(tmp_path / "run/fimi", settings(tmp_path))
    assert state.status == "missing"


def test_the_samples_are_read(tmp_path: Path) -> None:
    path = save(tmp_path / "d.npz", x=np.zeros((6, 4, 2, 1), np.uint8), y=np.array([0, 1] * 3), n_classes=2)
    assert checks.samples(str(path)).message == "6 images 4x2x1 of 2 classes"
    assert checks.samples(str(tmp_path / "none.npz")).status == "missing"
    assert checks.samples(None).status == "missing"


def test_the_broker_is_tried(broker_: Broker) -> None:
    there = parse_url(f"mqtt://127.0.0.1:{broker_.port}")
    assert broker.broker(there, "dev-1", None, None).status == "ok"
    nowhere = broker.broker(parse_url(f"mqtt://127.0.0.1:{free_port()}"), "dev-1", None, None)
    assert nowhere.status == "missing"
    assert nowhere.message.endswith("Connection refused")
    assert (nowhere.remedy or "").startswith("nc -vz 127.0.0.1 ")
    assert broker.broker(None, None, None, None).status == "missing"


@pytest.fixture
def broker_(broker: Broker) -> Broker:
    """Under a name that does not hide the module."""
    return broker


def test_the_text_fits_and_is_coloured_for_terminals_only() -> None:
    found = report.Report(
        version="1.0",
        board="b",
        checks=(Check(name="clock", status="missing", message="word " * 40, remedy="mend it"),),
        summary=report.Summary(training=False, policy="no", energy="modelled"),
    )
    plain = report.text(found, 60, colour=False)
    assert max(map(len, plain.splitlines())) <= 100
    assert all(len(line) <= 60 for line in plain.splitlines()[2:-3])
    assert "\x1b" not in plain
    assert "clock  \x1b[31mmissing \x1b[0m  word" in report.text(found, 60, colour=True)
    assert "Training does not work: install a runtime, see above." in plain
