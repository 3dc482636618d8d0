"""What every sweep of a board has in common: opening it, ending with everything restored, saying how far it is."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from pathlib import Path

from edge_client.errors import HardwareError, SetupError
from edge_client.hardware import alone as locks
from edge_client.hardware import board as boards
from edge_client.hardware.board import Board
from edge_client.hardware.sampler import Sampler
from edge_client.hardware.settings import SettingsFile
from edge_client.hardware.sysfs import SysFs

METER_PERIOD_S = 0.1
SETTINGS = "run/fimi-calibrate/settings.json"
"""Below the board's root: what it was set to before."""

CLIENT = "run/fimi"
"""Where a client keeps the same, unless it is told otherwise."""


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """No other sweep and no client at work on this board inside the context; raises SetupError where one is."""
    if not root.is_dir():
        raise SetupError(f"--root {root} is no folder; give the folder that holds the board's sys/ and bin/")
    folder, client = (root / SETTINGS).parent, root / CLIENT
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SetupError(f"{folder}: {error.strerror}; run it as a user who may write there") from None
    with contextlib.ExitStack() as stack:
        for one in (folder, client):
            if one.is_dir():
                stack.enter_context(locks.alone(one))
        yield


def open_board(root: Path, interface: str | None = None) -> Board:
    """The board below `root`, with what a killed sweep had changed put back, and with a meter that measures.

    Raises SetupError where a client holds its settings, HardwareError where nothing measures it.
    """
    left = root / CLIENT / "settings.json"
    if left.exists():
        raise SetupError(f"a client holds settings of this board ({left}); put them back with: fimi-client restore")
    board = boards.discover(SysFs(root), SettingsFile(root / SETTINGS), interface)
    board.restore()
    if board.meter is None:
        raise HardwareError(f"no power meter was found, so there are no joules to sweep: {board.no_meter}")
    if board.meter.info.source != "measured":
        raise HardwareError(
            "this board has a model instead of a power meter, and a model would learn itself; add a meter"
        )
    return board


async def finished(
    work: Coroutine[None, None, None], board: Board, sampler: Sampler, close: Callable[[], Awaitable[None]]
) -> bool:
    """Whether `work` came to its end; False where a signal ended it. Either way all is closed and restored."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
            continue  # started with nohup: it is to outlive its terminal
        loop.add_signal_handler(number, task.cancel)
    sampler.start()
    try:
        await task
    except asyncio.CancelledError:
        return False
    finally:
        await close()
        sampler.stop()
        board.restore()
    return True


def say(text: str) -> None:
    """To stderr."""
    print(text, file=sys.stderr, flush=True)


def minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
