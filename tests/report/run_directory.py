"""A small run directory with numbers that can be worked out by hand, written with the server's own values.

Two boards, two strategies, five rounds of 20 s; `a` is a virtual board, `b` has no meter when `metered` is False.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_client.protocol.messages import (
    BlobRef,
    Capabilities,
    EnergyReading,
    Join,
    NetworkSpec,
    OppPoint,
    ProfileReport,
    RadioOutcome,
    SegmentOutcome,
    TaskClosed,
    Update,
    UploadOutcome,
)
from server.plan.problem import DevicePlan, PlanRecord
from server.run_dir import (
    Enrolled,
    FinalRecord,
    LinkMeasurement,
    PlannedWork,
    RoundRecord,
    RunDir,
    RunInfo,
    StrategyPlan,
)

ACCURACY = {"tfl": (0.2, 0.3, 0.4, 0.5, 0.6), "fimi": (0.4, 0.6, 0.7, 0.75, 0.8)}
ADDED_J = {"tfl": 50.0, "fimi": 60.0}  # a task of either device
IDLE_W = 2.0
TASK_S = 20.0
COUNTS = {"a": (30, 10, 0), "b": (0, 5, 35)}
FILL = {"a": (0, 10, 20), "b": (25, 20, 0)}

CONFIG = """\
name = "small"
seed = 7
strategy = ["tfl", "fimi"]

[training]
rounds = 5

[[boards]]
id = "a"
profile = "jetson-nano"

[[boards]]
id = "b"
profile = "raspberry-pi-5"
"""


RADIO = RadioOutcome(
    requested_w=0.1,
    accepted_w=0.08,
    capability="accepted_unverified",
    signal_dbm=-61.0,
    link_bits_per_s=72e6,
    interface_bytes=1500,
    airtime_s=0.25,
    share="paced",
    requested_bits_per_s=9000.0,
)


def reading(added_j: float | None, seconds: float = TASK_S) -> EnergyReading:
    """A reading with `added_j` above an idle floor of 2 W; None: no meter."""
    measured = added_j is not None
    return EnergyReading(
        energy_j=added_j + IDLE_W * seconds if added_j is not None else None,
        duration_s=seconds,
        idle_power_w=IDLE_W if measured else None,
        source="measured" if measured else "unavailable",
        boundary="board" if measured else None,
        meter="ina3221" if measured else "none",
        uncertainty=0.02 if measured else None,
        samples=200,
    )


def enrolled(device: str, *, metered: bool = True) -> Enrolled:
    able = Capabilities(
        board="Jetson Nano" if device == "a" else "Raspberry Pi 5",
        opps_hz=(1e9, 2e9),
        meter="ina3221" if metered else "none",
        meter_source="measured" if metered else "unavailable",
        boundary="board" if metered else None,
        tx_power="unsupported",
        runtimes=("torch",),
        cores=4,
    )
    join = Join(
        device=device,
        run="small",
        label_counts=COUNTS[device],
        storage_samples=100,
        capabilities=able,
        client_version="0",
    )
    point = OppPoint(
        freq_hz=1e9, verified_hz=1e9, s_per_sample=0.1, j_per_sample=0.5, samples=40, duration_s=4.0, uncertainty=None
    )
    report = ProfileReport(device=device, run="small", idle=reading(0.0 if metered else None, 4.0), points=(point,))
    return Enrolled(join=join, profile=report, link=LinkMeasurement(up_bits=8000, up_bits_per_s=1e6, power_w=0.5))


def update(device: str, wire_round: int, added_j: float | None, *, starved: bool | None) -> Update:
    """Four fifths of the joules go into training, a tenth into the upload."""
    compute, upload = (None if added_j is None else part * added_j for part in (0.8, 0.1))
    segment = SegmentOutcome(
        requested_hz=1e9, accepted_hz=1e9, verified_hz=1e9, violation_s=0.0, samples=40, duration_s=16.0,
        energy=reading(compute, 16.0), starved=starved, throttled=None,
    )  # fmt: skip
    return Update(
        device=device,
        run="small",
        round=wire_round,
        weights=BlobRef(digest="0" * 64, size_bytes=1000, chunk_bytes=500),
        samples=40,
        train_loss=1.0,
        segments=(segment,),
        compute=reading(compute, 16.0),
        upload=UploadOutcome(
            bits=8000,
            duration_s=1.0,
            energy=reading(upload, 1.0),
            radio=RADIO if device == "a" else RadioOutcome(requested_w=None, accepted_w=None, capability="unsupported"),
        ),
    )


def closed(device: str, wire_round: int, added_j: float | None, *, aborted: bool = False) -> TaskClosed:
    return TaskClosed(
        device=device,
        run="small",
        round=wire_round,
        outcome="aborted" if aborted else "done",
        reason="",
        energy=reading(added_j),
        samples_trained=40,
        bytes_sent=1000,
        bytes_received=2000,
    )


def record(strategy: str, number: int, wire_round: int, *, metered: bool = True, starved: bool = False) -> RoundRecord:
    """Both devices did their task; only the first window of the run is starved, if any."""
    joules = {"a": ADDED_J[strategy], "b": ADDED_J[strategy] if metered else None}
    return RoundRecord(
        strategy=strategy,
        round=number,
        wire_round=wire_round,
        status="complete",
        started_at=0.0,
        duration_s=TASK_S,
        accuracy=ACCURACY[strategy][number - 1],
        loss=1.0,
        test_samples=100,
        verdicts=dict.fromkeys("ab", "accepted"),
        updates=tuple(update(d, wire_round, j, starved=starved and wire_round == 1) for d, j in joules.items()),
        closed=tuple(closed(device, wire_round, j) for device, j in joules.items()),
        stray=(),
        lost=(),
        planned={d: PlannedWork(compute_j=40.0, upload_j=2.0, compute_s=16.0, upload_s=1.0, samples=40) for d in "ab"},
        model_digest="0" * 64,
    )


def strategy_plan(strategy: str) -> StrategyPlan:
    devices = tuple(
        DevicePlan(
            id=device, samples=40.0, compute_s=16.0, upload_s=1.0, bandwidth_hz=0.0, tx_power_w=None, compute_j=40.0,
            upload_j=2.0, executed_samples=40, segments=(), executed_compute_s=16.0, executed_compute_j=40.0,
            synth_counts=FILL[device] if strategy == "fimi" else (0, 0, 0),
        )
        for device in "ab"
    )  # fmt: skip
    plan = PlanRecord(
        method="exact", energy_basis="added", energy_j=84.0, lower_bound_j=84.0, relative_gap=0.0,
        executed_energy_j=84.0, executed_gap=0.0, price_error_j=0.0, price_bandwidth_j_per_hz=0.0,
        seconds=0.1, devices=devices,
    )  # fmt: skip
    return StrategyPlan(strategy=strategy, round_s=20.0, target_error=None, plan=plan, certified=True)


def images(counts: tuple[int, ...], seed: int) -> dict[str, np.ndarray]:
    """Noise of shape (N, 8, 8, 1) with labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(counts)), counts)
    return {"x": rng.integers(0, 256, (len(labels), 8, 8, 1), dtype=np.uint8), "y": labels}


