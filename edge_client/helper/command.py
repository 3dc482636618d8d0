"""`fimi-client helper`, the privileged process, and `fimi-client units`, which writes what systemd needs for both."""

from __future__ import annotations

import grp
import importlib.resources
import logging
import shutil
import stat
import sys
from pathlib import Path

from edge_client.errors import HardwareError, SetupError
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs
from edge_client.helper import service
from edge_client.helper.client import SOCKET

UNITS = ("fimi-helper.service", "fimi-client.service", "90-fimi.rules")
_GROUPS = ("i2c", "jtop", "video")

_NEXT = """\
Look at them, then:
  sudo useradd --system --user-group --home-dir /var/lib/fimi fimi
  sudo install -D -m 640 -g fimi client.toml {config}   # yours: broker, fleet, id, data, and where they differ others
  sudo install -m 644 {folder}/fimi-helper.service {folder}/fimi-client.service /etc/systemd/system/
  sudo systemctl daemon-reload
  sudo systemctl enable --now fimi-helper fimi-client
Without the helper: sudo install -m 644 {folder}/90-fimi.rules /etc/udev/rules.d/ and leave fimi-helper.service out."""


def run_helper(fs: SysFs, settings: SettingsFile, socket_path: Path | None, group: str | None) -> int:
    """Serve until ended; what a killed helper had changed is put back first. Raises SetupError, and HardwareError
    where something could not be restored."""
    desk = service.Desk(fs, settings)
    desk.restore()
    with service.listening(socket_path or fs.root / SOCKET, group) as server:
        logging.getLogger("fimi").info("the helper listens at %s", server.getsockname())
        service.serve(server, desk, service.notify_ready)
    if settings.load():
        raise HardwareError(f"not everything could be restored; what remains stands in {settings.path}")
    return 0


def unit_text(name: str, client: str, config: str, groups: tuple[str, ...]) -> str:
    """A unit or rule of `UNITS` for the command `client` and the configuration `config`."""
    text = importlib.resources.files("edge_client.systemd").joinpath(name).read_text(encoding="utf-8")
    if not groups:
        text = "".join(line for line in text.splitlines(keepends=True) if "@GROUPS@" not in line)
    for mark, value in (("@CLIENT@", client), ("@CONFIG@", config), ("@GROUPS@", " ".join(groups))):
        text = text.replace(mark, value)
    return text


def closed(program: Path, below: Path = Path("/")) -> Path | None:
    """What is on the way to a program, `below` a folder, that users other than its owner may not enter (a home folder,
    mostly), or the program itself; None where they may start it."""
    way = [path for path in (*reversed(program.absolute().parents), program) if path.is_relative_to(below)]
    return next((path for path in way if path.exists() and not path.stat().st_mode & stat.S_IXOTH), None)


def write_units(folder: Path, config: str) -> int:
    """Write the units and say what to do with them; raises SetupError."""
    beside = Path(sys.argv[0]).absolute()
    found = str(beside) if beside.name == "fimi-client" and beside.exists() else shutil.which("fimi-client")
    client = found or f"{sys.executable} -m edge_client.cli"
    known = {group.gr_name for group in grp.getgrall()}
    groups = tuple(name for name in _GROUPS if name in known)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in UNITS:
            (folder / name).write_text(unit_text(name, client, config, groups), encoding="utf-8")
            print(folder / name)
    except OSError as error:
        raise SetupError(f"units: {folder}: {error.strerror}; give a folder that you may write") from error
    print(_NEXT.format(folder=folder, config=config))
    if (shut := closed(Path(client.partition(" ")[0]))) is not None:
        print(f"The user fimi cannot start {client}, for {shut} is closed to others: install it elsewhere, as")
        print("  sudo python3 -m venv /opt/fimi && sudo /opt/fimi/bin/pip install fimi")
        print("and run /opt/fimi/bin/fimi-client units again.")
    return 0
