"""A fleet of virtual boards in one process: roots, relays, the governor's thread, and one client process a board."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from edge_client.protocol.processes import die_with_parent
from firmware_profiles.loader import load_profile
from firmware_profiles.schema import Profile
from firmware_profiles.strict import ConfigError
from tools.boards.admission import shares, usable_cores
from tools.boards.board import VirtualBoard
from tools.boards.fleet_config import BoardConfig, FleetConfig, broker_address
from tools.boards.governor import Governor, be_punctual
from tools.boards.link import Relay
from tools.boards.processes import descendants
from tools.boards.radio import Radio

READY_S = 60.0
GOODBYE_S = 15.0


class BrokerMissingError(Exception):
    """Nobody answers at the broker's address."""

    exit_code = 5


def client_command(board: BoardConfig, fleet: str, root: Path, state_dir: Path, data: Path, port: int) -> list[str]:
    """How a board's client is started."""
    command = [sys.executable, "-m", "edge_client.cli", "run", "--broker", f"mqtt://127.0.0.1:{port}"]
    command += ["--fleet", fleet, "--id", board.id, "--root", str(root), "--data", str(data)]
    command += ["--state-dir", str(state_dir)]
    if board.storage_samples is not None:
        command += ["--storage-samples", str(board.storage_samples)]
    if board.client_config is not None:
        command += ["--config", board.client_config]
    if (runtime := board.runtime or ("torch" if board.client_config is None else None)) is not None:
        command += ["--runtime", runtime]
    return command


