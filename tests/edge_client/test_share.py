"""The class for one socket's packets, through a stand-in for tc; and what a killed client leaves of it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_client import cli
from edge_client.agent.share import Kept, Share
from edge_client.agent.shell import Shell
from edge_client.doctor.bandwidth import bandwidth
from edge_client.errors import HardwareError
from edge_client.hardware import htb
from edge_client.hardware.board import discover
from edge_client.hardware.share import TcShare
from edge_client.helper.service import Desk
from edge_client.helper.vocabulary import HoldShare, MarkSocket, ReleaseShare, Restore
from edge_client.protocol.messages import Update
from tests.edge_client import fake_tc
from tests.edge_client.agents import fleet, start_round, task, weights
from tests.edge_client.conftest import Broker
from tests.edge_client.fake_tc import root_queue, said
from tests.edge_client.trees import put, settings

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="SO_MARK is set by root only (CAP_NET_ADMIN)")
BEFORE, OURS = "noqueue 0:", "htb 5f1a:"


@pytest.fixture
def connection() -> Iterator[socket.socket]:
    """A TCP connection of the loopback."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as line:
        yield line


def mark_of(line: socket.socket) -> int:
    return line.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)


def test_the_class_stands_inside_the_context_and_is_noted_before(tmp_path: Path) -> None:
    fs, file = fake_tc.board(tmp_path), settings(tmp_path)
    share = TcShare(fs, file)
    with share.hold("eth0", 1e6) as accepted_bits_per_s:
        assert accepted_bits_per_s == 1_090_000  # as test_htb works out
        assert root_queue(tmp_path) == OURS
        assert file.load()["qdisc"] == {"interface": "eth0", "was": "noqueue"}
    assert root_queue(tmp_path) == BEFORE
    assert not file.path.exists()
    assert said(tmp_path) == [
        "qdisc add dev eth0 root handle 5f1a: htb default 0",
        "class add dev eth0 parent 5f1a: classid 5f1a:1 htb rate 1090000bit ceil 1090000bit burst 16350 cburst 16350 "
        "quantum 1514",
        "filter add dev eth0 parent 5f1a: protocol all pref 1 handle 0xf1 fw classid 5f1a:1",
        "qdisc del dev eth0 root handle 5f1a:",
    ]


def test_other_traffic_keeps_the_fair_queue_that_the_kernel_gave_it(tmp_path: Path) -> None:
    fs = fake_tc.board(tmp_path, queue="qdisc fq_codel 0: root refcnt 2 limit 10240p flows 1024")
    with TcShare(fs, settings(tmp_path)).hold("eth0", 1e6):
        assert said(tmp_path)[0].endswith("htb default 2")
        assert said(tmp_path)[2] == "qdisc add dev eth0 parent 5f1a:2 fq_codel"
    assert root_queue(tmp_path) == "fq_codel 0:"


@needs_root
@pytest.mark.parametrize(("lacks", "priority"), [("fw", 0), ("fw bpf", htb.PRIORITY)])
def test_a_kernel_without_a_classifier_has_another_way(
    lacks: str, priority: int, tmp_path: Path, connection: socket.socket
) -> None:
    share = TcShare(fake_tc.board(tmp_path, lacks=lacks), settings(tmp_path))
    with share.hold("eth0", 1e6):
        share.mark(connection)
        assert mark_of(connection) == htb.MARK
        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == priority
        share.mark(connection, on=False)
        assert mark_of(connection) == connection.getsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY) == 0
    assert not any("u32" in line for line in said(tmp_path))


def test_a_filter_that_lost_its_condition_is_taken_away_again(tmp_path: Path) -> None:
    fs = fake_tc.board(tmp_path)
    tc = (tmp_path / "bin/tc").read_text().replace('shown="handle 0xf1 ', 'shown="handle 0x0 ')
    put(tmp_path, {"bin/tc": tc})
    with TcShare(fs, settings(tmp_path)).hold("eth0", 1e6):
        assert "filter del dev eth0 parent 5f1a:" in said(tmp_path)
        assert " bpf " in (tmp_path / "run/tc/filter").read_text()


@pytest.mark.parametrize(
    "queue", ["qdisc cake 8001: root refcnt 2 bandwidth 20Mbit", "qdisc htb 1: root refcnt 2 r2q 10 default 0x30"]
)
def test_an_owners_queue_is_left_alone(queue: str, tmp_path: Path) -> None:
    fs, file = fake_tc.board(tmp_path, queue=queue), settings(tmp_path)
    with pytest.raises(HardwareError, match="of its owner's"), TcShare(fs, file).hold("eth0", 1e6):
        raise AssertionError("not reached")
    assert said(tmp_path) == []
    assert not file.path.exists()


