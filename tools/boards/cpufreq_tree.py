"""A cpufreq policy in sysfs files: Documentation/admin-guide/pm/cpufreq.rst of the kernel, kHz throughout.

`Policy` is the pure part: what a write does. Plain files cannot refuse a write, so `CpufreqTree.poll`, called every few
milliseconds, puts back what a kernel would not have taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from firmware_profiles.schema import Cpu
from tools.boards.files import Replacer, WriteWatch

GOVERNORS = ("conservative", "ondemand", "userspace", "powersave", "performance", "schedutil")
WRITABLE = ("scaling_governor", "scaling_min_freq", "scaling_max_freq", "scaling_setspeed")
_READ_ONLY = ("scaling_cur_freq", "cpuinfo_cur_freq")
_BASE = "sys/devices/system/cpu/cpufreq"


@dataclass(frozen=True)
class Policy:
    """The policy's settings; `target_khz` is what userspace asked for last.

    Without `userspace` it is one of intel_pstate (Documentation/admin-guide/pm/intel_pstate.rst): the processor chooses
    within the limits, under its `powersave` too.
    """

    opps_khz: tuple[int, ...]
    governor: str
    min_khz: int
    max_khz: int
    target_khz: int
    userspace: bool = True

    @property
    def governors(self) -> tuple[str, ...]:
        """Those on offer."""
        return GOVERNORS if self.userspace else ("performance", "powersave")

    @property
    def cur_khz(self) -> int:
        """The clock in force. Demand-driven governors stand at the top: a board that trains is always in demand."""
        if self.governor == "userspace":
            return self._resolve(self.target_khz)
        slow = self.governor == "powersave" and self.userspace
        return self._resolve(self.min_khz if slow else self.max_khz)

    def _resolve(self, khz: int) -> int:
        """The lowest point at or above the target within the limits, as the kernel's RELATION_L does."""
        khz = min(max(khz, self.min_khz), self.max_khz)
        allowed = [opp for opp in self.opps_khz if opp <= self.max_khz] or [self.opps_khz[0]]
        return next((opp for opp in allowed if opp >= khz), allowed[-1])

    def apply(self, writes: Mapping[str, str]) -> Policy:
        """The policy after these writes, by file name; what a kernel refuses has no effect."""
        policy = self
        governor = writes.get("scaling_governor", "").strip()
        if governor in policy.governors and governor != policy.governor:
            policy = replace(policy, governor=governor, target_khz=policy.cur_khz)
        low, high = (self._limit(writes.get(name)) for name in ("scaling_min_freq", "scaling_max_freq"))
        # both limits may have moved since the last look; in whichever order they were written, the pair must fit
        both = (low or policy.min_khz, high or policy.max_khz)
        for new_min, new_max in (both, (both[0], policy.max_khz), (policy.min_khz, both[1])):
            if new_min <= new_max:
                policy = replace(policy, min_khz=new_min, max_khz=new_max)
                break
        speed = writes.get("scaling_setspeed", "").strip()
        if policy.governor == "userspace" and speed.isdecimal():
            policy = replace(policy, target_khz=int(speed))
        return policy

    def _limit(self, text: str | None) -> int | None:
        text = (text or "").strip()
        return min(max(int(text), self.opps_khz[0]), self.opps_khz[-1]) if text.isdecimal() else None

    def files(self) -> dict[str, str]:
        """What can change, as sysfs shows it."""
        userspace = self.governor == "userspace"
        return {
            "scaling_governor": f"{self.governor}\n",
            "scaling_min_freq": f"{self.min_khz}\n",
            "scaling_max_freq": f"{self.max_khz}\n",
            "scaling_setspeed": f"{self.cur_khz}\n" if userspace else "<unsupported>\n",
            "scaling_cur_freq": f"{self.cur_khz}\n",
            "cpuinfo_cur_freq": f"{self.cur_khz}\n",
        }


