"""Why this device will not do what it is asked, in a sentence. Pure."""

from __future__ import annotations

from edge_client.costs import expected_j
from edge_client.events import Device, State
from edge_client.protocol.messages import NetworkSpec, Task


def unfit(device: Device, network: NetworkSpec) -> str | None:
    """Why this network cannot learn from this device's samples, or None."""
    if tuple(network.image_shape) != device.image_shape:
        return f"the network takes images {_by(network.image_shape)}, this device has {_by(device.image_shape)}"
    if network.n_classes != len(device.label_counts):
        return f"the network has {network.n_classes} classes, this device's data {len(device.label_counts)}"
    return None


def refused(state: State, task: Task, battery_j: float | None = None) -> str | None:
    """Why this device will not do the task, or None. `battery_j`: all the joules it has for it (None: not known, or fed
    from outside)."""
    device = state.device
    if state.barred is not None:
        return state.barred
    if task.run != state.run:
        return f"run {task.run} is not the one this device joined ({state.run})"
    if task.local_samples != device.local_samples:
        return f"the task counts on {task.local_samples} local samples, this device has {device.local_samples}"
    if task.synth_samples > device.storage_samples:
        return f"{task.synth_samples} synthetic samples exceed the room for {device.storage_samples}"
    if (task.shard is None) != (task.synth_samples == 0):
        return f"{task.synth_samples} synthetic samples and {'no' if task.shard is None else 'a'} shard do not agree"
    planned = sum(segment.samples for segment in task.segments)
    wanted = task.local_epochs * (task.local_samples + task.synth_samples)
    if planned != wanted:
        return f"the segments hold {planned} samples, {task.local_epochs} epochs need {wanted}"
    return unfit(device, task.network) or _beyond(state, task, battery_j)


def _beyond(state: State, task: Task, battery_j: float | None) -> str | None:
    """Why the battery does not hold the task, or None."""
    update = state.finished.update if state.finished else None
    need_j = expected_j(task, state.costs, update.upload.duration_s if update else None)
    if need_j is None or battery_j is None or need_j <= battery_j:
        return None
    return f"the task takes {need_j:.0f} J or more, its battery holds {battery_j:.0f} J, and nothing charges the board"


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))