class Fleet:
    """Start with `start`, end with `stop`; `run` does both around a wait for a signal."""

    def __init__(
        self,
        config: FleetConfig,
        base: Path,
        out: TextIO = sys.stdout,
        command: Callable[..., list[str]] = client_command,
    ) -> None:
        """`base`: what paths are relative to; raises ConfigError and AdmissionError before anything is started."""
        self._config, self._base, self._out, self._command = config, base, out, command
        self._broker = broker_address(config.broker)
        self._profiles: list[Profile] = []
        for index, board in enumerate(config.board):
            try:
                self._profiles.append(load_profile(board.profile))
            except ConfigError as error:
                raise ConfigError(f"board[{index}].profile: {error}") from None
            if board.radio and self._profiles[-1].link.kind != "wifi":
                raise ConfigError(f"board[{index}].radio: {board.profile} has no Wi-Fi; leave radio out")
            if not (base / board.data).is_file():
                raise ConfigError(f"board[{index}].data: {base / board.data} is not there; give the board's NPZ file")
        speeds = [profile.cpu.relative_speed.value for profile in self._profiles]
        self.shares = shares(speeds, usable_cores(), config.usable_share)
        self.boards: list[VirtualBoard] = []
        self.governor: Governor | None = None
        self._relays: list[Relay] = []
        self._clients: list[asyncio.subprocess.Process] = []
        self._watches: list[asyncio.Task[None]] = []
        self._ended = asyncio.Event()
        self._failure: BaseException | None = None
        self._stopping = False

    def say(self, event: str, **fields: Any) -> None:
        """One JSON line on stdout; a reader that has gone away is no reason to fail."""
        with contextlib.suppress(OSError, ValueError):
            self._out.write(json.dumps({"event": event, **fields}) + "\n")
            self._out.flush()

    async def start(self) -> None:
        """Everything runs and every client has reached the broker, or an exception says why not."""
        await self._check_broker()
        folder = (self._base / self._config.dir).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        for board, profile, share in zip(self._config.board, self._profiles, self.shares, strict=True):
            rate = board.link_bytes_per_s or profile.link.rate_bytes_per_s.value
            radio = Radio(board.radio, f"{self._config.seed}:{board.id}") if board.radio else None
            relay = Relay(self._broker, rate)
            made = VirtualBoard(board.id, profile, share, folder, self._config.seed, relay.meter, board.faults, radio)
            if radio is not None:
                relay.uplink = made.uplink
            self._relays.append(relay)
            self.boards.append(made)
        ports = [await relay.start() for relay in self._relays]
        # clients are forked before the governor's thread exists: a fork beside threads is asking for trouble
        for made, config, port in zip(self.boards, self._config.board, ports, strict=True):
            await self._start_client(made, config, folder, port)
        loop = asyncio.get_running_loop()

        def fail(error: BaseException) -> None:
            loop.call_soon_threadsafe(self._fail, RuntimeError(f"the governor failed: {error!r}"))

        self.governor = Governor(self.boards, fail)
        self.governor.start()
        await self._all_connected()
        self.say("ready", boards=[self._describe(k, port) for k, port in enumerate(ports)], pid=os.getpid())

    async def _check_broker(self) -> None:
        host, port = self._broker
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 10)
        except (OSError, TimeoutError, asyncio.TimeoutError) as error:
            raise BrokerMissingError(f"no broker at {host}:{port} ({error or 'no answer'}); start it first") from None
        writer.close()
        await writer.wait_closed()

    async def _start_client(self, board: VirtualBoard, config: BoardConfig, folder: Path, port: int) -> None:
        state_dir = folder / f"{board.id}.state"
        state_dir.mkdir(exist_ok=True)
        data = (self._base / config.data).absolute()
        command = self._command(config, self._config.fleet, board.root, state_dir, data, port)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        with (folder / f"{board.id}.client.log").open("wb") as log:
            client = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **threads},
                start_new_session=True,  # Ctrl-C is for us to pass on, in order
                preexec_fn=partial(die_with_parent, os.getpid()),
            )
        board.client_pid = client.pid
        loop = asyncio.get_running_loop()

        def switch_off() -> None:
            self.say("switched_off", id=board.id, reason="its battery is empty")
            with contextlib.suppress(ProcessLookupError):
                client.kill()

        board.switch_off = partial(loop.call_soon_threadsafe, switch_off)
        self._clients.append(client)
        self._watches.append(asyncio.create_task(self._watch(board, client)))

    async def _watch(self, board: VirtualBoard, client: asyncio.subprocess.Process) -> None:
        code = await client.wait()
        if not self._stopping:
            self.say("client_exited", id=board.id, code=code, log=str(board.root) + ".client.log")
            if all(other.returncode is not None for other in self._clients):
                self._fail(RuntimeError("all clients have ended"))

    async def _all_connected(self) -> None:
        waits = [asyncio.create_task(relay.connected.wait()) for relay in self._relays]
        try:
            for wait, watch, board in zip(waits, self._watches, self.boards, strict=True):
                done, _ = await asyncio.wait({wait, watch}, timeout=READY_S, return_when=asyncio.FIRST_COMPLETED)
                if wait in done:
                    continue
                how = "ended at once" if done else f"did not reach the broker in {READY_S:.0f} s"
                raise RuntimeError(f"client of board {board.id} {how}: {_last_line(board)}")
        finally:
            for task in waits:
                task.cancel()

    def _describe(self, k: int, port: int) -> dict[str, Any]:
        board = self.boards[k]
        return {
            "id": board.id,
            "profile": board.profile.name,
            "share": round(self.shares[k], 4),
            "port": port,
            "pid": self._clients[k].pid,
            "root": str(board.root),
            "ledger": str(board.ledger_path),
        }

    def _fail(self, error: BaseException) -> None:
        self._failure = self._failure or error
        self._ended.set()

    async def stop(self) -> None:
        """Clients end and restore their boards, then the boards end; no process is left."""
        self._stopping = True
        for board in self.boards:
            board.release()
        for client in self._clients:
            with contextlib.suppress(ProcessLookupError):
                client.terminate()
        if self._watches:
            await asyncio.wait(self._watches, timeout=GOODBYE_S)
        for client in self._clients:
            if client.returncode is None:
                for pid in (client.pid, *descendants(client.pid)):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                await client.wait()
        await asyncio.gather(*self._watches, return_exceptions=True)
        for board in self.boards:
            for worker in tuple(board.workers.values()):
                worker.kill()  # of a client that died before it could
        if self.governor:
            self.governor.stop()
        changed = [board.id for board in self.boards if not board.cpufreq.as_booted]
        for board in self.boards:
            board.cpufreq.reboot()
        for relay in self._relays:
            await relay.close()
        governor = self.governor
        self.say(
            "stopped",
            clocks_left_changed=changed,
            governor_cpu_s=round(governor.cpu_s, 3) if governor else 0.0,
            governor_worst_late_s=round(governor.worst_late_s, 3) if governor else 0.0,
        )

    async def run(self) -> None:
        """Until SIGTERM, SIGINT or SIGHUP (under nohup: not that); raises what made it end early."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._ended.set)
        try:
            start = asyncio.create_task(self.start())
            ended = asyncio.create_task(self._ended.wait())
            await asyncio.wait({start, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not start.done():
                start.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await start
                be_punctual()  # this thread can hold Python's lock when the governor is due
            await ended
        finally:
            ended.cancel()
            await self.stop()
        if self._failure:
            raise self._failure


def _last_line(board: VirtualBoard) -> str:
    """What a client said last, with the place of the rest."""
    log = Path(f"{board.root}.client.log")
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    said = [line.strip() for line in lines if line.strip()]
    return f"{said[-1] if said else 'it said nothing'} (see {log})"
