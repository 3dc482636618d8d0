"""How long processes waited for the processor."""

from __future__ import annotations

from pathlib import Path

from edge_client.hardware import pressure
from edge_client.hardware.sysfs import SysFs
from tests.edge_client.trees import put


def test_pressure_of_the_cpu(tmp_path: Path) -> None:
    text = "some avg10=1.00 avg60=0.50 avg300=0.10 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99"
    assert pressure.parse(text) == 123456
    assert pressure.parse("") is None
    fs = put(tmp_path, {"proc/pressure/cpu": text})
    assert pressure.read_waited_us(fs) == 123456
    assert pressure.read_waited_us(SysFs(tmp_path / "none")) is None
