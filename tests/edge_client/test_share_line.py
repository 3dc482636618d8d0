"""The class on a real kernel: two network namespaces, a virtual cable, and real connections through real queues."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.edge_client.helper_process import REPOSITORY
from tools import bench_share
from tools.bench_share import THERE, Cable

PORT = 4001
RATE_BITS_PER_S = 20e6  # a GSO packet of 64 KiB is 1 % of what passes in the window
SINK = (
    "import socket, threading\n"
    f"server = socket.create_server(('{THERE}', {PORT}))\n"
    "print('ready', flush=True)\n"
    "def take(line):\n"
    "    while line.recv(1 << 20): pass\n"
    "while True: threading.Thread(target=take, args=(server.accept()[0],), daemon=True).start()\n"
)


@pytest.fixture
def laid() -> Iterator[Cable]:
    """A cable whose far end takes everything."""
    if (why := bench_share.lack()) is not None:
        pytest.skip(why)
    with contextlib.ExitStack() as stack:
        try:
            laid = stack.enter_context(bench_share.cable())
        except OSError as error:
            pytest.skip(f"no cable can be laid here: {error}")
        if tc(laid, "qdisc add dev fimi-near root handle 5f1b: htb", check=False).returncode != 0:
            pytest.skip("this kernel has no HTB (CONFIG_NET_SCH_HTB)")
        tc(laid, "qdisc del dev fimi-near root")
        sink = stack.enter_context(
            subprocess.Popen(laid.far(sys.executable, "-c", SINK), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        )
        stack.callback(sink.kill)
        assert sink.stdout is not None
        assert sink.stdout.readline() == b"ready\n"
        yield laid


def tc(laid: Cable, words: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(laid.near("tc", *words.split()), capture_output=True, text=True, check=check)


def root(laid: Cable) -> str:
    """Kind and handle of the near end's root."""
    return " ".join(tc(laid, "qdisc show dev fimi-near").stdout.split()[1:3])


def near(laid: Cable, what: str, state: Path, *more: str) -> tuple[str, ...]:
    words = ("-m", "tests.edge_client.share_end", what, THERE, str(PORT), str(RATE_BITS_PER_S), str(state), *more)
    return laid.near(sys.executable, *words)


def client(laid: Cable, *words: str) -> tuple[str, ...]:
    return laid.near(sys.executable, "-m", "edge_client.cli", *words)


