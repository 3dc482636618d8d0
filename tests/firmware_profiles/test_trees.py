"""Archives of kernel files: what is written is read, and wrong lines are named."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_profiles import loader, trees
from firmware_profiles.strict import ConfigError
from firmware_profiles.trees import Entry

TEXT = """\
# A board.
bin/tool *
|#!/bin/sh

proc/device-tree/model
>Some board\\0
sys/class/hwmon/hwmon1/device -> ../../../1-0040
sys/class/hwmon/hwmon1/name
|ina219
sys/class/powercap/intel-rapl:0/energy_uj !EACCES
sys/empty
sys/odd
|a\\\\b|c
|# no comment
>end
"""
TREE = {
    "bin/tool": Entry("#!/bin/sh\n", executable=True),
    "proc/device-tree/model": Entry("Some board\0"),
    "sys/class/hwmon/hwmon1/device": Entry(target="../../../1-0040"),
    "sys/class/hwmon/hwmon1/name": Entry("ina219\n"),
    "sys/class/powercap/intel-rapl:0/energy_uj": Entry(errno=errno.EACCES),
    "sys/empty": Entry(""),
    "sys/odd": Entry("a\\b|c\n# no comment\nend"),
}


def test_an_archive_by_hand() -> None:
    assert trees.parse(TEXT) == TREE
    assert trees.dump(TREE, ("A board.",)) == TEXT.replace("#!/bin/sh\n\n", "#!/bin/sh\n")


@given(st.dictionaries(st.from_regex(r"[a-z0-9_:]{1,8}(/[a-z0-9_:.]{1,8}x)?", fullmatch=True), st.text(), max_size=5))
def test_any_text_comes_back(texts: dict[str, str]) -> None:
    tree = {path: Entry(text) for path, text in texts.items()}
    assert trees.parse(trees.dump(tree)) == tree


def test_it_is_unpacked_as_files(tmp_path: Path) -> None:
    assert trees.unpack(TREE, tmp_path) == {"sys/class/powercap/intel-rapl:0/energy_uj": errno.EACCES}
    assert (tmp_path / "proc/device-tree/model").read_text() == "Some board\0"
    assert (tmp_path / "sys/class/hwmon/hwmon1/device").readlink() == Path("../../../1-0040")
    assert (tmp_path / "bin/tool").stat().st_mode & 0o111
    assert (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").stat().st_mode & 0o777 == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("|text", "t: line 1: text that belongs to no file; put the file's path before it"),
        ("a -> b\n|text", "t: line 2: text that belongs to no file"),
        ("a !EACCES\n>text", "t: line 2: text that belongs to no file"),
        ("a\na", "t: line 2: a stands twice; leave one out"),
        ("a !EVERYTHING", "t: line 1: EVERYTHING is no error; give a name of errno.h, as EACCES"),
        ("/a", "t: line 1: '/a' is no path below the root"),
        ("a/../../b", "t: line 1: 'a/../../b' is no path below the root"),
        ("a/", "t: line 1: 'a/' is no path below the root"),
    ],
)
def test_wrong_lines_are_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match="^" + said.replace("(", r"\(")):
        trees.parse(text, "t")


def test_there_is_a_tree_of_every_profile() -> None:
    assert set(trees.shipped()) >= set(loader.shipped()) | {"jetson-orin-nano", "raspberry-pi-3b-plus", "x86-rapl"}
    with pytest.raises(ConfigError, match=r"^tree 'toaster' is not known; use one of jetson-agx-orin, "):
        trees.load("toaster")


@pytest.mark.parametrize("name", trees.shipped())
def test_shipped_trees_are_in_order_and_hold_no_address(name: str) -> None:
    text = (trees.FOLDER / f"{name}.tree").read_text()
    comments = tuple(line[2:] for line in text.splitlines() if line.startswith("# "))
    assert trees.dump(trees.load(name), comments) == text
    assert "serial" not in text.lower()


@pytest.mark.parametrize("name", loader.shipped())
def test_a_profile_and_its_tree_are_of_one_board(name: str) -> None:
    profile, tree = loader.load_profile(name), trees.load(name)
    if "proc/device-tree/model" in tree:
        assert tree["proc/device-tree/model"].text.rstrip("\0") == profile.model
    tables = [entry.text for path, entry in tree.items() if path.endswith("scaling_available_frequencies")]
    for table in tables:
        assert tuple(1e3 * int(khz) for khz in table.split()) == profile.cpu.opps_hz.value
