"""Captures this board's kernel files as an archive for tests: `python -m tools.capture_tree OUT.tree [--root /]`.

Only what clocks, meters and links are found by is read: cpufreq, powercap, hwmon, iio, thermal zones, the board's name
and the kind and state of network interfaces. Serial numbers and hardware addresses are left out: files that hold them
are never opened, anything in the rest that looks like one is overwritten with zeros, and so is the board's own serial
number wherever it stands. How much was scrubbed is said at the end; look the archive through before you publish it.

An archive is at most 256 KiB: files are cut at 4 KiB each, and what does not fit is named.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from firmware_profiles import trees
from firmware_profiles.trees import Entry

FILE_BYTES = 4096
TREE_BYTES = 256 * 1024

FOLDERS = (
    "sys/devices/system/cpu/cpufreq/policy*",
    "sys/devices/system/cpu/intel_pstate",
    "sys/class/powercap/*",
    "sys/class/hwmon/hwmon*",
    "sys/bus/i2c/drivers/ina3221/*/hwmon/hwmon*",
    "sys/bus/i2c/drivers/ina3221x/*/iio:device*",
    "sys/bus/iio/devices/iio:device*",
    "sys/class/thermal/thermal_zone*",
    "sys/class/net/*",
)
"""Folders whose own files are taken, not those of folders in them."""

FILES = ("proc/device-tree/model", "sys/class/net/*/phy80211/name")

KEPT_OF = {
    "net": re.compile(r"(type|operstate|speed|duplex|mtu)$"),
    "thermal": re.compile(r"(type|temp)$"),
    "hwmon": re.compile(
        r"(name|label|update_interval|samples|shunt_resistor"
        r"|(in|curr|power|temp|fan|energy|pwm|shunt)\d+(_[a-z_]+)?)$"
    ),
}
"""Of these subsystems only files so called; all others may hold what is nobody's business."""

_SECRET = re.compile(r"serial|uuid|address|mac|ssid|unique|wwid|uevent|hostname|phys_|perm_|broadcast|asset", re.I)
_ADDRESS = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{2}([:-]))(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}(?![0-9a-f])", re.I)
_RUN = re.compile(r"(?<![0-9a-z])(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{12,}(?![0-9a-z])", re.I)
_INTERFACE = re.compile(r"(?<=/)((?:en|wl|ww)x)[0-9a-f]{12}(?=/|$)", re.I)


@dataclass
class Capture:
    """What was found, how much of it was scrubbed, and what was left out for its size."""

    tree: dict[str, Entry] = field(default_factory=dict)
    scrubbed: int = 0
    too_large: list[str] = field(default_factory=list)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tools.capture_tree", description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path, help="the archive to write, as my-board.tree")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="where the board's sys/ and proc/ are (default: /)"
    )
    arguments = parser.parse_args()
    if not (arguments.root / "sys").is_dir():
        print(f"{arguments.root} has no sys/; give --root the folder that holds the board's", file=sys.stderr)
        return 2
    found = capture(arguments.root)
    text = trees.dump(found.tree, ("Captured by tools/capture_tree.py; serial numbers and addresses scrubbed.",))
    try:
        arguments.out.write_text(text, encoding="utf-8")
    except OSError as error:
        print(f"{arguments.out}: {error.strerror}; give a file that can be written", file=sys.stderr)
        return 2
    print(f"{arguments.out}: {len(found.tree)} files, {len(text) / 1024:.0f} KiB")
    print(f"scrubbed: {found.scrubbed} values that look like serial numbers or hardware addresses; please look again")
    for path in found.too_large:
        print(f"left out for its size: {path}")
    return 0


def capture(root: Path) -> Capture:
    """The archive's entries of the board below `root`."""
    found, secrets, size = Capture(), own_secrets(root), 0
    for path in sorted(set(_paths(root))):
        entry = _entry(root / path, path)
        if entry is None:
            continue
        name, text = path, entry.text
        for secret in secrets:
            text = text.replace(secret, "0" * len(secret))
        text = _zeros(text)
        name = _INTERFACE.sub(lambda match: match[1] + "0" * 12, name)
        found.scrubbed += (text != entry.text) + (name != path)
        kept = Entry(text, entry.target, entry.errno)
        size += len(trees.dump({name: kept}))
        if size > TREE_BYTES:
            found.too_large.append(path)
            size -= len(trees.dump({name: kept}))
        else:
            found.tree[name] = kept
    return found


def own_secrets(root: Path) -> list[str]:
    """Serial numbers and hardware addresses of this board, read only to be found elsewhere; none is kept."""
    places = ["proc/device-tree/serial-number", "sys/firmware/devicetree/base/serial-number"]
    places += [str(path.relative_to(root)) for path in root.glob("sys/class/net/*/address")]
    found = set()
    for place in places:
        try:
            text = (root / place).read_text(encoding="utf-8", errors="replace").strip("\0 \n")
        except OSError:
            continue
        found |= {text, text.replace(":", "")}
    return sorted((text for text in found if len(text) >= 8 and text.strip("0:")), key=len, reverse=True)


def _zeros(text: str) -> str:
    """The text with everything that looks like an address or a long hexadecimal number set to zeros."""
    for pattern in (_ADDRESS, _RUN):
        text = pattern.sub(lambda match: re.sub(r"[0-9a-fA-F]", "0", match[0]), text)
    return text


def _paths(root: Path) -> Iterator[str]:
    """Paths below the root that may be read."""
    for pattern in FILES:
        yield from (str(path.relative_to(root)) for path in root.glob(pattern))
    for pattern in FOLDERS:
        kept = KEPT_OF.get(pattern.split("/")[2], re.compile(""))
        for folder in root.glob(pattern):
            name = folder.relative_to(root)
            if not folder.is_dir():
                continue
            for file in folder.iterdir():
                if kept.match(file.name) and not _SECRET.search(file.name) and file.is_file():
                    yield str(name / file.name)
            if (folder / "device").is_symlink() and "hwmon" in folder.name:
                yield str(name / "device")


def _entry(file: Path, path: str) -> Entry | None:
    """One file, cut; its error where it cannot be read; None where it is none of ours."""
    if path.endswith("/device"):
        target = file.readlink().name  # the rest of the way leads past names of other devices
        return Entry(target=f"../../../{target}") if re.fullmatch(r"\d+-[0-9a-f]{4}", target) else None
    try:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
        try:
            return Entry(os.read(fd, FILE_BYTES).decode("utf-8", errors="replace"))
        finally:
            os.close(fd)
    except OSError as error:
        return Entry(errno=error.errno) if error.errno in errno.errorcode else None


if __name__ == "__main__":
    sys.exit(main())
