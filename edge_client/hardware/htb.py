"""What `tc` and `ip` print about an interface's queues, and what they are told to give one socket its share. Pure.

An HTB (tc-htb(8)) stands in place of the kernel's own queue, with one class for packets that carry our mark. All others
go past every class ("direct"), at line speed; where the kernel's own queue was a fair one, they keep it as the leaf of
a class whose rate no board reaches.

Who tells the marked packets apart: `fw` where the kernel has it, else four instructions of classic BPF (`bpf`), else no
filter: HTB takes a packet's priority for a class by itself (`priority`, SO_PRIORITY of the socket). Never `u32 match
mark`: a kernel without CONFIG_CLS_U32_MARK accepts it, drops the condition, and takes everybody's packets.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Classifier = Literal["fw", "bpf", "priority"]

HANDLE = "5f1a:"
"""Of our qdisc, by which it is known again: below 8000, from where on the kernel gives handles out by itself."""

CLASS = f"{HANDLE}1"
OTHERS = f"{HANDLE}2"

MARK = 0xF1
"""SO_MARK of our socket: no bit that Kubernetes, Tailscale, Calico or WireGuard route by."""

PRIORITY = 0x5F1A0001
"""SO_PRIORITY that names `CLASS`."""

HEADROOM = 1.02
"""The class's rate over what the paced upload takes, so that it never is what holds the upload below its rate."""

_SPARE_BITS_PER_S = 8_000  # for acknowledgements, heartbeats and short last packets, which weigh at low rates
_ETHERNET_BYTES = 14
_TCP_IP_BYTES = 72  # IPv6 40, TCP 20, its timestamps 12
_LEAST_MTU_BYTES = 576
_BURST_S = 0.12  # more than a paced chunk takes (agent/upload.py)
_LEAST_BURST_BYTES = 6000  # more than the least chunk
_FAIR = ("fq_codel", "fq", "sfq", "codel", "cake")
_QDISC = re.compile(r"^qdisc (\S+) (\S+:)\S*(?: dev \S+)? (root|parent \S+)", re.MULTILINE)
_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_CLASS = re.compile(rf"^class htb {CLASS} .*?\brate (\d+(?:\.\d+)?)([KMGT]?)bit\b.*\n\s*Sent (\d+) bytes", re.MULTILINE)
_BYTECODE = f"4,32 0 0 4294963220,21 0 1 {MARK},6 0 0 4294967295,6 0 0 0"
"""A = skb->mark (SKF_AD_OFF + SKF_AD_MARK, include/uapi/linux/filter.h); if A == MARK return -1 (ours) else 0."""

_FILTERS: dict[Classifier, tuple[str, ...]] = {
    "fw": ("handle", hex(MARK), "fw", "classid", CLASS),
    "bpf": ("bpf", "bytecode", _BYTECODE, "classid", CLASS),
}
_SHOWN = {
    "fw": re.compile(rf"\bfw .*handle {hex(MARK)}(?:/\S+)? classid {CLASS}(?!\d)"),
    "bpf": re.compile(rf"\bbpf .*flowid {CLASS}(?!\d).*bytecode '{_BYTECODE}'"),
}


@dataclass(frozen=True)
class Qdisc:
    """A queue of an interface; `parent` is "root" or the class that it hangs from."""

    kind: str
    handle: str
    parent: str


@dataclass(frozen=True)
class ClassState:
    """Our class as the kernel has it: its rate, and bytes that it has let out, both with all headers."""

    bits_per_s: float
    sent_bytes: int


def parse_qdiscs(text: str) -> tuple[Qdisc, ...]:
    """The output of `tc qdisc show dev IF`; what handles incoming packets is left out."""
    found = (Qdisc(kind, handle, parent.removeprefix("parent ")) for kind, handle, parent in _QDISC.findall(text))
    return tuple(one for one in found if one.kind not in ("ingress", "clsact"))


def parse_class(text: str) -> ClassState | None:
    """Our class in the output of `tc -s class show dev IF`, or None."""
    match = _CLASS.search(text)
    return ClassState(float(match[1]) * _UNITS[match[2]], int(match[3])) if match else None


def parse_route(text: str) -> str | None:
    """The interface in the output of `ip route get ADDRESS`, or None."""
    match = re.search(r"\bdev (\S+)", text)
    return match[1] if match else None


