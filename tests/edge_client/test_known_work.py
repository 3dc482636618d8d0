"""What a board is known to do at its clocks outlives the client, and is forgotten with what it was known of."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from edge_client.agent.known_work import Circumstances, KnownWork, circumstances
from edge_client.agent.obedience import Memory, Obedience, Verdict
from edge_client.hardware.board import discover
from edge_client.protocol.messages import ProfileReport, ProfileRequest
from tests.edge_client import trees
from tests.edge_client.agents import NETWORK, fleet
from tests.edge_client.conftest import Broker, broker
from tests.edge_client.test_obedience import JOB, point

__all__ = ["broker"]

NOW = Circumstances(board="Nano", kernel="4.9", opps_hz=(0.5e9, 1.5e9), runtime="torch", threads=2, cpus=None)


def learned(path: Path) -> Memory:
    """0.5 GHz: 30 ms, 1.5 GHz: 12 ms a sample, profiled by a client that then ends."""
    known = KnownWork(path, NOW)
    board = Obedience(known.read(), known.keep)
    board.profiled(JOB, [point(0.5e9, 0.030, 0.5e9), point(1.5e9, 0.012, 1.5e9)], "driver")
    return known.read()


def test_a_client_started_again_knows_what_work_takes(tmp_path: Path) -> None:
    path = tmp_path / "known_work.json"
    assert KnownWork(path, NOW).read() == Memory()
    memory = learned(path)
    known = KnownWork(path, NOW)
    # 12 ms a sample at 0.5 GHz: it ran at 1.5, and two windows say so, whatever becomes of the client between them
    once = Obedience(memory, known.keep).judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0))
    assert once == Verdict(None, None, None)
    again = Obedience(known.read())
    assert again.judge(0.5e9, 0.5e9, (0.5e9, "driver"), JOB, (500, 6.0)) == Verdict(1.5e9, "work", "not_applied")
    assert again.judge(1.5e9, 1.5e9, (1.5e9, "driver"), JOB, (500, 6.0)).finding is None


@pytest.mark.parametrize(
    "change",
    [
        {"board": "Pi"},
        {"kernel": "5.10"},
        {"opps_hz": (0.5e9, 1.5e9, 2e9)},
        {"runtime": "numpy"},
        {"threads": 4},
        {"cpus": (0, 1)},
    ],
    ids=str,
)
def test_it_is_forgotten_under_other_circumstances(tmp_path: Path, change: dict[str, object]) -> None:
    path = tmp_path / "known_work.json"
    assert learned(path).pace is not None
    assert KnownWork(path, msgspec.structs.replace(NOW, **change)).read() == Memory()
    assert KnownWork(path, NOW).read().pace is not None


def test_what_windows_show_is_kept_too_but_not_written_for_nothing(tmp_path: Path) -> None:
    path = tmp_path / "known_work.json"
    known = KnownWork(path, NOW)
    board = Obedience(known.read(), known.keep)
    board.judge(0.5e9, 0.5e9, (1.5e9, "firmware"))
    assert known.read() == Memory({0.5e9: 1.5e9}, None)
    path.unlink()
    board.judge(0.5e9, 0.5e9, (1.501e9, "firmware"))  # the same clock, as far as anybody can tell
    assert not path.exists()
    board.judge(0.5e9, 0.5e9, (0.5e9, "firmware"))
    assert known.read() == Memory({0.5e9: 0.5e9}, None)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"seen_hz": [], "pace": null}', '{"circumstances": 3}'])
def test_a_file_that_is_cut_short_or_of_another_version_is_no_memory(tmp_path: Path, text: str) -> None:
    path = tmp_path / "known_work.json"
    path.write_text(text)
    assert KnownWork(path, NOW).read() == Memory()


def test_a_folder_that_cannot_be_written_costs_no_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    KnownWork(tmp_path / "gone/known_work.json", NOW).keep(Memory({1e9: 1e9}))
    assert "could not be noted in" in caplog.text


def test_circumstances_are_the_board_s(tmp_path: Path) -> None:
    fs = trees.nano(tmp_path)
    trees.put(tmp_path, {"proc/sys/kernel/osrelease": "4.9.337-tegra"})
    now = circumstances(discover(fs, trees.settings(tmp_path)), "numpy", 2, [0, 1])
    assert (now.kernel, now.runtime, now.threads, now.cpus) == ("4.9.337-tegra", "numpy", 2, (0, 1))
    assert now.opps_hz[0] == 102e6 and now.opps_hz[-1] == 1479e6


async def test_a_client_that_restarts_in_mid_run_still_tells_how_its_board_fails(
    tmp_path: Path, broker: Broker
) -> None:
    """The clock of these files stays at 1479 MHz whatever is asked for. In the profile it did at 204 MHz; so a window
    at 710 MHz does not show one clock that is too fast, but a board that applies none."""
    async with fleet(tmp_path, broker) as (server, _):
        await server.say(
            ProfileRequest(
                run="r1", network=NETWORK, batch_size=8, freqs_hz=(204e6, 1479e6), window_s=0.2, settle_s=0.05
            )
        )
        await server.wait_for(ProfileReport)
    async with fleet(tmp_path, broker) as (_, shell):
        verdict = shell._work.obedience.judge(710.4e6, 710.4e6, (1479e6, "driver"))
    assert verdict == Verdict(1479e6, "driver", "not_applied")
