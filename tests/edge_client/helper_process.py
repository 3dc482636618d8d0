"""A helper process on a board's files, and the supervisor's part in its life."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

from edge_client.helper.command import unit_text

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENT = f"{sys.executable} -m edge_client.cli"


class HelperProcess:
    """`fimi-client helper` on the board below `root`, ready to be asked."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "run/fimi-helper/helper.sock"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:  # systemd's end of Type=notify
            notify = root / "notify"
            notify.unlink(missing_ok=True)
            ready.bind(str(notify))
            ready.settimeout(30)
            self.process = subprocess.Popen(
                [*shlex.split(CLIENT), "helper", "--root", str(root)],
                cwd=REPOSITORY,
                env={"NOTIFY_SOCKET": str(notify), "PATH": "/usr/bin:/bin"},
                stderr=subprocess.DEVNULL,
            )
            assert ready.recv(64) == b"READY=1"

    def stop(self) -> int:
        """SIGTERM; its exit status."""
        self.process.terminate()
        return self.process.wait(30)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


def exec_stop_post(unit: str, root: Path) -> None:
    """Run a unit's ExecStopPost as systemd would after its process has ended, on the board below `root`."""
    text = unit_text(unit, CLIENT, str(root / "client.toml"), ())
    (command,) = re.findall(r"^ExecStopPost=(.*)$", text, re.MULTILINE)
    words = [str(root) + word if word.startswith("/run/") else word for word in shlex.split(command)]
    done = subprocess.run([*words, "--root", str(root)], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