def is_ours(queues: tuple[Qdisc, ...]) -> bool:
    """Whether the interface's root is the one that we put there."""
    return any(one == Qdisc("htb", HANDLE, "root") for one in queues)


def why_not(interface: str, queues: tuple[Qdisc, ...]) -> str | None:
    """Why these queues must not be replaced, "<what>; <what mends it>"; None where all are the kernel's own.

    The kernel's own have the handle 0:, whatever their kind; one that was set on purpose, at root or below, has not.
    """
    if interface == "lo":
        return "the broker is on this machine: what is sent to it takes no share of a line"
    if is_ours(queues):
        return (
            f"{interface} has the class of another client; end one of the two, or, if there is none: "
            f"sudo tc qdisc del dev {interface} root"
        )
    owned = next((one for one in queues if one.handle != "0:"), None)
    if owned is not None:
        return (
            f"{interface} has a {owned.kind} of its owner's ({owned.handle}), which stays; "
            f"if it is not wanted: sudo tc qdisc del dev {interface} root"
        )
    return None if any(one.parent == "root" for one in queues) else f"{interface} has no queue that tc shows; is it up?"


def fair_leaf(queues: tuple[Qdisc, ...]) -> str | None:
    """The kind of fair queue that the kernel gave this interface, which its traffic is to keep; None: a plain one."""
    return next((one.kind for one in queues if one.kind in _FAIR), None)


def wire_bits_per_s(upload_bits_per_s: float, mtu_bytes: int) -> int:
    """The rate with all headers, in whole kbit/s (tc prints no finer), of an upload's rate without them."""
    mtu_bytes = max(mtu_bytes, _LEAST_MTU_BYTES)
    headers = (mtu_bytes + _ETHERNET_BYTES) / (mtu_bytes - _TCP_IP_BYTES)
    return -int(-(upload_bits_per_s * headers * HEADROOM + _SPARE_BITS_PER_S) // 1000) * 1000


def add_root(interface: str, leaf: str | None) -> tuple[str, ...]:
    """In place of the kernel's own; `add` fails where anybody's stands. Without class 2 the default is direct."""
    default = "2" if leaf else "0"
    return ("qdisc", "add", "dev", interface, "root", "handle", HANDLE, "htb", "default", default)


def add_class(interface: str, wire_bits_per_s: int, mtu_bytes: int) -> tuple[str, ...]:
    """The class of marked packets.

    HTB lets a packet out whenever the class owes nothing, also a GSO packet of 64 KiB, and charges it afterwards: the
    rate holds over more than that, whatever `burst` is. `burst` may follow an idle time: with room for a paced chunk,
    each passes at once, as one GSO packet or as many packets, and the class shapes only what exceeds the pacing.
    """
    frame_bytes = mtu_bytes + _ETHERNET_BYTES
    rate, burst = (
        f"{wire_bits_per_s}bit",
        str(max(_LEAST_BURST_BYTES, 2 * frame_bytes, round(wire_bits_per_s / 8 * _BURST_S))),
    )
    return (
        "class", "add", "dev", interface, "parent", HANDLE, "classid", CLASS, "htb", "rate", rate, "ceil", rate,
        "burst", burst, "cburst", burst, "quantum", str(frame_bytes),
    )  # fmt: skip


def add_others(interface: str, leaf: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A class that is no limit for everybody else, and below it the fair queue that the kernel gave them."""
    wide = (
        "class", "add", "dev", interface, "parent", HANDLE, "classid", OTHERS, "htb", "rate", "100gbit",
        "ceil", "100gbit", "burst", "10mb", "cburst", "10mb", "quantum", "60000",
    )  # fmt: skip
    return wide, ("qdisc", "add", "dev", interface, "parent", OTHERS, leaf)


def add_filter(interface: str, classifier: Classifier) -> tuple[str, ...]:
    """What sends marked packets, and no others, to the class."""
    return ("filter", "add", "dev", interface, "parent", HANDLE, "protocol", "all", "pref", "1", *_FILTERS[classifier])


def filter_stands(text: str, classifier: Classifier) -> bool:
    """Whether the output of `tc filter show dev IF` has the filter as it was asked for, its condition included."""
    return _SHOWN[classifier].search(text) is not None
