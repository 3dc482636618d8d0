"""How long processes waited for the processor: the kernel's pressure stall information.

Source: Documentation/accounting/psi.rst. First line of proc/pressure/cpu: 'some avg10=0.00 avg60=0.00 avg300=0.00
total=12345' - microseconds during which at least one runnable task did not run.
"""

from __future__ import annotations

import re

from edge_client.hardware.sysfs import SysFs

_TOTAL = re.compile(r"^some\s.*\btotal=(\d+)", re.MULTILINE)


def parse(text: str) -> int | None:
    """Microseconds waited so far, or None."""
    match = _TOTAL.search(text)
    return int(match[1]) if match else None


def read_waited_us(fs: SysFs) -> int | None:
    """The counter of this board; None where its kernel keeps none."""
    text = fs.read("proc/pressure/cpu")
    return parse(text) if text else None
