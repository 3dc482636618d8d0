"""The virtual radio: Shannon's law by hand, and a real upload through the relay at two transmit powers."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from pathlib import Path

import pytest

from firmware_profiles.loader import load_profile
from models import radio as law
from tools.boards.board import VirtualBoard
from tools.boards.link import LinkMeter, Relay
from tools.boards.radio import Radio, RadioConfig

# n0 / g = 1e-12 W/Hz / 1e-6 = 1e-6 W/Hz; over 100 kHz: 0.1 W of noise at the transmitter
CONFIG = RadioConfig(bandwidth_hz=100e3, path_loss_db=60.0, noise_dbm_per_hz=-90.0)


def test_the_rate_by_hand() -> None:
    radio = Radio(CONFIG, "s")
    assert radio.noise_w_per_hz == pytest.approx(1e-6)
    assert radio.bits_per_s(0.1, 0.0) == pytest.approx(100e3)  # log2(1 + 0.1 / 0.1) = 1
    assert radio.bits_per_s(0.03, 0.0) == pytest.approx(100e3 * 0.378512)  # log2(1.3)
    assert radio.bits_per_s(5.0, 0.0) == pytest.approx(100e3)  # the amplifier gives no more
    assert radio.drawn_w(0.05) == pytest.approx(0.2)
    assert radio.signal_dbm(0.1, 0.0) == pytest.approx(20.0 - 60.0)


def test_a_card_that_ignores_what_it_is_told() -> None:
    deaf = Radio(RadioConfig(bandwidth_hz=100e3, path_loss_db=60.0, noise_dbm_per_hz=-90.0, ignores_power=True), "s")
    assert deaf.bits_per_s(0.001, 0.0) == pytest.approx(100e3)
    assert deaf.signal_dbm(0.001, 0.0) == pytest.approx(-40.0)
    assert deaf.drawn_w(0.001) == pytest.approx(0.4)


def test_fading_is_drawn_by_block_and_repeats() -> None:
    config = RadioConfig(bandwidth_hz=1e5, path_loss_db=60.0, fading="rayleigh", coherence_s=0.5)
    radio, same, other = Radio(config, "s"), Radio(config, "s"), Radio(config, "t")
    blocks = [radio.fade(0.5 * k + 0.1) for k in range(2000)]
    assert radio.fade(0.1) == radio.fade(0.4)
    assert blocks == [same.fade(0.5 * k + 0.2) for k in range(2000)]
    assert blocks[:9] != [other.fade(0.5 * k) for k in range(9)]
    assert sum(blocks) / len(blocks) == pytest.approx(1.0, abs=0.1)  # the channel's mean gain is 1


def test_joules_are_drained_with_their_seconds() -> None:
    meter = LinkMeter()
    meter.add(10.0, 12.0, above_w=3.0)
    assert (meter.drain(0.5), meter.drawn_j()) == (0.5, pytest.approx(1.5))
    assert (meter.drain(9.0), meter.drawn_j()) == (1.5, pytest.approx(4.5))
    assert (meter.drain(1.0), meter.drawn_j()) == (0.0, 0.0)


async def upload(board: VirtualBoard, relay: Relay, port: int, size_bytes: int) -> tuple[float, float]:
    """Seconds of an upload until all of it is there, and the joules above idle that the board drew meanwhile."""
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    board.tick(time.monotonic())
    idle_w, before_j, start = board.law.idle_w, board.state.energy_j, time.monotonic()
    sent = relay.bytes_up
    writer.write(bytes(size_bytes))
    while relay.bytes_up < sent + size_bytes or time.monotonic() < relay._free_at["up"]:
        await asyncio.sleep(0.01)
        board.tick(time.monotonic())
    end = time.monotonic()
    board.tick(end)
    writer.close()
    return end - start, board.state.energy_j - before_j - idle_w * (end - start)


async def test_lower_power_lowers_the_rate_and_the_watts_as_foretold(tmp_path: Path, broker_port: int) -> None:
    relay = Relay(("127.0.0.1", broker_port), 1e6)
    profile = load_profile("raspberry-pi-4b")
    radio = Radio(RadioConfig(bandwidth_hz=400e3, path_loss_db=60.0, noise_dbm_per_hz=-96.0), "s")
    board = VirtualBoard("b", profile, 0.5, tmp_path, 0, relay.meter, None, radio)
    relay.uplink = board.uplink
    port = await relay.start()
    iw = str(board.root / "bin/iw")
    bits, measured = 8 * 100_000, {}
    try:
        for power_w, mbm in ((0.1, 2000), (0.01, 1000)):
            subprocess.run([iw, "dev", "wlan0", "set", "txpower", "fixed", str(mbm)], check=True)
            measured[power_w] = await upload(board, relay, port, bits // 8)
    finally:
        await relay.close()
        board.close()
    for power_w, (seconds, joules) in measured.items():
        foretold_s = law.seconds_at_power(bits, 400e3, power_w, radio.noise_w_per_hz)
        foretold_j = (board.law.link_w + power_w / 0.25) * foretold_s
        assert seconds == pytest.approx(foretold_s, rel=0.1)
        assert joules == pytest.approx(foretold_j, rel=0.1)
    (fast_s, _), (slow_s, _) = measured[0.1], measured[0.01]
    assert slow_s > 2.0 * fast_s
    watts = {power_w: joules / seconds for power_w, (seconds, joules) in measured.items()}
    assert watts[0.01] < watts[0.1] - 0.2


async def test_the_access_point_sees_what_is_really_sent(tmp_path: Path) -> None:
    radio = Radio(CONFIG, "s")
    board = VirtualBoard("b", load_profile("raspberry-pi-4b"), 0.5, tmp_path, 0, LinkMeter(), None, radio)
    with contextlib.closing(board):
        seen, now = [], time.monotonic()
        for mbm in (2000, 1000):
            (board.root / "run/firmware/txpower_mbm").write_text(f"{mbm}\n")
            now += 1.0
            board.tick(now)
            seen.append((board.root / "run/firmware/ap_signal_dbm").read_text().strip())
    assert seen == ["-40.0", "-50.0"]


async def test_a_full_line_never_stands_still(broker_port: int) -> None:
    """1 MB at 2 MB/s takes half a second: the line does not wait for whoever carries it to wake up, 60 times over."""
    relay = Relay(("127.0.0.1", broker_port), 2e6)
    port, took_s = await relay.start(), []
    try:
        for sent in (1, 2, 3):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            start = time.monotonic()
            writer.write(bytes(1_000_000))
            while relay.bytes_up < sent * 1_000_000:
                await asyncio.sleep(0.01)
            took_s.append(relay._free_at["up"] - start)
            writer.close()
    finally:
        await relay.close()
    assert min(took_s) == pytest.approx(0.5, rel=0.03)  # of three, for the host may be busy
