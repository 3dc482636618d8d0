r"""Whole trees of a board's kernel files in one text archive each, so that a change shows as a line in a diff.

    # a comment: which board, kernel and source
    sys/class/hwmon/hwmon1/name
    |ina219
    sys/class/hwmon/hwmon1/device -> ../../../1-0040
    sys/class/powercap/intel-rapl:0/energy_uj !EACCES
    proc/device-tree/model
    >NVIDIA Jetson Nano Developer Kit\0
    bin/vcgencmd *
    |#!/bin/sh

A line without a mark is a path below the board's root; after it " -> " the target of a link, " !" the name of the error
(errno.h) that reading it gives, " *" says that it can be run. Lines with "|" are its text, each ended by a newline; a
last line with ">" is not ended by one. In both, \0 is the byte nought and \\ a backslash.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from firmware_profiles.strict import ConfigError

FOLDER = Path(__file__).parent / "trees"


@dataclass(frozen=True)
class Entry:
    """A file's text; or a link's target; or the errno that reading it gives."""

    text: str = ""
    target: str | None = None
    errno: int | None = None
    executable: bool = False


Tree = Mapping[str, Entry]
"""Entries by path below the root, in the order of the archive."""


def parse(text: str, name: str = "tree") -> dict[str, Entry]:
    """The entries of an archive; raises ConfigError with the number of a wrong line."""
    tree: dict[str, Entry] = {}
    path: str | None = None
    for number, line in enumerate(text.split("\n"), start=1):
        if line.startswith(("|", ">")):
            if path is None or tree[path].target is not None or tree[path].errno is not None:
                raise ConfigError(f"{name}: line {number}: text that belongs to no file; put the file's path before it")
            ended = "\n" if line[0] == "|" else ""
            held = tree[path]
            tree[path] = Entry(held.text + _unescape(line[1:]) + ended, executable=held.executable)
        elif line and not line.startswith("#"):
            path, entry = _header(line, f"{name}: line {number}")
            if path in tree:
                raise ConfigError(f"{name}: line {number}: {path} stands twice; leave one out")
            tree[path] = entry
    return tree


def _header(line: str, where: str) -> tuple[str, Entry]:
    path, entry = line, Entry()
    if " -> " in line:
        path, _, target = line.partition(" -> ")
        entry = Entry(target=target)
    elif " !" in line:
        path, _, word = line.partition(" !")
        code = getattr(errno, word, None)
        if not isinstance(code, int):
            raise ConfigError(f"{where}: {word} is no error; give a name of errno.h, as EACCES")
        entry = Entry(errno=code)
    elif line.endswith(" *"):
        path, entry = line[:-2], Entry(executable=True)
    if path.startswith("/") or ".." in PurePosixPath(path).parts or path != str(PurePosixPath(path)):
        raise ConfigError(f"{where}: {path!r} is no path below the root; give one as sys/class/hwmon/hwmon0/name")
    return path, entry


def dump(tree: Tree, comments: tuple[str, ...] = ()) -> str:
    """The archive of some entries, sorted by path; `parse` gives them back."""
    lines = [f"# {comment}" for comment in comments]
    for path, entry in sorted(tree.items()):
        lines += _lines(path, entry)
    return "\n".join(lines) + "\n"


def _lines(path: str, entry: Entry) -> Iterator[str]:
    if entry.target is not None:
        yield f"{path} -> {entry.target}"
    elif entry.errno is not None:
        yield f"{path} !{errno.errorcode[entry.errno]}"
    else:
        yield f"{path} *" if entry.executable else path
        *whole, rest = _escape(entry.text).split("\n")
        yield from (f"|{line}" for line in whole)
        if rest:
            yield f">{rest}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\0", "\\0")


def _unescape(text: str) -> str:
    return "\\".join(part.replace("\\0", "\0") for part in text.split("\\\\"))


def shipped() -> tuple[str, ...]:
    """Names of the archives beside the profiles."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.tree")))


def load(name: str) -> dict[str, Entry]:
    """A shipped archive by name; raises ConfigError."""
    if name not in shipped():
        raise ConfigError(f"tree {name!r} is not known; use one of {', '.join(shipped())}")
    path = FOLDER / f"{name}.tree"
    return parse(path.read_text(encoding="utf-8"), path.name)


def unpack(tree: Tree, root: Path) -> dict[str, int]:
    """Write the entries below `root`; returns the paths that must fail to read, with their errno.

    Those are written as empty files without rights, which root reads all the same: whoever plays the board must see to
    it.
    """
    failing: dict[str, int] = {}
    for name, entry in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if entry.target is not None:
            path.symlink_to(entry.target)
            continue
        path.write_text(entry.text, encoding="utf-8")
        if entry.errno is not None:
            failing[name] = entry.errno
            path.chmod(0o000)
        elif entry.executable:
            path.chmod(0o755)
    return failing
