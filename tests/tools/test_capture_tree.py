"""What a capture takes, and above all what it leaves out."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firmware_profiles import trees
from firmware_profiles.trees import Entry
from tools import capture_tree
from tools.capture_tree import capture, main, own_secrets

SERIAL, MAC = "10000000abcdef12", "dc:a6:32:0b:cd:ef"


def put(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.mark.parametrize("name", trees.shipped())
def test_a_captured_archive_has_what_meters_need(tmp_path: Path, name: str) -> None:
    """Unpacking a shipped tree and capturing it gives it back, but for commands, rights and counters of load."""
    tree = trees.load(name)
    trees.unpack(tree, tmp_path)
    found = capture(tmp_path).tree
    for path, entry in tree.items():
        if entry.errno is None and not path.startswith(("bin/", "proc/stat", "proc/pressure/")):
            assert found[path] == entry
    assert found.keys() <= tree.keys()


def test_serial_numbers_and_addresses_are_nowhere(tmp_path: Path) -> None:
    root = put(
        tmp_path,
        {
            "proc/device-tree/model": "A board\0",
            "proc/device-tree/serial-number": f"{SERIAL}\0",
            "proc/cpuinfo": f"Serial : {SERIAL}\n",
            "sys/class/net/eth0/address": f"{MAC}\n",
            "sys/class/net/eth0/operstate": "up\n",
            "sys/class/net/eth0/phys_port_id": "0badc0ffee01\n",
            "sys/class/net/wlxdca6320bcdef/operstate": "up\n",
            "sys/class/hwmon/hwmon0/name": "ina219\n",
            "sys/class/hwmon/hwmon0/label": f"of {SERIAL}\n",
            "sys/class/hwmon/hwmon0/uevent": f"ID={SERIAL}\n",
            "sys/class/hwmon/hwmon0/serial": f"{SERIAL}\n",
            "sys/class/hwmon/hwmon1/name": "dca6320bcdef and DC-A6-32-0B-CD-EF and 0123456789abcdef\n",
            "sys/class/hwmon/hwmon1/power1_input": "123456789012\n",
            "sys/class/thermal/thermal_zone0/type": "cpu\n",
            "sys/class/thermal/thermal_zone0/uuid": "0badc0ff-ee\n",
        },
    )
    found = capture(root)
    text = trees.dump(found.tree)
    assert not re.search(r"abcdef|0b.?cd.?ef|c0ffee|badc0ff", text, re.I)
    assert sorted(found.tree) == [
        "proc/device-tree/model",
        "sys/class/hwmon/hwmon0/label",
        "sys/class/hwmon/hwmon0/name",
        "sys/class/hwmon/hwmon1/name",
        "sys/class/hwmon/hwmon1/power1_input",
        "sys/class/net/eth0/operstate",
        "sys/class/net/wlx000000000000/operstate",
        "sys/class/thermal/thermal_zone0/type",
    ]
    assert found.tree["sys/class/hwmon/hwmon0/label"].text == "of 0000000000000000\n"
    assert found.tree["sys/class/hwmon/hwmon1/power1_input"].text == "123456789012\n"  # a number is no address
    assert found.scrubbed == 3
    assert own_secrets(root) == [MAC, SERIAL, MAC.replace(":", "")]


def test_a_link_keeps_the_chips_address_alone(tmp_path: Path) -> None:
    put(tmp_path, {"sys/class/hwmon/hwmon0/name": "ina219\n", "sys/class/hwmon/hwmon1/name": "nvme\n"})
    (tmp_path / "sys/class/hwmon/hwmon0/device").symlink_to("../../../i2c-1/1-0040")
    (tmp_path / "sys/class/hwmon/hwmon1/device").symlink_to("../../../nvme0-S4EVNX0R123456")
    tree = capture(tmp_path).tree
    assert tree["sys/class/hwmon/hwmon0/device"] == Entry(target="../../../1-0040")
    assert "sys/class/hwmon/hwmon1/device" not in tree


def test_its_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {f"sys/class/thermal/thermal_zone{n}/type": "x" * 10_000 for n in range(4)})
    monkeypatch.setattr(capture_tree, "TREE_BYTES", 9000)
    found = capture(tmp_path)
    assert [len(entry.text) for entry in found.tree.values()] == [4096, 4096]
    assert len(found.too_large) == 2


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out, root = tmp_path / "out.tree", tmp_path / "root"
    monkeypatch.setattr("sys.argv", ["capture_tree", str(out), "--root", str(root)])
    assert main() == 2
    assert capsys.readouterr().err == f"{root} has no sys/; give --root the folder that holds the board's\n"
    trees.unpack(trees.load("raspberry-pi-4b"), root)
    assert main() == 0
    said = capsys.readouterr().out
    assert "scrubbed: 0 values that look like serial numbers or hardware addresses; please look again" in said
    assert trees.parse(out.read_text())["sys/class/hwmon/hwmon2/power1_input"].text == "2970000\n"
    monkeypatch.setattr("sys.argv", ["capture_tree", str(tmp_path / "no/where.tree"), "--root", str(root)])
    assert main() == 2
    assert "No such file or directory; give a file that can be written" in capsys.readouterr().err
