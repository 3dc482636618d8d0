"""`tc` and `ip` of a virtual board: one interface eth0 whose queues are files in run/tc, as iproute2 6.1 shows them.

`run/tc/lacks` holds the classifiers that its kernel lacks.
"""

from __future__ import annotations

from pathlib import Path

from edge_client.hardware.sysfs import SysFs
from tests.edge_client.trees import put

NOQUEUE = "qdisc noqueue 0: root refcnt 2"

IP = """#!/bin/sh
[ "$1 $2" = "route get" ] && echo "$3 dev eth0 src 10.0.0.2 uid 0"
"""

TC = r"""#!/bin/sh
run="$(dirname "$0")/../run/tc"
echo "$@" >> "$run/log"
case "$*" in *"dev eth0"*) ;; *) echo 'Cannot find device "eth1"' >&2; exit 1 ;; esac
case "$1 $2" in
"qdisc show") cat "$run/root" ;;
"qdisc add")
    [ "$5" = root ] || exit 0
    grep -q " 0: " "$run/root" || { echo "Error: Exclusivity flag on, cannot modify." >&2; exit 2; }
    echo "qdisc htb $7 root refcnt 2 r2q 10 default 0 direct_packets_stat 0 direct_qlen 1000" > "$run/root" ;;
"qdisc del")
    grep -q "^qdisc htb $7 root" "$run/root" || { echo "Error: Invalid handle." >&2; exit 2; }
    rm -f "$run/rate" "$run/filter"
    cat "$run/default" > "$run/root" ;;
"class add") [ "$8" = 5f1a:2 ] || echo "${11}" > "$run/rate" ;;
"-s class")
    [ -e "$run/rate" ] || exit 0
    rate=$(cat "$run/rate"); rate="${rate%000bit}Kbit"
    echo "class htb 5f1a:1 root prio 0 rate $rate ceil $rate burst 6000b cburst 6000b "
    echo " Sent $(cat "$run/sent") bytes 12 pkt (dropped 0, overlimits 3 requeues 0) " ;;
"filter add")
    case "$*" in *" fw "*) kind=fw ;; *) kind=bpf ;; esac
    grep -qw "$kind" "$run/lacks" && { echo "Error: TC classifier not found." >&2; exit 2; }
    shown="handle 0xf1 classid 5f1a:1"
    [ $kind = fw ] || shown="handle 0x1 flowid 5f1a:1 not_in_hw bytecode '${13}'"
    echo "filter parent 5f1a: protocol all pref 1 $kind chain 0 $shown" > "$run/filter" ;;
"filter show") cat "$run/filter" 2> /dev/null || true ;;
"filter del") rm -f "$run/filter" ;;
"class del") ;;
*) echo "unknown: $*" >&2; exit 1 ;;
esac
"""


def board(root: Path, *, queue: str = NOQUEUE, lacks: str = "none", sent_bytes: int = 0) -> SysFs:
    """A board below `root` whose eth0 has `queue` (output of `tc qdisc show`)."""
    return put(
        root,
        {
            "bin/tc": TC.strip(),
            "bin/ip": IP.strip(),
            "run/tc/root": queue,
            "run/tc/default": queue,
            "run/tc/lacks": lacks,
            "run/tc/sent": sent_bytes,
            "sys/class/net/eth0/mtu": 1500,
            "proc/net/route": "Iface\tDestination\tGateway\neth0\t00000000\t0101A8C0",
        },
    )


def root_queue(root: Path) -> str:
    """What eth0 has at its root now, as kind and handle."""
    return " ".join((root / "run/tc/root").read_text().split()[1:3])


def said(root: Path) -> list[str]:
    """Everything that tc was told, but looking."""
    lines = (root / "run/tc/log").read_text().splitlines()
    return [line for line in lines if " show " not in line]
