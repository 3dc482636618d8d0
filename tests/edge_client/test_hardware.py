"""Sensors and knobs on trees of files as real boards have them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from edge_client.errors import HardwareError
from edge_client.hardware import ina2xx, ina3221, pmic, pressure, txpower
from edge_client.hardware.board import discover
from edge_client.hardware.cpufreq import CpuFreqPolicies
from edge_client.hardware.interfaces import ClockReading, MeterInfo
from edge_client.hardware.sampler import Sampler
from edge_client.hardware.sysfs import SysFs, run_command
from edge_client.hardware.vcgencmd import Vcgencmd, parse_clock, parse_throttled
from tests.edge_client.trees import NANO_KHZ, POLICY, cpufreq, nano, put, settings

PI5_ADC = """\
 3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
 VDD_CORE_A current(7)=2.00000000A
 3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
 VDD_CORE_V volt(15)=0.90000000V
      EXT5V_V volt(24)=5.10000000V
      BATT_V volt(25)=0.00000000V
"""


class Recorder(SysFs):
    """Files below a root; remembers what was written, in order, and can refuse a file."""

    log: list[tuple[str, str]]
    refuse: set[str]

    def __init__(self, root: Path, refuse: Sequence[str] = ()) -> None:
        super().__init__(root)
        object.__setattr__(self, "log", [])
        object.__setattr__(self, "refuse", set(refuse))

    def write(self, path: str, text: str) -> None:
        name = path.rsplit("/", 1)[1]
        if name in self.refuse:
            raise HardwareError(f"/{path}: {text!r} was refused")
        self.log.append((name, text))
        super().write(path, text)


# ---- files and commands ------------------------------------------------------------------------------------------


def test_missing_files_are_ordinary_and_refused_writes_are_not(tmp_path: Path) -> None:
    fs = put(tmp_path, {"a/text": "12 ", "a/word": "x", "a/zero": "\0"})
    assert fs.read("a/text") == "12"
    assert fs.number("a/text") == 12
    assert fs.number("a/word") is None
    assert fs.number("a/zero") is None
    assert fs.read("a/none") is None
    assert fs.glob("a/*o*") == ["a/word", "a/zero"]
    with pytest.raises(HardwareError, match="/a/none: '1' was refused: No such file"):
        fs.write("a/none", "1")
    fs.write("a/text", "7")
    assert (tmp_path / "a/text").read_bytes() == b"7\n"


def test_commands_are_found_below_the_root_only(tmp_path: Path) -> None:
    fs = put(tmp_path, {"bin/iw": "#!/bin/sh\necho $1; exit $2"})
    iw = fs.command("iw")
    assert iw == str(tmp_path / "bin/iw")
    assert fs.command("sh") is None
    assert run_command((iw, "hello", "0")) == "hello\n"
    with pytest.raises(HardwareError, match="iw hello 3"):
        run_command((iw, "hello", "3"))
    with pytest.raises(HardwareError, match="nothing-here"):
        run_command((str(tmp_path / "nothing-here"),))


# ---- meters ------------------------------------------------------------------------------------------------------


def test_jetson_of_jetpack_4_by_its_total_rail(tmp_path: Path) -> None:
    fs = nano(tmp_path)
    meter = ina3221.find(fs)
    assert isinstance(meter, ina3221.Ina3221Iio)
    assert meter.read_power_w() == 2.5  # POM_5V_IN alone: its parts are not added
    assert meter.info.boundary == "board"
    (tmp_path / "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/in_power1_input").unlink()
    assert meter.read_power_w() is None


def test_jetson_of_jetpack_5_by_voltage_times_current(tmp_path: Path) -> None:
    hwmon = "sys/bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    fs = put(
        tmp_path,
        {
            f"{hwmon}/in1_label": "VDD_CPU_GPU_CV",
            f"{hwmon}/in1_input": 5000,
            f"{hwmon}/curr1_input": 300,
            f"{hwmon}/in2_label": "VDD_IN",
            f"{hwmon}/in2_input": 5000,
            f"{hwmon}/curr2_input": 900,
            f"{hwmon}/in7_label": "sum of shunt voltages",
        },
    )
    meter = ina3221.find(fs)
    assert isinstance(meter, ina3221.Ina3221Hwmon)
    assert meter.read_power_w() == pytest.approx(4.5)
    (tmp_path / hwmon / "curr2_input").write_text("")
    assert meter.read_power_w() is None


def test_no_total_rail_no_meter(tmp_path: Path) -> None:
    fs = put(tmp_path, {"sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0/rail_name_0": "POM_5V_CPU"})
    assert ina3221.find(fs) is None


def test_an_added_ina219(tmp_path: Path) -> None:
    fs = put(
        tmp_path,
        {
            "sys/class/hwmon/hwmon0/name": "cpu_thermal",
            "sys/class/hwmon/hwmon1/name": "ina219",
            "sys/class/hwmon/hwmon1/power1_input": 3_140_000,
            "sys/class/hwmon/hwmon1/in1_input": 5000,
            "sys/class/hwmon/hwmon1/curr1_input": 600,
        },
    )
    meter = ina2xx.find(fs)
    assert meter is not None
    assert meter.info.name == "ina219"
    assert meter.read_power_w() == 3.14
    (tmp_path / "sys/class/hwmon/hwmon1/power1_input").unlink()
    assert meter.read_power_w() == pytest.approx(3.0)
    (tmp_path / "sys/class/hwmon/hwmon1/in1_input").unlink()
    assert meter.read_power_w() is None
    assert ina2xx.find(put(tmp_path / "other", {"sys/class/hwmon/hwmon0/name": "cpu_thermal"})) is None


def test_pmic_rails_with_both_numbers_are_summed() -> None:
    # 0.1*3.7 + 0.2*3.3 + 2*0.9 = 2.83 W; EXT5V and BATT have no current
    assert pmic.parse(PI5_ADC) == pytest.approx(2.83)
    assert pmic.parse('error=1 error_msg="Command not registered"') is None
    assert pmic.parse("") is None
    assert pmic.parse(" VDD_CORE_A current(7)=2.0A\n") is None


def test_pmic_reads_through_the_command(tmp_path: Path) -> None:
    fs = put(tmp_path, {"adc": PI5_ADC, "bin/vcgencmd": f"#!/bin/sh\n[ $1 = pmic_read_adc ] && cat {tmp_path}/adc"})
    firmware = Vcgencmd(fs, str(tmp_path / "bin/vcgencmd"))
    assert pmic.Pmic(firmware).read_power_w() == pytest.approx(1.145 * 2.83 + 0.588)
    assert firmware.ask("measure_clock") is None  # the command failed
    assert firmware.arm_clock_hz() is None
    assert firmware.throttled() is None
    assert pmic.Pmic(Vcgencmd(fs, str(tmp_path / "none"))).read_power_w() is None


def test_the_firmwares_words() -> None:
    assert parse_clock("frequency(48)=1500398464\n") == 1500398464
    assert parse_clock("frequency(48)=0") is None
    assert parse_clock("error") is None
    assert parse_throttled("throttled=0x0\n") is False
    assert parse_throttled("throttled=0x50000") is False  # since boot, not now
    assert parse_throttled("throttled=0x50005") is True
    assert parse_throttled("throttled=0x8") is True
    assert parse_throttled("nonsense") is None


class Steps:
    """A meter that tells what it is given, then fails."""

    info = MeterInfo("steps", "board", 0.01)

    def __init__(self, values: list[float | None]) -> None:
        self._values = list(values)
        self.empty = threading.Event()

    def read_power_w(self) -> float | None:
        if not self._values:
            self.empty.set()
            return None
        return self._values.pop(0)


def test_the_sampler_integrates_what_the_meter_says() -> None:
    meter = Steps([2.0] * 20)
    sampler = Sampler(meter, 0.002)
    sampler.start()
    assert meter.empty.wait(10)
    sampler.stop()
    times = [sample.t for sample in sampler._samples if sample.power_w is not None]
    assert times == sorted(times)
    found = sampler.energy(times[0], times[-1], 0.5)
    assert found.energy_j == pytest.approx(2.0 * (times[-1] - times[0]))
    assert found.meter == "steps"
    assert found.idle_power_w == 0.5
    sampler.forget_before(times[10])
    assert sampler.energy(times[10], times[-1], None).samples == 10
    assert sampler.power_w() is None  # the last reads failed


def test_without_a_meter_nothing_is_known() -> None:
    sampler = Sampler(None, 0.01)
    sampler.start()
    sampler.stop()
    assert sampler.energy(0, 1, 2.0).energy_j is None
    assert sampler.energy(0, 1, 2.0).source == "unavailable"
    assert sampler.power_w() is None


# ---- pressure ----------------------------------------------------------------------------------------------------


def test_pressure_of_the_cpu(tmp_path: Path) -> None:
    text = "some avg10=1.00 avg60=0.50 avg300=0.10 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=99"
    assert pressure.parse(text) == 123456
    assert pressure.parse("") is None
    fs = put(tmp_path, {"proc/pressure/cpu": text})
    assert pressure.read_waited_us(fs) == 123456
    assert pressure.read_waited_us(SysFs(tmp_path / "none")) is None


# ---- the clock ---------------------------------------------------------------------------------------------------


def test_userspace_governor_sets_the_speed_and_puts_the_governor_back(tmp_path: Path) -> None:
    put(tmp_path, cpufreq())
    fs, file = Recorder(tmp_path), settings(tmp_path)
    clock = CpuFreqPolicies(fs, file)
    assert clock.available_hz() == tuple(khz * 1e3 for khz in NANO_KHZ)
    with clock.hold(710.4e6):
        assert fs.log == [("scaling_governor", "userspace"), ("scaling_setspeed", "710400")]
        assert file.load()["cpufreq"] == {
            "policy0/scaling_governor": "schedutil",
            "policy0/scaling_min_freq": "102000",
            "policy0/scaling_max_freq": "1479000",
        }
    assert fs.log[2:] == [("scaling_governor", "schedutil")]
    assert not file.path.exists()


def test_a_speed_set_by_the_owner_comes_back(tmp_path: Path) -> None:
    put(tmp_path, cpufreq(governor="userspace") | {f"{POLICY}/scaling_setspeed": 921600})
    fs = Recorder(tmp_path)
    with CpuFreqPolicies(fs, settings(tmp_path)).hold(204.1e6):
        pass
    assert fs.log == [("scaling_setspeed", "204000"), ("scaling_setspeed", "921600")]


def pinned(root: Path, low: int, high: int) -> Recorder:
    """A policy without `userspace` and without a table (intel_pstate in active mode)."""
    files = cpufreq((low, high), "powersave") | {f"{POLICY}/scaling_available_governors": "performance powersave"}
    del files[f"{POLICY}/scaling_available_frequencies"]
    put(root, files)
    return Recorder(root)


def test_without_userspace_the_clock_is_pinned_by_its_limits(tmp_path: Path) -> None:
    fs = pinned(tmp_path, 800_000, 2_000_000)
    clock = CpuFreqPolicies(fs, settings(tmp_path))
    assert clock.available_hz() == (0.8e9, 1.1e9, 1.4e9, 1.7e9, 2.0e9)
    with clock.hold(1.1e9):
        assert fs.log == [("scaling_min_freq", "1100000"), ("scaling_max_freq", "1100000")]
    assert fs.log[2:] == [("scaling_min_freq", "800000"), ("scaling_max_freq", "2000000")]


@pytest.mark.parametrize(
    ("now", "then", "first"),
    [
        ((800, 800), (1000, 1000), "scaling_max_freq"),  # up: max first, or min would exceed it
        ((1000, 1000), (800, 800), "scaling_min_freq"),  # down: min first
        ((800, 1000), (900, 900), "scaling_min_freq"),
        ((900, 900), (800, 1000), "scaling_min_freq"),
        ((800, 900), (900, 1000), "scaling_min_freq"),
    ],
)
def test_min_never_exceeds_max_on_the_way(
    tmp_path: Path, now: tuple[int, int], then: tuple[int, int], first: str
) -> None:
    put(tmp_path, {f"{POLICY}/scaling_min_freq": now[0], f"{POLICY}/scaling_max_freq": now[1]})
    fs = Recorder(tmp_path)
    CpuFreqPolicies(fs, settings(tmp_path))._limit(POLICY, str(then[0]), str(then[1]))
    assert fs.log[0][0] == first
    limits = dict(zip(("scaling_min_freq", "scaling_max_freq"), now, strict=True))
    for name, khz in fs.log:
        limits[name] = int(khz)
        assert limits["scaling_min_freq"] <= limits["scaling_max_freq"]
    assert tuple(limits.values()) == then
    fs.log.clear()
    CpuFreqPolicies(fs, settings(tmp_path))._limit(POLICY, str(then[0]), str(then[1]))
    assert fs.log == []


def test_limits_of_the_owner_are_kept(tmp_path: Path) -> None:
    put(tmp_path, cpufreq() | {f"{POLICY}/scaling_max_freq": 921600})
    clock = CpuFreqPolicies(Recorder(tmp_path), settings(tmp_path))
    assert max(clock.available_hz()) == 921.6e6


def test_all_policies_are_set_and_the_worst_is_read(tmp_path: Path) -> None:
    second = "sys/devices/system/cpu/cpufreq/policy4"
    put(tmp_path, {**cpufreq(), **cpufreq((102000, 1000000), policy=second)})
    fs = Recorder(tmp_path)
    clock = CpuFreqPolicies(fs, settings(tmp_path))
    with clock.hold(921.6e6):
        assert [value for name, value in fs.log if name == "scaling_setspeed"] == ["921600", "1000000"]
    assert clock.read(1e9) == ClockReading(1e9, 1479e6, 1479e6)


def test_a_refused_write_restores_what_was_changed(tmp_path: Path) -> None:
    put(tmp_path, cpufreq())
    fs, file = Recorder(tmp_path, ["scaling_setspeed"]), settings(tmp_path)
    with pytest.raises(HardwareError, match="scaling_setspeed"), CpuFreqPolicies(fs, file).hold(204e6):
        raise AssertionError("not reached")
    assert fs.log == [("scaling_governor", "userspace"), ("scaling_governor", "schedutil")]
    assert not file.path.exists()


def test_what_a_killed_client_left_is_put_back_at_the_next_start(tmp_path: Path) -> None:
    fs = nano(tmp_path)
    held = CpuFreqPolicies(fs, settings(tmp_path)).hold(204e6)
    held.__enter__()  # and the client is killed here
    assert fs.read(f"{POLICY}/scaling_governor") == "userspace"
    board = discover(fs, settings(tmp_path))
    board.restore()
    assert fs.read(f"{POLICY}/scaling_governor") == "schedutil"
    assert not settings(tmp_path).path.exists()
    board.restore()  # nothing is left to do
    assert fs.read(f"{POLICY}/scaling_governor") == "schedutil"


def test_the_first_memory_of_the_settings_is_the_true_one(tmp_path: Path) -> None:
    file = settings(tmp_path)
    assert file.load() == {}
    file.save("cpufreq", {"a": "1"})
    file.save("cpufreq", {"a": "2"})
    file.save("txpower", {"dbm": "3"})
    assert file.load() == {"cpufreq": {"a": "1"}, "txpower": {"dbm": "3"}}
    file.forget("cpufreq")
    assert file.load() == {"txpower": {"dbm": "3"}}
    file.forget("txpower")
    assert not file.path.exists()
    file.path.write_text("{cut sho")
    assert file.load() == {}


def test_what_cannot_be_restored_stays_in_the_file(tmp_path: Path) -> None:
    put(tmp_path, cpufreq())
    fs, file = Recorder(tmp_path), settings(tmp_path)
    with CpuFreqPolicies(fs, file).hold(204e6):
        fs.refuse.add("scaling_governor")
    assert "cpufreq" in file.load()


def test_a_clock_that_may_not_be_written_is_not_offered(tmp_path: Path) -> None:
    assert CpuFreqPolicies(SysFs(tmp_path), settings(tmp_path)).available_hz() == ()
    files = cpufreq()
    del files[f"{POLICY}/scaling_setspeed"]
    assert CpuFreqPolicies(put(tmp_path, files), settings(tmp_path)).available_hz() == ()


def test_a_raspberry_pi_is_verified_by_its_firmware(tmp_path: Path) -> None:
    fs = put(tmp_path, cpufreq() | {"bin/vcgencmd": "#!/bin/sh\necho 'frequency(48)=600117184'"})
    firmware = Vcgencmd(fs, str(tmp_path / "bin/vcgencmd"))
    read = CpuFreqPolicies(fs, settings(tmp_path), firmware).read(1479e6)
    assert read == ClockReading(requested_hz=1479e6, accepted_hz=1479e6, verified_hz=600117184)


# ---- transmit power ----------------------------------------------------------------------------------------------

IW = """#!/bin/sh
echo "$@" >> {root}/iw.log
[ "$3" = info ] && echo "	txpower $(cat {root}/dbm) dBm"
[ "$3" = set ] && [ "$5" = fixed ] && [ -e {root}/honest ] && echo $(($6/100)).00 > {root}/dbm
exit 0"""


def wifi(root: Path) -> SysFs:
    return put(root, {"bin/iw": IW.format(root=root), "dbm": "20.00"})


def test_watts_and_dbm() -> None:
    assert txpower.to_dbm(0.1) == pytest.approx(20)
    assert txpower.to_w(10) == pytest.approx(0.01)
    assert txpower.parse_dbm("Interface wlan0\n\ttxpower 31.00 dBm\n") == 31
    assert txpower.parse_dbm("\ttxpower -1.50 dBm") == -1.5
    assert txpower.parse_dbm("type managed") is None


def test_transmit_power_is_set_read_back_and_restored(tmp_path: Path) -> None:
    fs = put(tmp_path / "r", {"honest": ""})
    fs = wifi(tmp_path / "r")
    file = settings(tmp_path)
    card = txpower.find(fs, file)
    assert card.capability == "accepted_unverified"
    with card.hold(0.01) as accepted_w:
        assert accepted_w == pytest.approx(0.01)
        assert file.load()["txpower"] == {"dbm": "20.00"}
    calls = (tmp_path / "r/iw.log").read_text().splitlines()
    assert calls[-1] == "dev wlan0 set txpower fixed 2000"
    assert "dev wlan0 set txpower fixed 1000" in calls
    assert not file.path.exists()


def test_a_radio_that_ignores_the_request_is_seen_in_the_read_back(tmp_path: Path) -> None:
    card = txpower.find(wifi(tmp_path), settings(tmp_path))
    with card.hold(0.01) as accepted_w:
        assert accepted_w == pytest.approx(0.1)


def test_a_wired_board_has_no_transmit_power(tmp_path: Path) -> None:
    card = txpower.find(SysFs(tmp_path), settings(tmp_path))
    assert card.capability == "unsupported"
    with card.hold(0.01) as accepted_w:
        assert accepted_w is None
    card.restore()
    routes = "Iface\tDestination\tGateway\nwlan0\t0000FEA9\t0\neth0\t00000000\t0101A8C0"
    fs = put(tmp_path, {"proc/net/route": routes, "bin/iw": "#!/bin/sh\n[ $2 = wlan0 ] && echo '\ttxpower 20.00 dBm'"})
    assert txpower.default_interface(routes) == "eth0"
    assert txpower.find(fs, settings(tmp_path)).capability == "unsupported"
    assert txpower.find(fs, settings(tmp_path), "wlan0").capability == "accepted_unverified"


def test_a_transmit_power_left_changed_is_restored_later(tmp_path: Path) -> None:
    fs, file = wifi(tmp_path), settings(tmp_path)
    file.save("txpower", {"dbm": "17.00"})
    discover(fs, file).restore()
    assert (tmp_path / "iw.log").read_text().splitlines()[-1] == "dev wlan0 set txpower fixed 1700"
    file.save("txpower", {})
    discover(fs, file).restore()
    assert (tmp_path / "iw.log").read_text().splitlines()[-1] == "dev wlan0 set txpower auto"
    assert not file.path.exists()
    file.save("txpower", {"dbm": "many"})
    discover(fs, file).restore()
    assert file.load()


# ---- the whole board ---------------------------------------------------------------------------------------------


def test_a_jetson_nano_is_recognised(tmp_path: Path) -> None:
    board = discover(nano(tmp_path), settings(tmp_path))
    can = board.capabilities(("torch",))
    assert can.board == "NVIDIA Jetson Nano Developer Kit"
    assert can.opps_hz == tuple(khz * 1e3 for khz in NANO_KHZ)
    assert (can.meter, can.meter_source, can.boundary) == ("ina3221", "measured", "board")
    assert (can.tx_power, can.cores, can.runtimes) == ("unsupported", 4, ("torch",))
    assert board.temperature_c() == 41.5
    assert board.waited_us() == 1000
    assert board.throttled() is None


def test_a_pi_5_uses_its_pmic_and_an_added_sensor_goes_before_it(tmp_path: Path) -> None:
    pi5 = {
        "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
        "bin/vcgencmd": "#!/bin/sh\necho throttled=0x4",
    }
    fs = put(tmp_path, pi5)
    board = discover(fs, settings(tmp_path))
    assert isinstance(board.meter, pmic.Pmic)
    assert board.throttled() is True
    put(tmp_path, {"sys/class/hwmon/hwmon1/name": "ina226"})
    assert isinstance(discover(fs, settings(tmp_path)).meter, ina2xx.Ina2xx)


def test_a_board_without_anything(tmp_path: Path) -> None:
    board = discover(SysFs(tmp_path), settings(tmp_path))
    can = board.capabilities(())
    assert (can.meter, can.meter_source, can.boundary, can.opps_hz) == ("none", "unavailable", None, ())
    assert can.cores >= 1
    assert board.temperature_c() is None