@contextlib.contextmanager
def holding(laid: Cable, state: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the share until it is killed."""
    with subprocess.Popen(
        near(laid, "hold", state, *more), stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def helper(laid: Cable, folder: Path) -> Iterator[Path]:
    """The helper at the near end; its socket."""
    path = folder / "helper.sock"
    words = ("helper", "--socket", str(path), "--state-dir", str(folder), "--log-level", "info")
    with subprocess.Popen(client(laid, *words), stderr=subprocess.PIPE, cwd=REPOSITORY) as process:
        try:
            assert process.stderr is not None
            assert b"the helper listens" in process.stderr.readline()
            yield path
        finally:
            process.terminate()


def assert_shared(found: dict[str, float]) -> None:
    assert found["mark"] == 0xF1
    # 20e6 * 1514 / 1428 * 1.02 + 8000 = 21 636 571, in whole kbit; of 1514 bytes over IPv4 1448 are data: 20.69e6
    assert found["accepted"] == 21_637_000
    assert found["counted"] == pytest.approx(21_637_000, rel=0.05)
    assert found["held"] == pytest.approx(RATE_BITS_PER_S, rel=0.05)
    assert found["beside"] >= 0.98 * found["alone"]
    assert found["alone"] >= 70e6  # it was asked for 80


@pytest.mark.parametrize("kernel", [(), ("--no-classifier",)], ids=["by a filter", "by priority"])
def test_a_marked_connection_is_held_to_its_rate_and_another_is_not_slowed(
    kernel: tuple[str, ...], laid: Cable, tmp_path: Path
) -> None:
    done = subprocess.run(near(laid, "both", tmp_path, *kernel), stdout=subprocess.PIPE, check=True, cwd=REPOSITORY)
    assert_shared(json.loads(done.stdout))
    assert root(laid) == "noqueue 0:"
    assert not (tmp_path / "settings.json").exists()


def test_an_agent_without_rights_is_held_by_the_helper(laid: Cable, tmp_path: Path) -> None:
    with helper(laid, tmp_path) as path:
        done = subprocess.run(
            near(laid, "both", tmp_path / "agent", "--helper", str(path)),
            stdout=subprocess.PIPE, check=True, cwd=REPOSITORY,
        )  # fmt: skip
        assert_shared(json.loads(done.stdout))
        assert root(laid) == "noqueue 0:"


def test_after_sigkill_restore_puts_the_queue_back(laid: Cable, tmp_path: Path) -> None:
    with holding(laid, tmp_path) as process:
        assert root(laid) == "htb 5f1a:"
        process.kill()
        process.wait()
    assert root(laid) == "htb 5f1a:"
    subprocess.run(client(laid, "restore", "--state-dir", str(tmp_path)), check=True, cwd=REPOSITORY)
    assert root(laid) == "noqueue 0:"
    assert not (tmp_path / "settings.json").exists()


def test_the_helper_puts_it_back_and_keeps_no_connection_when_its_agent_is_killed(laid: Cable, tmp_path: Path) -> None:
    with helper(laid, tmp_path) as path:
        with holding(laid, tmp_path / "agent", "--helper", str(path)) as process:
            assert root(laid) == "htb 5f1a:"
            process.kill()
            process.wait()
        # a new agent is answered after the old one is let go
        with holding(laid, tmp_path / "agent", "--helper", str(path)):
            open_now = subprocess.run(laid.near("ss", "-tnH", "state", "established"), capture_output=True, text=True)
            assert len(open_now.stdout.splitlines()) == 1
    assert root(laid) == "noqueue 0:"


def test_an_owners_queue_is_left_as_it_is(laid: Cable, tmp_path: Path) -> None:
    tc(laid, "qdisc add dev fimi-near root handle 7: tbf rate 90mbit burst 64kb latency 50ms")
    before = tc(laid, "qdisc show dev fimi-near").stdout
    done = subprocess.run(near(laid, "both", tmp_path), capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert "fimi-near has a tbf of its owner's (7:), which stays" in done.stderr
    assert tc(laid, "qdisc show dev fimi-near").stdout == before
    assert not (tmp_path / "settings.json").exists()


@pytest.mark.parametrize(("more", "before"), [("multi_queue", "mq 0:"), ("", "pfifo_fast 0:")])
def test_the_kernels_own_queue_of_a_card_comes_back(more: str, before: str, laid: Cable, tmp_path: Path) -> None:
    for step in (f"tuntap add dev fimi-tap mode tap {more}", "link set fimi-tap up"):
        if subprocess.run(laid.near("ip", *step.split()), capture_output=True, check=False).returncode != 0:
            pytest.skip("this kernel has no tap device (CONFIG_TUN)")
    first = tc(laid, "qdisc show dev fimi-tap").stdout
    if not first.startswith(f"qdisc {before}"):
        pytest.skip(f"this kernel's own queue is another one here (net.core.default_qdisc): {first}")
    hold = (
        "from pathlib import Path; from edge_client.hardware.share import TcShare; import sys\n"
        "from edge_client.hardware.settings import SettingsFile; from edge_client.hardware.sysfs import SysFs\n"
        "with TcShare(SysFs(Path('/')), SettingsFile(Path(sys.argv[1]))).hold('fimi-tap', 1e6) as bits_per_s:\n"
        "    print(bits_per_s)"
    )
    words = laid.near(sys.executable, "-c", hold, str(tmp_path / "settings.json"))
    held = subprocess.run(words, stdout=subprocess.PIPE, check=True, cwd=REPOSITORY)
    assert held.stdout == b"1090000.0\n"
    assert tc(laid, "qdisc show dev fimi-tap").stdout == first


@pytest.mark.parametrize("share", ["paced", "htb"])
def test_an_upload_has_the_rate_it_was_asked_for(share: str, laid: Cable, tmp_path: Path) -> None:
    if bench_share.MOSQUITTO is None:
        pytest.skip("mosquitto is not installed")
    with bench_share.receiver(laid, tmp_path):
        found = bench_share.measure(laid, 2e6, 2.0, share)
    assert found["share"] == share
    assert 0.97 * 2e6 <= found["achieved_bits_per_s"] <= 1.001 * 2e6