def test_a_class_that_tc_shows_otherwise_is_not_accepted(tmp_path: Path) -> None:
    fs, file = fake_tc.board(tmp_path), settings(tmp_path)
    put(tmp_path, {"bin/tc": (tmp_path / "bin/tc").read_text().replace("%000bit}Kbit", "%000bit}Mbit")})
    with (
        pytest.raises(HardwareError, match="took a class of 1090000 bit/s on eth0 and shows 1090000000 bit/s"),
        TcShare(fs, file).hold("eth0", 1e6),
    ):
        raise AssertionError("not reached")
    assert root_queue(tmp_path) == BEFORE
    assert not file.path.exists()


def leave_behind(root: Path) -> None:
    """What a client that is killed in mid-upload leaves."""
    settings(root).save("qdisc", {"interface": "eth0", "was": "noqueue"})
    (root / "run/tc/root").write_text("qdisc htb 5f1a: root refcnt 2 r2q 10 default 0\n")


def test_restore_takes_a_killed_clients_class_away_and_nothing_else(tmp_path: Path) -> None:
    fake_tc.board(tmp_path)
    leave_behind(tmp_path)
    assert cli.main(["restore", "--root", str(tmp_path)]) == 0
    assert root_queue(tmp_path) == BEFORE
    leave_behind(tmp_path)
    (tmp_path / "run/tc/root").write_text("qdisc cake 8001: root refcnt 2\n")  # the owner has come since
    assert cli.main(["restore", "--root", str(tmp_path)]) == 0
    assert root_queue(tmp_path) == "cake 8001:"
    settings(tmp_path).save("qdisc", {"interface": "eth1", "was": "noqueue"})  # a card that was pulled out
    assert cli.main(["restore", "--root", str(tmp_path)]) == 0
    assert not settings(tmp_path).path.exists()


def test_what_cannot_be_restored_stays_noted(tmp_path: Path) -> None:
    fake_tc.board(tmp_path)
    leave_behind(tmp_path)
    put(tmp_path, {"bin/tc": "#!/bin/sh\necho 'RTNETLINK answers: Operation not permitted' >&2; exit 2"})
    assert cli.main(["restore", "--root", str(tmp_path)]) == 6
    assert "qdisc" in settings(tmp_path).load()


# ---- an upload ----


@needs_root
def test_an_upload_is_held_marked_again_and_verified_by_what_the_class_counted(
    tmp_path: Path, connection: socket.socket
) -> None:
    fs = fake_tc.board(tmp_path, sent_bytes=500)
    share = Share(TcShare(fs, settings(tmp_path)), 1e6, lambda: connection)
    with share.hold():
        assert mark_of(connection) == htb.MARK
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0)  # as a new connection's is
        share.mark()
        assert mark_of(connection) == htb.MARK
        share.begin()
        put(tmp_path, {"run/tc/sent": 250_500})
        assert share.kept(240_000, 2.0) == Kept("htb", 1_090_000.0, 1e6)  # 250 000 bytes in 2 s
        assert share.kept(250_001, 2.0) == Kept("paced")  # it has not seen them all
    assert mark_of(connection) == 0
    assert root_queue(tmp_path) == BEFORE


def test_without_tc_or_connection_an_upload_is_paced_and_without_a_rate_nothing_is_done(
    tmp_path: Path, connection: socket.socket
) -> None:
    file = settings(tmp_path)
    for tc, rate, line, kind in (
        (TcShare(put(tmp_path / "plain", {}), file), 1e6, connection, "paced"),
        (TcShare(fake_tc.board(tmp_path), file), 1e6, None, "paced"),
        (TcShare(fake_tc.board(tmp_path), file), None, connection, "none"),
    ):
        share = Share(tc, rate, lambda line=line: line)  # type: ignore[misc]
        with share.hold():
            share.begin()
            share.mark()
            assert share.kept(1, 1.0) == Kept(kind)  # type: ignore[arg-type]
    assert not (tmp_path / "run/tc/log").exists()


