"""The root: Debian 12 for arm64, in two stages. A stage that is finished is not done again.

FOLDER/debian      the root itself
FOLDER/debs        Debian's packages, so that a root that must be made again downloads nothing
FOLDER/*.done      a stage is finished; holds what it came to
FOLDER/log         all that the commands said
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tools.arm64.enter import Entrance
from tools.arm64.trouble import Trouble
from tools.arm64.watched import say, watched

SUITE = "bookworm"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_PACKAGES = "python3,python3-venv"


def root_of(folder: Path) -> Path:
    return folder / "debian"


def make(folder: Path, entrance: Entrance, mirror: str) -> None:
    """Unpack with the host's tools, then configure inside; raises Trouble."""
    root, log = root_of(folder), folder / "log"
    done = folder / "debian.done"
    made_of = f"{SUITE} {_PACKAGES}\n"
    if done.is_file() and done.read_text() == made_of and (root / "usr/bin/python3").exists():
        say(f"{root} is there")
        return
    if shutil.which("debootstrap") is None:
        raise Trouble("debootstrap is not installed; sudo apt-get install -y debootstrap")
    if not KEYRING.is_file():
        raise Trouble(f"{KEYRING} is missing: packages could not be verified; sudo apt-get install -y "
                      "debian-archive-keyring")  # fmt: skip
    # configuring cannot be taken up where it was interrupted, so a root that is not finished is made anew
    done.unlink(missing_ok=True)
    if root.exists():
        say("a root that was not finished is removed")
        shutil.rmtree(root)
    cache = folder / "debs"
    cache.mkdir(exist_ok=True)
    first = ["debootstrap", "--foreign", "--arch=arm64", "--variant=minbase", "--force-check-gpg"]
    first += [f"--keyring={KEYRING}", f"--cache-dir={cache.resolve()}", f"--include={_PACKAGES}", SUITE]
    seconds = watched([*first, root, mirror], log, f"Debian 12 (arm64) from {mirror}: unpacking, half a minute")
    proc = root / "proc"
    if proc.is_symlink():  # what debootstrap leaves where it takes the host for a container: a link to itself, inside
        proc.unlink()
        proc.mkdir()
    second = entrance.command(["env", "DEBOOTSTRAP_DIR=/debootstrap", "/debootstrap/debootstrap", "--second-stage"])
    seconds += watched(second, log, "configuring its packages inside: three minutes and more")
    done.write_text(made_of)
    say(f"made in {seconds:.0f} s")