def append(path: Path, strategy: str, *records: RoundRecord) -> None:
    RunDir(path)._append(f"rounds-{strategy}.jsonl", records)


def write_run(path: Path, *, metered: bool = True, starved: bool = False, config: str = CONFIG) -> Path:
    """The whole directory; returns `path`."""
    path.mkdir(parents=True)
    (path / "config.toml").write_text(config)
    folder = RunDir(path)
    network = NetworkSpec(name="tiny", image_shape=(8, 8, 1), n_classes=3)
    info = RunInfo(
        id=path.name,
        created="2026-01-01",
        base_dir=".",
        network=network,
        class_names=("ant", "bee", "cat"),
        versions={"python": "3.11"},
    )
    folder.save("run.json", info)
    folder.save("devices.json", (enrolled("a"), enrolled("b", metered=metered)))
    for device, counts in COUNTS.items():
        folder.save_arrays(f"data/{device}.npz", **images(counts, 0))
        folder.save_arrays(folder.shard_name("fimi", device), **images(FILL[device], 1))
    for start, strategy in ((1, "tfl"), (6, "fimi")):
        folder.save_plan(strategy_plan(strategy))
        records = [record(strategy, n + 1, start + n, metered=metered, starved=starved) for n in range(5)]
        append(path, strategy, *records)
        final = FinalRecord(
            strategy=strategy, accuracy=0.55, loss=1.0, test_samples=1000, class_accuracy=(0.5,), seconds=1.0
        )
        folder.save(f"final-{strategy}.json", final)
    return path
