"""Files and commands below a root."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_client.errors import HardwareError
from edge_client.hardware.sysfs import run_command
from tests.edge_client.trees import put


def test_missing_files_are_ordinary_and_refused_writes_are_not(tmp_path: Path) -> None:
    fs = put(tmp_path, {"a/text": "12 ", "a/word": "x", "a/zero": "\0"})
    assert fs.read("a/text") == "12"
    assert fs.number("a/text") == 12
    assert fs.number("a/word") is None
    assert fs.number("a/zero") is None
    assert fs.read("a/none") is None
    assert fs.glob("a/*o*") == ["a/word", "a/zero"]
    with pytest.raises(HardwareError, match="/a/none: '1' was refused: No such file"):
        fs.write("a/none", "1")
    fs.write("a/text", "7")
    assert (tmp_path / "a/text").read_bytes() == b"7\n"


def test_commands_are_found_below_the_root_only(tmp_path: Path) -> None:
    fs = put(tmp_path, {"bin/iw": "#!/bin/sh\necho $1; exit $2"})
    iw = fs.command("iw")
    assert iw == str(tmp_path / "bin/iw")
    assert fs.command("sh") is None
    assert run_command((iw, "hello", "0")) == "hello\n"
    with pytest.raises(HardwareError, match="iw hello 3"):
        run_command((iw, "hello", "3"))
    with pytest.raises(HardwareError, match="nothing-here"):
        run_command((str(tmp_path / "nothing-here"),))
