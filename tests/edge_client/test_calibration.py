"""A calibration at the client: read and checked at its start, offered with the Join."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_client import cli
from edge_client.calibration import check, offer, runtimes
from edge_client.errors import SetupError
from edge_client.protocol.messages import Join, ServerHello
from firmware_profiles.calibrated import Calibration
from tests.calibrations import calibration
from tests.edge_client import trees
from tests.edge_client.agents import NETWORK, served, write_data
from tests.edge_client.conftest import Broker
from tests.edge_client.test_cli import end, run, start_client
from tools.calibrate.profile_file import to_toml

NANO = "NVIDIA Jetson Nano Developer Kit"


def write(path: Path, **how: object) -> Path:
    path.write_text(to_toml(calibration(**how)))
    return path


def on(cores: int | None) -> Calibration:
    return msgspec.structs.replace(calibration(), cores=cores)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        (
            calibration(board="Raspberry Pi 5 Model B Rev 1.0"),
            "--calibration P.toml is of a Raspberry Pi 5 Model B Rev 1.0, this is a fake Rev 1.1; "
            "give this board's own",
        ),
        (
            on(4),
            "--calibration P.toml was measured on 4 cores, this client trains on 1 core; "
            "set threads = 4, or calibrate with --cores 1",
        ),
    ],
)
def test_one_of_another_board_or_work_is_refused(own: Calibration, said: str) -> None:
    with pytest.raises(SetupError) as refused:
        check(own, "P.toml", "fake Rev 1.1", 1)
    assert str(refused.value) == said


def test_what_it_was_measured_with_leaves_no_choice() -> None:
    assert runtimes(None, None, ("onnx", "torch")) == ("onnx", "torch")
    assert runtimes(calibration(runtime="torch"), "P.toml", ("onnx", "torch")) == ("torch",)
    with pytest.raises(SetupError) as refused:
        runtimes(calibration(runtime="torch"), "P.toml", ("onnx",))
    assert str(refused.value) == (
        '--calibration P.toml was measured with runtime "torch", this client trains with onnx; '
        "calibrate with --runtime onnx, or install and allow torch"
    )


def test_one_that_fits_passes_and_one_beyond_bounds_does_not() -> None:
    check(calibration(board="fake Rev 1.0"), "P.toml", "fake Rev 1.1", 1)
    check(on(None), "P.toml", "fake", 3)
    endless = msgspec.structs.replace(calibration().opp[0], j_per_sample=float("inf"))
    many = tuple(msgspec.structs.replace(calibration().opp[0], freq_hz=1e9 + n) for n in range(65))
    for opps, said in (
        ((endless, *calibration().opp[1:]), "Calibration.points[0].j_per_sample is inf; every number in a message"),
        (many, "Expected `array` of length <= 64"),
    ):
        with pytest.raises(SetupError, match="give a file that fimi-calibrate fit has written") as refused:
            check(msgspec.structs.replace(calibration(), opp=opps), "P.toml", "fake", 1)
        assert said in str(refused.value)


def test_a_wrong_file_ends_the_command_with_status_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")
    words = ["run", "--broker", "mqtt://h", "--fleet", "f", "--id", "d", "--data", tmp_path / "d.npz",
             "--root", tmp_path / "root", "--runtime", "numpy", "--calibration"]  # fmt: skip
    (tmp_path / "no.toml").write_text("format = 1")
    other = write(tmp_path / "other.toml", board="Raspberry Pi 4 Model B Rev 1.5", runtime="numpy")
    for path, said in (
        (tmp_path / "none.toml", "none.toml: no such file"),
        (tmp_path / "no.toml", "no.toml: opp: "),
        (other, f"is of a Raspberry Pi 4 Model B Rev 1.5, this is a {NANO}; give this board's own"),
    ):
        status, line = run(*words, path, capsys=capsys)
        assert status == 2
        assert line.startswith("fimi-client: ")
        assert said in line
        assert "\n" not in line


async def test_the_join_carries_it(tmp_path: Path, broker: Broker) -> None:
    trees.nano(tmp_path / "root")
    write_data(tmp_path / "d.npz")
    own = write(tmp_path / "own.toml", board=NANO, runtime="numpy")
    client = start_client(tmp_path, broker.port, "--calibration", str(own))
    try:
        async with served(broker) as server:
            await server.hello(ServerHello(server_id="s", run="r1", network=NETWORK))
            join = await server.wait_for(Join)
            assert join.calibration == offer(calibration(board=NANO, runtime="numpy"))
            client.terminate()
            assert client.wait(30) == 0
    finally:
        end(client)


def test_show_finds_the_model_by_it_where_there_is_no_meter(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What a board says of itself: a model at the calibration's boundary."""
    files = {**trees.cpufreq(), "proc/device-tree/model": f"{NANO}\0", "proc/stat": "cpu  1 0 1 9 9 0 0 0 0 0\ncpu0 1"}
    trees.put(tmp_path / "root", files)
    own = write(tmp_path / "own.toml", board=NANO, runtime="numpy")
    (tmp_path / "client.toml").write_text(f'calibration = "{own}"\nruntime = "numpy"\nroot = "{tmp_path / "root"}"')
    assert cli.main(["show", "--config", str(tmp_path / "client.toml")]) == 0
    seen = msgspec.json.decode(capsys.readouterr().out)["capabilities"]
    assert (seen["meter"], seen["meter_source"], seen["boundary"]) == ("calibration", "modelled", "board")