class CpufreqTree:
    """The files of one policy under a board's root."""

    def __init__(
        self,
        root: Path,
        replacer: Replacer,
        opps_hz: tuple[float, ...],
        governor: str,
        cores: int,
        *,
        first_cpu: int = 0,
        userspace: bool = True,
    ) -> None:
        """A policy of `cores` CPUs from `first_cpu` on; without `userspace` as intel_pstate makes it."""
        opps_khz = tuple(round(hz / 1000) for hz in opps_hz)
        self.policy = Policy(opps_khz, governor, opps_khz[0], opps_khz[-1], opps_khz[-1], userspace)
        self.freq_hz = self.policy.cur_khz * 1000.0
        """The clock that the kernel says is in force."""
        self._boot = self.policy
        self._folder = root / _BASE / f"policy{first_cpu}"
        self._replacer = replacer
        self._shown: dict[str, str] = {}
        self._paths = {name: str(self._folder / name) for name in self.policy.files()}
        self._folder.mkdir(parents=True, exist_ok=True)
        cpus = " ".join(map(str, range(first_cpu, first_cpu + cores)))
        fixed = {
            "affected_cpus": cpus,
            "related_cpus": cpus,
            "cpuinfo_min_freq": str(opps_khz[0]),
            "cpuinfo_max_freq": str(opps_khz[-1]),
            "scaling_available_governors": " ".join(self.policy.governors),
            "scaling_driver": "cpufreq-dt" if userspace else "intel_pstate",
        }
        if userspace:
            fixed["scaling_available_frequencies"] = " ".join(map(str, opps_khz))
        for name, text in fixed.items():
            replacer.write(self._folder / name, text + "\n")
        self._show(self.policy, WRITABLE)
        self._late = False
        self._watch = WriteWatch(self._folder)

    @property
    def as_booted(self) -> bool:
        """True when governor and limits stand as at the start."""
        return replace(self.policy, target_khz=0) == replace(self._boot, target_khz=0)

    def reboot(self) -> None:
        """Back to the settings at the start."""
        self._show(self._boot, WRITABLE)

    def poll(self) -> bool:
        """Take over what was written since the last call and put back what is refused; True if anything was written.

        A client writes several files in a row. So a writable file is never replaced, only overwritten, and it is left
        alone until a whole tick has passed without a write, unless what stands in it was refused.
        """
        if not self._watch.written():
            if self._late:
                self._late = False
                self._overwrite(self.policy.files(), WRITABLE)
            return False
        found = {name: text for name in WRITABLE if (text := self._read(name)).strip()}
        writes = {name: text for name, text in found.items() if text.strip() != self._shown[name].strip()}
        if not writes:
            return False
        self._shown.update(writes)
        self._show(self.policy.apply(writes), tuple(writes))
        self._late = True
        return True

    def _read(self, name: str) -> str:
        """The file's text; empty between its truncation and its write: another event will come."""
        try:
            return Path(self._paths[name]).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "missing"

    def close(self) -> None:
        """The files stay."""
        self._watch.close()

    def _show(self, policy: Policy, writable: tuple[str, ...]) -> None:
        """`policy` is in force; of the files that a client may write, only `writable` are touched."""
        self.policy = policy
        self.freq_hz = policy.cur_khz * 1000.0
        files = policy.files()
        for name in _READ_ONLY:
            if self._shown.get(name) != files[name]:
                self._shown[name] = files[name]
                self._replacer.write(self._paths[name], files[name])
        self._overwrite(files, writable)

    def _overwrite(self, files: dict[str, str], names: tuple[str, ...]) -> None:
        for name in names:
            if self._shown.get(name, "").strip() != files[name].strip():
                self._shown[name] = files[name]
                Path(self._paths[name]).write_text(files[name], encoding="ascii")


class Clusters:
    """All policies of a board. It runs at the clock of the slowest: a training step waits for every core."""

    def __init__(self, root: Path, replacer: Replacer, cpu: Cpu, opps_hz: tuple[float, ...]) -> None:
        self.trees: list[CpufreqTree] = []
        first_cpu = 0
        for cores in cpu.clusters or (cpu.cores,):
            self.trees.append(
                CpufreqTree(
                    root, replacer, opps_hz, cpu.governor, cores,
                    first_cpu=first_cpu, userspace=cpu.pinning == "userspace",
                )
            )  # fmt: skip
            first_cpu += cores

    @property
    def freq_hz(self) -> float:
        """The clock that the kernel says is in force."""
        return min(tree.freq_hz for tree in self.trees)

    @property
    def as_booted(self) -> bool:
        """True when governors and limits stand as at the start."""
        return all(tree.as_booted for tree in self.trees)

    def reboot(self) -> None:
        """Back to the settings at the start."""
        for tree in self.trees:
            tree.reboot()

    def poll(self) -> bool:
        """See CpufreqTree; every policy is looked at."""
        written = [tree.poll() for tree in self.trees]
        return any(written)

    def close(self) -> None:
        """The files stay."""
        for tree in self.trees:
            tree.close()
