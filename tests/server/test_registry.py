"""Devices in SQLite: what is kept, what is brought up to date."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from server.errors import DataError
from server.registry import open_registry
from tests.rounds.fake_device import join_of, profile_of


def test_a_device_is_kept_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "registry.sqlite"
    join = join_of("a", "r1", (3, 1))
    with open_registry(path) as registry:
        registry.enrol("f", join, 10.0)
        (known,) = registry.devices()
        assert (known.id, known.fleet, known.label_counts, known.profile) == ("a", "f", (3, 1), None)
        assert known.capabilities == join.capabilities
    later = msgspec.structs.replace(join, label_counts=(0, 0, 7), storage_samples=5, client_version="2")
    with open_registry(path) as registry:
        registry.enrol("f", later, 20.0)
        for run, now in (("r2", 22.0), ("r1", 21.0)):
            registry.keep_profile("f", profile_of("a", run, (1e9,)), now)
        (known,) = registry.devices()
    assert (known.label_counts, known.storage_samples, known.client_version) == ((0, 0, 7), 5, "2")
    assert (known.first_seen, known.last_seen) == (10.0, 20.0)
    assert known.profile is not None
    assert known.profile.run == "r2"  # the latest by time, not by order of writing


def test_a_name_may_stand_in_two_fleets(tmp_path: Path) -> None:
    with open_registry(tmp_path / "r.sqlite") as registry:
        for fleet in ("g", "f"):
            registry.enrol(fleet, join_of("a", "r", (1, 1)), 1.0)
        assert [device.fleet for device in registry.devices()] == ["f", "g"]


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.sqlite"
    path.write_text("this is no database, and long enough to be read as one" * 20)
    with pytest.raises(DataError, match="is not a registry"), open_registry(path):
        pass
