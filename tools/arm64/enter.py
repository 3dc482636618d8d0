"""How commands get to run inside a Debian root of another processor: three ways, of which the best there is is taken.

- native: this machine is arm64 itself; nothing is emulated.
- binfmt: the kernel hands arm64 programs to qemu (binfmt_misc), children of children included. Registered for as long
  as the command takes, unless the system has done so for good.
- proot: where the kernel takes no registration (a container), proot follows each process by ptrace and puts qemu in
  front of whatever it starts. Slower, and it needs no mounts.

With the first two a command runs in a mount namespace of its own: its mounts are gone when its last process is, however
that ends. Network and processes are the host's, so 127.0.0.1 inside is the host's too. /sys stays empty: it would
tell of the host's processor, and onnxruntime, looking for an arm64 one there, dies of a segmentation fault.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from tools.arm64.trouble import Trouble

Kind = Literal["native", "binfmt", "proot"]

VENV = "/opt/fimi"
"""Where FIMI is installed, as seen inside."""

BINFMT = Path("/proc/sys/fs/binfmt_misc")
OWN = BINFMT / "fimi-arm64"
_MAGIC = rb"\x7f\x45\x4c\x46\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK = rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"

_ENVIRONMENT = (f"PATH={VENV}/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1")

# $1: the root; then pairs of a folder here and where it is seen inside, up to "--"; then the command
_MOUNT_AND_CHANGE_ROOT = """
root=$1
shift
mkdir -p "$root/proc" "$root/dev/shm"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/dev/shm"
while [ "$1" != -- ]; do
    mkdir -p "$root$2"
    mount --bind "$1" "$root$2"
    shift 2
done
shift
exec chroot "$root" "$@"
"""


@dataclass(frozen=True)
class Entrance:
    """Into one root, by one way."""

    kind: Kind
    root: Path
    qemu: str | None = None

    def command(self, words: Sequence[str | Path], seen: Mapping[Path, str] | None = None) -> list[str | Path]:
        """`words` as a command of the host. `seen`: folders of the host and the paths they have inside."""
        clean: list[str | Path] = ["/usr/bin/env", "-i", *_ENVIRONMENT]
        inside = [*clean, *words]
        folders = [(str(here.resolve()), there) for here, there in (seen or {}).items()]
        if self.kind == "proot":
            assert self.qemu is not None
            binds = [part for here, there in folders for part in ("-b", f"{here}:{there}")]
            # dies with proot, which would leave it behind, no longer followed
            inside = ["/usr/bin/setpriv", "--pdeathsig", "TERM", *inside]
            options = ["-q", self.qemu, "-r", str(self.root), "-w", "/"]
            return ["proot", *options, "-b", "/proc", "-b", "/dev", *binds, *inside]
        binds = [part for pair in folders for part in pair]
        private = ["unshare", "--mount", "--propagation", "private", "sh", "-ec", _MOUNT_AND_CHANGE_ROOT, "sh"]
        return [*private, str(self.root), *binds, "--", *inside]

    def process(self, started: subprocess.Popen[str]) -> psutil.Process:
        """The command's own process, to which a signal goes: proot keeps signals to itself."""
        own = psutil.Process(started.pid)
        if self.kind == "proot":
            return next(iter(own.children()), own)
        return own


@contextlib.contextmanager
def entrance(root: Path, wanted: Kind | None = None) -> Iterator[Entrance]:
    """The way in; whatever was registered for it is taken back in the end. Raises Trouble where there is none."""
    if wanted in (None, "native") and platform.machine() == "aarch64":
        yield Entrance("native", root)
        return
    if wanted == "native":
        raise Trouble(f"this machine is {platform.machine()}, not aarch64; leave out --by, or name binfmt or proot")
    qemu = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
    if qemu is None:
        raise Trouble("qemu-aarch64-static is not installed; sudo apt-get install -y qemu-user-static")
    if wanted != "proot":
        with contextlib.ExitStack() as stack:
            why = _registered(qemu, stack)
            if why is None:
                yield Entrance("binfmt", root, qemu)
                return
        if wanted == "binfmt":
            raise Trouble(f"the kernel cannot be told of arm64 programs: {why}; try --by proot")
        if shutil.which("proot") is None:
            raise Trouble(
                f"the kernel cannot be told of arm64 programs ({why}), and proot, which does without, is not "
                "installed; sudo apt-get install -y proot"
            )
    elif shutil.which("proot") is None:
        raise Trouble("proot is not installed; sudo apt-get install -y proot")
    yield Entrance("proot", root, qemu)


def _registered(qemu: str, stack: contextlib.ExitStack) -> str | None:
    """See to it that the kernel runs arm64 programs, until `stack` ends; returns why it does not."""
    if not (BINFMT / "register").exists():
        mounted = _run("mount", "-t", "binfmt_misc", OWN.name, str(BINFMT))
        if mounted.returncode != 0:
            return mounted.stderr.strip() or "binfmt_misc cannot be mounted"
    if any(line.startswith(f"{OWN.name} ") for line in Path("/proc/mounts").read_text().splitlines()):
        stack.callback(_run, "umount", str(BINFMT))
    if OWN.exists():  # of a command that was killed
        stack.callback(_forget)
        return None
    if any(_takes_arm64(one) for one in BINFMT.iterdir()):
        return None
    # F: qemu is opened now, by the host's path, so that the root needs no copy of it
    line = b":fimi-arm64:M::" + _MAGIC + b":" + _MASK + b":" + os.fsencode(qemu) + b":F"
    try:
        (BINFMT / "register").write_bytes(line)
    except OSError as error:
        return f"{BINFMT / 'register'}: {error.strerror}"
    stack.callback(_forget)
    return None


def _takes_arm64(entry: Path) -> bool:
    """Whether a registration takes arm64 programs, in a root that has no qemu too."""
    if entry.name in ("register", "status"):
        return False
    lines = entry.read_text().splitlines()
    magic = _MAGIC.decode().replace("\\x", "")
    flags = next((line.removeprefix("flags:") for line in lines if line.startswith("flags:")), "")
    return "enabled" in lines and f"magic {magic}" in lines and "F" in flags


def _forget() -> None:
    if OWN.exists():
        OWN.write_text("-1")


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False)
