"""The file that remembers what a client has changed."""

from __future__ import annotations

from pathlib import Path

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
