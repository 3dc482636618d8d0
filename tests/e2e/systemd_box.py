"""A real systemd in namespaces of its own, over a throw-away copy of this system, with a board's kernel files in /sys.

What happens inside stays there: the root is an overlay in memory, /run, /tmp and /dev are fresh, process ids, mounts,
control groups, host name and IPC are its own, and the services that would set up a machine (kernel settings, udev,
time) are masked. Of the outside it has the loopback, where the test's broker listens, and the board's folder.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SYSTEMD = Path("/lib/systemd/systemd")
OPT_IN = "FIMI_TEST_SYSTEMD"

_MASKED = (
    "systemd-sysctl.service", "systemd-modules-load.service", "systemd-udevd.service", "systemd-udev-trigger.service",
    "systemd-timesyncd.service", "systemd-random-seed.service", "systemd-remount-fs.service", "systemd-logind.service",
    "systemd-networkd.service", "systemd-resolved.service", "getty.target", "remote-fs.target",
)  # fmt: skip

_ENTER = """
echo $$ > "$GROUP/cgroup.procs"
exec unshare --fork --pid --mount --cgroup --uts --ipc --kill-child /bin/sh -c "$BOOT"
"""

_BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work /mnt/root
cd /mnt/root
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 none sys/fs/cgroup
for fresh in run tmp dev; do mount -t tmpfs tmpfs $fresh; done
for device in null zero full random urandom; do touch dev/$device; mount --bind /dev/$device dev/$device; done
mkdir dev/shm dev/pts
mount --bind "$BOARD/sys/devices/system/cpu" sys/devices/system/cpu
mkdir -p board && mount --bind "$BOARD" board
for unit in $MASKED; do ln -sf /dev/null etc/systemd/system/$unit; done
for folder in $SEEN; do chmod o+x ".$folder"; done
: > etc/machine-id
exec chroot . /usr/bin/env -i PATH="$PATH" container=fimi \\
    "$SYSTEMD" --system --log-level=notice --log-target=null --show-status=0 --unit=basic.target
"""


def obstacle() -> str | None:
    """Why it cannot be had here; None: it can."""
    if not os.environ.get(OPT_IN):
        return f"starts a systemd of its own in namespaces, only where asked to: {OPT_IN}=1, as root"
    if os.geteuid() != 0:
        return "namespaces and an overlay of the root take root"
    if hidden := [own for own in ("/run", "/tmp") if Path(__file__).is_relative_to(own)]:
        return f"the box has a {hidden[0]} of its own, and this clone lies below it"
    if not SYSTEMD.exists():
        return f"{SYSTEMD} is not there (package systemd)"
    if "\toverlay\n" not in Path("/proc/filesystems").read_text():
        return "the kernel has no overlay file system"
    if _groups() is None:
        return "no cgroup2 hierarchy is mounted"
    if lacking := [name for name in ("unshare", "nsenter") if shutil.which(name) is None]:
        return f"{lacking[0]} is not installed (package util-linux)"
    return None


def _groups() -> Path | None:
    """Where control groups of the second version are made."""
    return next((p for p in map(Path, ("/sys/fs/cgroup/unified", "/sys/fs/cgroup")) if (p / "cgroup.procs").exists()
                 and (p / "cgroup.controllers").exists()), None)  # fmt: skip


class Box:
    """A running systemd. `run` executes a command inside, as root."""

    def __init__(self, pid: int) -> None:
        self._inside = ["nsenter", "-t", str(pid), "-m", "-p", "-C", "-u", "-i", "-r", "-w"]

    def run(self, *words: str, check: bool = True) -> str:
        """What it printed; raises AssertionError with all that it said where `check` and it failed."""
        done = subprocess.run([*self._inside, *words], capture_output=True, text=True, timeout=60)
        if check:
            assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit)


@contextlib.contextmanager
def booted(board: Path) -> Iterator[Box]:
    """A systemd that has started up; `board` is also seen as /board inside, its CPUs' files in /sys."""
    groups = _groups()
    assert groups is not None
    mine = groups / f"fimi-test-{os.getpid()}"
    mine.mkdir()
    python = Path(sys.executable)
    seen = {parent for path in (python, python.resolve(), Path(__file__)) for parent in path.parents} - {Path("/")}
    environment = os.environ | {
        "GROUP": str(mine),
        "BOOT": _BOOT,
        "BOARD": str(board), "MASKED": " ".join(_MASKED), "SYSTEMD": str(SYSTEMD), "SEEN": " ".join(map(str, seen)),
    }  # fmt: skip
    process = subprocess.Popen(["/bin/sh", "-c", _ENTER], env=environment, stdin=subprocess.DEVNULL)
    try:
        box = Box(_first_child(process))
        _await_boot(box, process)
        yield box
    finally:
        process.kill()
        process.wait()
        _empty(mine)


def _first_child(process: subprocess.Popen[bytes]) -> int:
    """The process that is 1 inside."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None:
        if words := children.read_text().split():
            return int(words[0])
    raise AssertionError("the namespaces could not be made")


def _await_boot(box: Box, process: subprocess.Popen[bytes]) -> None:
    """systemctl waits by itself once systemd answers; before that there is nothing to wait on."""
    while process.poll() is None:
        if box.run("systemctl", "is-system-running", "--wait", check=False) in ("running", "degraded"):
            return
    raise AssertionError("systemd ended while it started")


def _empty(group: Path) -> None:
    """End what is left in a control group, wait until it has gone, and remove the group and those below it."""
    (group / "cgroup.kill").write_text("1")
    with (group / "cgroup.events").open() as events:
        changed = select.poll()
        changed.register(events, select.POLLPRI)
        while "populated 0" not in events.read():
            assert changed.poll(30_000), f"{group} still has processes"
            events.seek(0)
    for folder in sorted((p for p in group.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts)):
        folder.rmdir()
    group.rmdir()
