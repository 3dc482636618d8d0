"""What tc prints, read; and what it is told. The outputs are iproute2's, of boards as they come."""

from __future__ import annotations

import pytest

from edge_client.hardware import htb
from edge_client.hardware.htb import ClassState, Qdisc

NOQUEUE = "qdisc noqueue 0: root refcnt 2 \n"
PI_WLAN = "qdisc fq_codel 0: root refcnt 2 limit 10240p flows 1024 quantum 1514 target 5ms interval 100ms ecn \n"
MQ = """qdisc mq 0: root
qdisc pfifo_fast 0: parent :2 bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1
qdisc pfifo_fast 0: parent :1 bands 3 priomap 1 2 2 2 1 2 0 0 1 1 1 1 1 1 1 1
"""
WITH_CLSACT = "qdisc fq_codel 0: dev eth0 root refcnt 2 limit 10240p\nqdisc clsact ffff: dev eth0 parent ffff:fff1 \n"
CAKE = "qdisc cake 8001: root refcnt 2 bandwidth 20Mbit diffserv3 triple-isolate nonat nowash\n"
LEAF_OWNED = "qdisc mq 0: root \nqdisc fq 8002: parent :1 limit 10000p\nqdisc fq_codel 0: parent :2 limit 10240p\n"
OURS = "qdisc htb 5f1a: root refcnt 3 r2q 10 default 0 direct_packets_stat 1 direct_qlen 1000\n"

CLASS = """class htb 5f1a:2 root leaf 8001: prio 0 rate 100Gbit ceil 100Gbit burst 10Mb cburst 10Mb
 Sent 999 bytes 9 pkt (dropped 0, overlimits 0 requeues 0)
class htb 5f1a:1 root prio 0 rate 10814Kbit ceil 10814Kbit burst 13514b cburst 13514b
 Sent 125034 bytes 90 pkt (dropped 0, overlimits 7 requeues 0)
 backlog 0b 0p requeues 0
"""


def test_queues_are_read_without_those_of_incoming_packets() -> None:
    assert htb.parse_qdiscs(NOQUEUE) == (Qdisc("noqueue", "0:", "root"),)
    assert htb.parse_qdiscs(MQ)[1] == Qdisc("pfifo_fast", "0:", ":2")
    assert htb.parse_qdiscs(WITH_CLSACT) == (Qdisc("fq_codel", "0:", "root"),)
    assert htb.parse_qdiscs("") == ()
    assert htb.is_ours(htb.parse_qdiscs(OURS))
    assert not htb.is_ours(htb.parse_qdiscs(OURS.replace("5f1a:", "1:")))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (NOQUEUE, None),
        (PI_WLAN, None),
        (MQ, None),
        (WITH_CLSACT, None),
        (CAKE, "eth0 has a cake of its owner's (8001:), which stays; if it is not wanted: sudo tc qdisc del dev eth0"),
        (LEAF_OWNED, "eth0 has a fq of its owner's (8002:), which stays"),
        (OURS, "eth0 has the class of another client; end one of the two"),
        ("", "eth0 has no queue that tc shows; is it up?"),
    ],
)  # fmt: skip
def test_only_queues_that_are_the_kernels_own_are_replaced(text: str, why: str | None) -> None:
    found = htb.why_not("eth0", htb.parse_qdiscs(text))
    assert found == why if found is None or why is None else found.startswith(why)
    assert "on this machine" in (htb.why_not("lo", htb.parse_qdiscs(NOQUEUE)) or "")


def test_a_fair_queue_is_kept_for_the_others_and_a_plain_one_needs_no_class() -> None:
    assert htb.fair_leaf(htb.parse_qdiscs(PI_WLAN)) == "fq_codel"
    assert htb.fair_leaf(htb.parse_qdiscs(MQ)) is None
    assert htb.add_root("eth0", "fq_codel")[-2:] == ("default", "2")
    assert htb.add_root("eth0", None)[-2:] == ("default", "0")


def test_our_class_is_read_and_no_other() -> None:
    assert htb.parse_class(CLASS) == ClassState(10_814_000.0, 125_034)
    assert htb.parse_class(CLASS.replace("5f1a:1 ", "5f1a:10 ")) is None
    whole = CLASS.replace("10814Kbit", "1Gbit")
    assert htb.parse_class(whole) == ClassState(1e9, 125_034)
    assert htb.parse_class("") is None


def test_the_route_names_the_interface() -> None:
    assert htb.parse_route("10.9.0.2 via 10.0.0.1 dev wlan0 src 10.9.0.1 uid 0 \n    cache \n") == "wlan0"
    assert htb.parse_route("local 127.0.0.1 dev lo src 127.0.0.1 uid 0") == "lo"
    assert htb.parse_route("") is None


def test_the_classs_rate_has_room_for_headers_and_little_else() -> None:
    # 1e6 * (1500 + 14) / (1500 - 72) * 1.02 + 8000 = 1 089 428.6, up to whole kbit; for 1280 1 100 615.9
    assert htb.wire_bits_per_s(1e6, 1500) == 1_090_000
    assert htb.wire_bits_per_s(1e6, 1280) == 1_101_000
