"""jetson-stats behind its adapter, with a package of the documented shape in its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_client.hardware import jtop_meter
from edge_client.hardware.jtop_meter import Jtop, JtopMeter, total_w
from tests.edge_client.captured import reason

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("edge_client", "server", "models", "firmware_profiles", "tools")

# As documented (jtop.power): mV, mA, mW; avg is a moving average.
ORIN = {
    "rail": {
        "VDD_CPU_GPU_CV": {"volt": 5024, "curr": 152, "power": 763, "avg": 770, "online": True, "warn": 32760},
        "VDD_SOC": {"volt": 5024, "curr": 304, "power": 1527, "avg": 1500, "online": True, "warn": 32760},
    },
    "tot": {"volt": 5032, "curr": 928, "power": 4669, "avg": 9999, "name": "VDD_IN"},
}
SUM_OF_RAILS = {"rail": {"CPU": {"power": 3000}, "GPU": {"power": 1000}}, "tot": {"power": 4000, "avg": 3900}}


class JtopException(Exception):
    """As jtop.core.exceptions has it."""


class FakeJtop:
    """A client of the service; each `update` is what its thread does every half second."""

    def __init__(self, power: Mapping[str, Any], error: Exception | None = None) -> None:
        self._error = error
        self._observers: list[Callable[[Any], None]] = []
        self.power = power
        self.uptime: object = timedelta(seconds=1)
        self.started = 0
        self.closed = 0
        self.interval: float | None = None

    def __call__(self, *, interval: float) -> FakeJtop:
        self.interval = interval
        return self

    def attach(self, observer: Callable[[Any], None]) -> None:
        self._observers.append(observer)

    def start(self) -> None:
        if self._error is not None:
            raise self._error
        self.started += 1
        self.notify()

    def notify(self) -> None:
        for observer in self._observers:
            observer(self)

    def update(self, power_mw: object, seconds: float) -> None:
        self.power = {"rail": {}, "tot": {"power": power_mw, "avg": 1, "name": "VDD_IN"}}
        self.uptime = timedelta(seconds=seconds)
        self.notify()

    def close(self) -> None:
        self.closed += 1


_: Jtop = FakeJtop(ORIN)


def find(fake: FakeJtop) -> object:
    return jtop_meter.find(lambda: fake)


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_the_total_is_milliwatts_and_a_boards_where_it_is_a_rail() -> None:
    found = find(fake := FakeJtop(ORIN))
    assert isinstance(found, JtopMeter)
    assert (found.info.name, found.info.boundary, found.info.period_s) == ("jtop", "board", 0.5)
    assert (fake.started, fake.closed, fake.interval) == (1, 1, 0.5)
    assert found.read_power_w() is None  # nothing is connected yet
    found.open()
    assert found.read_power_w() == 4.669  # `power`, not `avg`, and not the sum with its parts
    found.close()
    assert fake.closed == 2
    found.close()
    assert fake.closed == 2


def test_the_sum_of_some_rails_is_not_the_board() -> None:
    found = find(FakeJtop(SUM_OF_RAILS))
    assert isinstance(found, JtopMeter)
    assert found.info.boundary == "soc"
    assert total_w(SUM_OF_RAILS) == (4.0, False)


@pytest.mark.parametrize(
    "power",
    [{}, {"tot": {}}, {"tot": None}, {"tot": {"power": 0}}, {"tot": {"power": "4669"}}, {"tot": {"power": True}}],
)
def test_no_total_is_none_not_zero(power: dict[str, Any]) -> None:
    assert total_w(power) == (None, False)
    assert "holds no total" in reason(find(FakeJtop(power)))


def test_a_service_that_stalls_repeats_itself_and_is_not_believed() -> None:
    found, clock = JtopMeter(fake := FakeJtop(ORIN), jtop_meter.MeterInfo("jtop", "board", 0.05), Clock()), Clock()
    found._now = clock
    found.open()
    fake.update(5000, seconds=10)
    assert found.read_power_w() == 5.0
    clock.now += 2.0
    assert found.read_power_w() == 5.0
    fake.notify()  # the package's thread timed out and shows the same again
    clock.now += 0.1
    assert found.read_power_w() is None
    fake.update(6000, seconds=12)
    assert found.read_power_w() == 6.0
    fake.update(None, seconds=13)
    assert found.read_power_w() is None


def test_a_service_that_was_started_anew_is_joined_again(caplog: pytest.LogCaptureFixture) -> None:
    """jetson-stats is updated, or its service dies: its client's thread has ended, and tells nothing any more."""
    clock, made = Clock(), [FakeJtop(ORIN), FakeJtop(ORIN, ConnectionResetError()), FakeJtop(ORIN)]
    one, gone, other = made
    found = JtopMeter(
        lambda interval: made.pop(0)(interval=interval), jtop_meter.MeterInfo("jtop", "board", 0.05), clock
    )
    found.open()
    other.uptime = 99
    clock.now += 29.9
    assert found.read_power_w() is None
    assert len(made) == 2
    clock.now += 0.2  # it is not there yet
    assert found.read_power_w() is None
    assert one.closed == 1
    assert caplog.text.count("sudo systemctl restart jtop.service; tried again every 30 s") == 1
    clock.now += 29.0
    assert found.read_power_w() is None
    assert made == [other]
    clock.now += 1.1
    assert found.read_power_w() is None
    assert found.read_power_w() == 4.669
    found.close()
    assert (other.started, other.closed, gone.closed) == (1, 1, 0)


def not_installed() -> Callable[..., Jtop]:
    raise ModuleNotFoundError("No module named 'jtop'", name="jtop")


MISMATCH = (
    "Mismatch version jtop service: [4.2.7] and client: [4.3.1]. Please run:\n\nsudo systemctl restart jtop.service"
)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            JtopException("The jtop.service is not active. Please run:\nsudo systemctl restart jtop.service"),
            "The jtop.service is not active. Please run: sudo systemctl restart jtop.service; "
            "sudo systemctl restart jtop.service",
        ),
        (
            JtopException(MISMATCH),
            "Mismatch version jtop service: [4.2.7] and client: [4.3.1]. Please run: "
            "sudo systemctl restart jtop.service; "
            "or install the service's version here: pip install jetson-stats==4.2.7",
        ),
        (
            JtopException("I can't access jtop.service.\nPlease logout or reboot this board."),
            "I can't access jtop.service. Please logout or reboot this board.; "
            "sudo usermod -aG jtop $USER, then log in again",
        ),
        (ConnectionResetError(), "ConnectionResetError(); sudo systemctl restart jtop.service"),
    ],
)
def test_what_is_in_the_way_is_said_with_what_mends_it(
    error: Exception, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert reason(find(FakeJtop(ORIN, error))) == said
    gone = JtopMeter(FakeJtop(ORIN, error), jtop_meter.MeterInfo("jtop", "board", 0.05))
    gone.open()
    assert gone.read_power_w() is None
    gone.close()
    assert said in caplog.text


def test_the_extra_is_named_where_it_is_missing() -> None:
    assert reason(jtop_meter.find(not_installed)) == (
        "jetson-stats is not installed; pip install 'fimi[jetson]', in the version of the board's service"
    )


def test_no_other_module_touches_the_package() -> None:
    """It is under the AGPL: an extra, behind this adapter."""
    touching = re.compile(r"^\s*(import|from) jtop\b|import_module\(.jtop|__import__\(.jtop", re.MULTILINE)
    files = [file for folder in PACKAGES for file in (ROOT / folder).rglob("*.py")]
    assert [file.name for file in files if touching.search(file.read_text())] == ["jtop_meter.py"]
