"""Who is there: the devices that joined, which of them are online, and what they answered outside of rounds.

What is wrong with an offer, or meant for another run, is noted and changes nothing. No asyncio, no network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from edge_client.protocol.messages import Join, ProfileReport, ProfileRequest, Refusal, ServerHello
from server.errors import FleetError

Notify = Callable[..., None]
"""notify(kind, **fields): something happened."""


class Roster:
    """The devices that answer one server's hello."""

    def __init__(self, hello: ServerHello, notify: Notify) -> None:
        self.joins: dict[str, Join] = {}
        self.online: set[str] = set()
        self.profiles: dict[str, ProfileReport] = {}
        self.refusals: dict[str, str] = {}
        self._hello = hello
        self._notify = notify

    # ---- what comes in -------------------------------------------------------------------------------------------

    def heard_online(self, device: str, online: bool) -> None:
        """The broker's word on whether a device is connected."""
        if online != (device in self.online):
            self._notify("online" if online else "offline", device=device)
        (self.online.add if online else self.online.discard)(device)

    def heard_join(self, join: Join) -> bool:
        """An offer; says whether it is that of a device which had joined before."""
        n_classes = self._hello.network.n_classes
        if join.run != self._hello.run:
            return False  # an answer to an earlier hello; the next one is on its way
        if len(join.label_counts) != n_classes:
            self._notify(
                "left-out", device=join.device, reason=f"{len(join.label_counts)} classes instead of {n_classes}"
            )
            return False
        if sum(join.label_counts) == 0:
            self._notify("left-out", device=join.device, reason="it has no samples")
            return False
        again = join.device in self.joins
        self.joins[join.device] = join
        self._notify("rejoined" if again else "joined", device=join.device, board=join.capabilities.board)
        return again

    def heard_profile(self, report: ProfileReport) -> None:
        """The answer to a profile request."""
        if self._of_this_run(report):
            self.profiles[report.device] = report

    def heard_refusal(self, refusal: Refusal) -> bool:
        """Why a device cannot do what it was asked; says whether that is a matter of a round."""
        if not self._of_this_run(refusal):
            return False
        self._notify("refusal", device=refusal.device, round=refusal.round, reason=refusal.reason)
        if refusal.round is None:
            self.refusals[refusal.device] = refusal.reason
        return refusal.round is not None

    def _of_this_run(self, message: ProfileReport | Refusal) -> bool:
        """Whether it answers us; what was said to an earlier server is noted, and answers nothing here."""
        if message.run == self._hello.run:
            return True
        what = type(message).__name__
        self._notify("of-another-run", device=message.device, run=message.run, message=what)
        return False

    # ---- what is waited for --------------------------------------------------------------------------------------

    def enough(self, n_devices: int, ids: frozenset[str]) -> bool:
        """Whether all of `ids`, and `n_devices` in all, have joined."""
        return ids <= self.joins.keys() and len(self.joins) >= n_devices

    def too_few(self, n_devices: int, ids: frozenset[str], timeout_s: float) -> FleetError:
        """Who is missing, and what those that refused said."""
        missing = sorted(ids - self.joins.keys())
        return FleetError(
            f"{len(self.joins)} of {n_devices} devices joined within {timeout_s:g} s"
            + (f"; missing: {', '.join(missing)}" if missing else "")
            + "".join(f"; {device} refused: {reason}" for device, reason in self.refusals.items())
        )

    def forget_answers(self, devices: Iterable[str]) -> None:
        """They are about to be asked again."""
        for device in devices:
            self.profiles.pop(device, None)
            self.refusals.pop(device, None)

    def answered(self, devices: Iterable[str]) -> bool:
        """Whether each has sent its profile or refused."""
        return all(device in self.profiles or device in self.refusals for device in devices)

    def profiles_of(self, requests: Mapping[str, ProfileRequest], timeout_s: float) -> dict[str, ProfileReport]:
        """What came within the time; raises FleetError where a device refused, or has not answered."""
        for device in sorted(requests):
            if device in self.refusals:
                raise FleetError(f"{device} cannot be measured: {self.refusals[device]}")
        late = sorted(requests.keys() - self.profiles.keys())
        if late:
            raise FleetError(f"no profile within {timeout_s:.0f} s from {', '.join(late)}")
        return {device: self.profiles[device] for device in requests}
