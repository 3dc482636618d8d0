"""The file that remembers what a client has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.errors import HardwareError
from tests.edge_client.trees import settings


def test_the_first_memory_of_the_settings_is_the_true_one(tmp_path: Path) -> None:
    file = settings(tmp_path)
    assert file.load() == {}
    file.save("cpufreq", {"a": "1"})
    file.save("cpufreq", {"a": "2"})
    file.save("txpower", {"dbm": "3"})
    assert file.load() == {"cpufreq": {"a": "1"}, "txpower": {"dbm": "3"}}
    file.forget("cpufreq")
    assert file.load() == {"txpower": {"dbm": "3"}}
    file.forget("txpower")
    assert not file.path.exists()
    file.path.write_text("{cut sho")
    assert file.load() == {}


def test_where_nothing_can_be_noted_nothing_may_be_changed(tmp_path: Path) -> None:
    file = settings(tmp_path)
    file.path.parent.parent.mkdir(parents=True)
    file.path.parent.write_text("no folder")
    with pytest.raises(HardwareError, match=r"settings\.json: .*what is to be restored must stand there before"):
        file.save("cpufreq", {"a": "1"})


def test_a_restored_knob_that_cannot_be_forgotten_is_no_reason_to_leave_the_next_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = settings(tmp_path)
    file.save("cpufreq", {"a": "1"})
    file.save("txpower", {"dbm": "3"})
    file.path.with_suffix(".partial").mkdir()  # cannot be written
    file.forget("cpufreq")
    assert "cpufreq is restored, and that could not be noted" in caplog.text
    assert file.load() == {"cpufreq": {"a": "1"}, "txpower": {"dbm": "3"}}
