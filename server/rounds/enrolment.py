"""Who takes part and what was measured on them: joins, profiles, and one upload of real size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import (
    BlobRef,
    Join,
    NetworkSpec,
    ProfileReport,
    ProfileRequest,
    Segment,
    Task,
    Update,
)
from edge_client.protocol.weights import Weights, pack
from server.calibrated import ends, judge, refused, unfit
from server.config import RunConfig, Strategy
from server.errors import FleetError
from server.measured import no_joules, opp_table, pick_freqs
from server.rounds.graph_offers import offer_graphs
from server.rounds.live import LiveFleet
from server.rounds.round_run import RoundJob
from server.rounds.tasks import LEASE_S
from server.run_dir import CalibrationUse, Enrolled, LinkMeasurement
from server.unplanned import needs_joules

SLOW = 4.0
"""A device may take this many times what its windows add up to before it is given up."""

WINDOWS_A_CLOCK = 2
"""A device may measure a clock a second time where the first window speaks against its board."""

WAKE_S = 120.0

LEAST_METER_SAMPLES = 5
"""Fewer meter samples than this in an upload say nothing about its power."""


async def enrol_devices(
    fleet: LiveFleet, config: RunConfig, network: NetworkSpec, run: str, weights: Weights, wire_round: int
) -> tuple[Enrolled, ...]:
    """Wait for the devices and measure them all at once; `wire_round` numbers the trial upload.

    Raises FleetError where they do not come, or one of them cannot be planned for.
    """
    joins = await fleet.enrol(
        config.n_devices, config.fleet.enrol_timeout_s, frozenset(board.id for board in config.boards)
    )
    check_able(joins, config.strategies)
    await offer_graphs(fleet, config, network, joins)
    profiles = await measure_profiles(fleet, config, network, run, joins)
    profiles, used = await from_calibrations(fleet, config, network, run, joins, profiles)
    links = await measure_links(fleet, config, network, run, weights, wire_round, joins)
    enrolled = tuple(
        Enrolled(join=join, profile=profiles[join.device], link=links[join.device], calibration=used.get(join.device))
        for join in joins
    )
    if needs_joules(config.strategies):
        for device in enrolled:
            opp_table(device)  # a meter that is there may still have measured nothing
    return enrolled


def check_able(joins: Iterable[Join], strategies: Iterable[Strategy]) -> None:
    """Raise FleetError where a strategy weighs joules and a device has none to count; all such devices are named.

    A clock that cannot be set is no obstacle: such a board is planned with its one operating point.
    """
    if not needs_joules(strategies):
        return
    wrong = [no_joules(join) for join in joins if join.capabilities.meter_source == "unavailable"]
    if wrong:
        raise FleetError("; ".join(wrong))


def clocks_to_measure(join: Join, config: RunConfig) -> tuple[float, ...]:
    """The clocks that a plan may ask of a device; none where it is not asked for any: it cannot set one, or has no
    joules to weigh them by."""
    able = join.capabilities
    if able.meter_source == "unavailable":
        return ()
    return pick_freqs(able.opps_hz, config.profile.freqs, config.profile.slowest)


def clocks_to_time(join: Join, config: RunConfig) -> tuple[float, ...]:
    """Those that are measured at first: of a board with a fitting calibration the highest and the lowest."""
    freqs_hz = clocks_to_measure(join, config)
    return ends(freqs_hz) if offers_calibration(join, config) and unfit(join, freqs_hz) is None else freqs_hz


def offers_calibration(join: Join, config: RunConfig) -> bool:
    """Whether a device has a calibration, and more clocks to measure than its two ends."""
    return join.calibration is not None and len(clocks_to_measure(join, config)) > 2


async def from_calibrations(
    fleet: LiveFleet,
    config: RunConfig,
    network: NetworkSpec,
    run: str,
    joins: tuple[Join, ...],
    profiles: Mapping[str, ProfileReport],
) -> tuple[dict[str, ProfileReport], dict[str, CalibrationUse]]:
    """Hold calibrations against the profiles measured so far; where one is found out, all clocks are measured."""
    used: dict[str, CalibrationUse] = {}
    again = []
    for join in joins:
        if offers_calibration(join, config):
            freqs_hz = clocks_to_measure(join, config)
            why = unfit(join, freqs_hz)
            if why is not None:  # then all clocks have been measured
                used[join.device] = refused(why)
                continue
            use = judge(join, profiles[join.device], freqs_hz, network, config.training.batch_size)
            used[join.device] = use
            again += [] if use.points else [join]
    if not again:
        return dict(profiles), used
    return {**profiles, **await measure_profiles(fleet, config, network, run, tuple(again), clocks_to_measure)}, used


async def wake_devices(
    fleet: LiveFleet, config: RunConfig, network: NetworkSpec, run: str, enrolled: tuple[Enrolled, ...]
) -> None:
    """After a resumption: a moment of training at top clock, so that no round pays for the start of the trainers."""
    known = frozenset(device.id for device in enrolled)
    joins = await fleet.enrol(len(known), config.fleet.enrol_timeout_s, known)
    await offer_graphs(fleet, config, network, joins)
    requests = {
        join.device: ProfileRequest(
            run=run,
            network=network,
            batch_size=config.training.batch_size,
            freqs_hz=pick_freqs(join.capabilities.opps_hz, 1, 1.0),
            window_s=0.5,
            settle_s=0.0,
        )
        for join in joins
    }
    await fleet.profile(requests, WAKE_S)


async def measure_profiles(
    fleet: LiveFleet,
    config: RunConfig,
    network: NetworkSpec,
    run: str,
    joins: tuple[Join, ...],
    clocks: Callable[[Join, RunConfig], tuple[float, ...]] = clocks_to_time,
) -> dict[str, ProfileReport]:
    """Profiles of all at their `clocks`; a device whose windows were starved is measured once more, with longer
    windows."""

    def requests(devices: Mapping[str, Join], stretch: float) -> dict[str, ProfileRequest]:
        return {
            device: ProfileRequest(
                run=run,
                network=network,
                batch_size=config.training.batch_size,
                freqs_hz=clocks(join, config),
                window_s=config.profile.window_s * stretch,
                settle_s=config.profile.settle_s,
            )
            for device, join in devices.items()
        }

    def patience_s(stretch: float) -> float:
        window_s = config.profile.window_s * stretch + config.profile.settle_s
        return 300.0 + SLOW * (WINDOWS_A_CLOCK * config.profile.freqs + 1) * window_s

    by_id = {join.device: join for join in joins}
    reports = await fleet.profile(requests(by_id, 1.0), patience_s(1.0))
    starved = {device: by_id[device] for device, report in reports.items() if any(p.starved for p in report.points)}
    if starved:
        reports |= await fleet.profile(requests(starved, 1.5), patience_s(1.5))
    if empty := sorted(device for device, report in reports.items() if not report.points):
        raise FleetError(f"the profile of {', '.join(empty)} holds no measurement; see the log of its client")
    return reports


async def measure_links(
    fleet: LiveFleet,
    config: RunConfig,
    network: NetworkSpec,
    run: str,
    weights: Weights,
    wire_round: int,
    joins: tuple[Join, ...],
) -> dict[str, LinkMeasurement]:
    """One round that is thrown away: what the codec really sends, how fast, and what sending costs.

    Devices that share a link have a round each, one after another: what one of them alone can send would not be seen
    where others send, too.
    """
    together = [joins] if config.fleet.shared_link_bits_per_s is None else [(join,) for join in joins]
    found: dict[str, LinkMeasurement] = {}
    for some in together:
        found |= await _trial_round(fleet, config, network, run, weights, wire_round, some)
    return found


async def _trial_round(
    fleet: LiveFleet,
    config: RunConfig,
    network: NetworkSpec,
    run: str,
    weights: Weights,
    wire_round: int,
    joins: tuple[Join, ...],
) -> dict[str, LinkMeasurement]:
    """The links of devices that send at the same time."""
    model = pack(weights)
    ref = blob_ref(model, config.broker.chunk_bytes)
    deadline_s = config.fleet.round_deadline_s or 600.0
    outcome = await fleet.run_round(
        RoundJob(
            run=run,
            round=wire_round,
            tasks={join.device: _trial_task(config, network, run, wire_round, ref, join, deadline_s) for join in joins},
            weights=weights,
            model=model,
            shards={},
            quorum=len(joins),
            deadline_s=deadline_s,
        )
    )
    updates = {update.device: update for update in outcome.state.updates}
    silent = sorted({join.device for join in joins} - updates.keys())
    if silent:
        reasons = [f"{closed.device}: {closed.reason}" for closed in outcome.state.closed if closed.device in silent]
        reasons += [f"{device}: {reason}" for device, reason in outcome.state.out.items()]
        why = f" ({'; '.join(reasons)})" if reasons else ""
        raise FleetError(f"the trial upload failed on {', '.join(silent)}{why}")
    if empty := sorted(device for device, update in updates.items() if not update.upload.bits):
        raise FleetError(f"the trial upload of {', '.join(empty)} had no bits: such a link cannot be planned")
    return {device: link_of(update) for device, update in updates.items()}


def link_of(update: Update) -> LinkMeasurement:
    """The way to the server as an upload saw it."""
    upload = update.upload
    added_j = upload.energy.added_j
    told = added_j is not None and upload.energy.samples >= LEAST_METER_SAMPLES and upload.energy.duration_s > 0
    return LinkMeasurement(
        up_bits=upload.bits,
        up_bits_per_s=upload.bits / max(upload.duration_s, 1e-6),
        power_w=max(0.0, added_j / upload.energy.duration_s) if told and added_j is not None else None,
    )


def _trial_task(
    config: RunConfig, network: NetworkSpec, run: str, wire_round: int, model: BlobRef, join: Join, deadline_s: float
) -> Task:
    """Own samples once through, at the top clock."""
    local = sum(join.label_counts)
    training = config.training
    top_hz = max(join.capabilities.opps_hz, default=None)
    return Task(
        run=run,
        round=wire_round,
        network=network,
        model=model,
        shard=None,
        local_epochs=1,
        local_samples=local,
        synth_samples=0,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        clip_norm=training.clip_norm,
        seed=config.seed,
        segments=(Segment(freq_hz=top_hz, samples=local),),
        tx_power_w=None,
        upload_bits_per_s=None,
        chunk_bytes=model.chunk_bytes,
        deadline_s=deadline_s,
        lease_s=LEASE_S,
        prox=training.prox,
    )