@needs_root
async def test_a_new_connection_in_mid_upload_is_marked_again(tmp_path: Path, broker: Broker) -> None:
    fake_tc.board(tmp_path / "root")
    async with fleet(tmp_path, broker) as (server, shell):
        await start_round(server, task(upload_bits_per_s=6000.0), weights())  # about a second
        first = await marked(shell, None)
        assert root_queue(tmp_path / "root") == OURS
        first.shutdown(socket.SHUT_RDWR)
        await marked(shell, first)
        put(tmp_path / "root", {"run/tc/sent": 10_000})
        update = await server.wait_for(Update)
        radio = update.upload.radio
        # 6000 * 1514 / 1428 * 1.02 + 8000 = 14 489 bit/s, up to whole kbit
        assert (radio.share, radio.requested_bits_per_s, radio.accepted_bits_per_s) == ("htb", 6000.0, 15_000.0)
        assert radio.verified_bits_per_s == pytest.approx(80_000 / update.upload.duration_s)
        sending = [beat for beat in server.heartbeats if beat.state == "sending"]
        assert len(sending) >= 5, [
            (b.state, b.samples_done) for b in server.heartbeats
        ]  # one is due every 0.05 s: none waits for the upload
        assert root_queue(tmp_path / "root") == BEFORE


async def marked(shell: Shell, other_than: socket.socket | None) -> socket.socket:
    """The connection, once it is another one and marked; no event tells of that."""
    async with asyncio.timeout(20):
        while True:
            line = shell._link.socket
            if line is not None and line is not other_than and line.fileno() >= 0 and mark_of(line) == htb.MARK:
                return line
            await asyncio.sleep(0.01)


# ---- the helper ----


@needs_root
def test_the_helper_holds_marks_and_lets_go_when_its_agent_does(tmp_path: Path, connection: socket.socket) -> None:
    desk, agent, other = Desk(fake_tc.board(tmp_path), settings(tmp_path)), object(), object()
    answer, _ = desk.answer(agent, HoldShare(interface="eth0", bits_per_s=1e6))
    assert (answer.problem, answer.value) == (None, 1_090_000.0)
    assert "another agent" in (desk.answer(other, MarkSocket(on=True), connection.fileno())[0].problem or "")
    assert desk.answer(agent, MarkSocket(on=True), connection.fileno())[0].problem is None
    assert mark_of(connection) == htb.MARK
    assert "without a descriptor" in (desk.answer(agent, MarkSocket(on=True))[0].problem or "")
    local, peer = socket.socketpair()
    with local, peer:
        assert "is no TCP socket" in (desk.answer(agent, MarkSocket(on=True), local.fileno())[0].problem or "")
    with (tmp_path / "file").open("w") as file:
        assert desk.answer(agent, MarkSocket(on=True), file.fileno())[0].problem is not None
    desk.answer(agent, ReleaseShare())
    assert root_queue(tmp_path) == BEFORE
    desk.answer(agent, HoldShare(interface="eth0", bits_per_s=1e6))
    desk.leave(agent)
    assert root_queue(tmp_path) == BEFORE
    leave_behind(tmp_path)
    desk.answer(agent, Restore())
    assert root_queue(tmp_path) == BEFORE


# ---- what the doctor says ----


@pytest.mark.parametrize(
    ("change", "status", "said_", "remedy"),
    [
        ({}, "ok", "by an HTB class for its mark on eth0", None),
        ({"run/tc/root": "qdisc cake 8001: root refcnt 2"}, "degraded", "cake of its owner's", "tc qdisc del dev eth0"),
        ({"proc/self/status": "Name:\tx\nCapEff:\t0000000000000000"}, "degraded", "CAP_NET_ADMIN", "units"),
        ({"proc/self/status": "Name:\tx\nCapEff:\t0000000000001000"}, "ok", "HTB class", None),
        ({"proc/net/route": "Iface\tDestination"}, "degraded", "no default route", None),
        ({"bin/tc": None}, "degraded", "tc is not installed", "sudo apt install iproute2"),
    ],
)
def test_the_doctor_says_what_keeps_an_uploads_rate(
    change: dict[str, str | None], status: str, said_: str, remedy: str | None, tmp_path: Path
) -> None:
    fs = fake_tc.board(tmp_path)
    put(tmp_path, {name: text for name, text in change.items() if text is not None})
    for name, text in change.items():
        if text is None:
            (tmp_path / name).unlink()
    check = bandwidth(discover(fs, settings(tmp_path)))
    assert (check.name, check.status) == ("bandwidth", status)
    assert said_ in check.message
    assert (check.remedy is None) if remedy is None else (remedy in (check.remedy or ""))
