"""Whose joules count, and for which strategy: words of strangers, of other runs, of other strategies, and late ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_client.protocol.chunks import blob_ref
from edge_client.protocol.messages import AnyMessage, Heartbeat, Refusal, TaskClosed, encode
from edge_client.protocol.topics import Topics
from server.rounds import training
from server.rounds.last_words import Earlier, file_words, note_round, owners
from server.rounds.live import LiveFleet
from server.rounds.round_run import RoundJob, RoundOutcome
from server.run_dir import RunDir
from tests.rounds.fake_device import closed_of, join_of, profile_of
from tests.rounds.test_live import HELLO, task_of
from tests.rounds.test_training import ScriptedFleet, course, train

TOPICS = Topics("f")
TASK = task_of(5, blob_ref(b"model", 64), None, 4)
STRATEGIES = ("tfl", "fimi")


def word(device: str = "a", round_: int = 5, run: str = "r") -> TaskClosed:
    return msgspec.structs.replace(closed_of(TASK, device, "aborted"), round=round_, run=run)


class Ear:
    """A fleet that is not connected; what it hears is put to it by hand. Device "a" has joined run "r"."""

    def __init__(self, before: Earlier | None = None) -> None:
        self.noted: list[tuple[str, dict[str, Any]]] = []
        self.fleet = LiveFleet(
            TOPICS, HELLO, lambda kind, **fields: self.noted.append((kind, fields)), before or Earlier()
        )
        self.hears(join_of("a", "r", (3, 1)), "a")
        self.noted.clear()

    def hears(self, message: AnyMessage, device: str) -> None:
        self.fleet._received(TOPICS.to_server(device), encode(message))


def test_the_word_of_a_device_that_joined_counts() -> None:
    ear = Ear()
    ear.hears(word(), "a")
    assert ear.fleet.take_stray() == (word(),)
    assert [kind for kind, _ in ear.noted] == ["task-closed"]


@pytest.mark.parametrize(
    ("closed", "why"),
    [
        (word(run="yesterday"), "the task was of another run"),
        (word(run="r.2"), "the task was of another run"),
        (word(device="x"), "the device has not joined"),
    ],
)
def test_a_foreign_word_is_noted_and_not_counted(closed: TaskClosed, why: str) -> None:
    ear = Ear()
    ear.hears(closed, closed.device)
    assert ear.fleet.take_stray() == ()
    assert ear.noted == [("not-counted", {"device": closed.device, "run": closed.run, "round": 5, "reason": why})]


def test_words_on_earlier_attempts_at_the_run_count_before_their_devices_have_joined_again() -> None:
    events = [
        {"event": "started"}, {"event": "joined", "device": "b"},
        {"event": "started"}, {"event": "rejoined", "device": "c"},
    ]  # fmt: skip
    before = Earlier.of("q", events)
    assert before == Earlier(frozenset({"q", "q.2"}), frozenset({"b", "c"}))
    ear = Ear(before)
    for closed in (word("b", run="q"), word("c", run="q.2"), word("d", run="q"), word("b", run="q.3")):
        ear.hears(closed, closed.device)
    assert ear.fleet.take_stray() == (word("b", run="q"), word("c", run="q.2"))


def test_a_profile_and_a_refusal_of_another_run_answer_nothing() -> None:
    ear = Ear()
    ear.hears(profile_of("a", "yesterday", (1e9,)), "a")
    ear.hears(Refusal(device="a", run="yesterday", round=None, reason="no"), "a")
    assert (ear.fleet._roster.profiles, ear.fleet._roster.refusals) == ({}, {})
    assert ear.noted == [
        ("of-another-run", {"device": "a", "run": "yesterday", "message": "ProfileReport"}),
        ("of-another-run", {"device": "a", "run": "yesterday", "message": "Refusal"}),
    ]
    ear.hears(profile_of("a", "r", (1e9,)), "a")
    ear.hears(Refusal(device="a", run="r", round=None, reason="no"), "a")
    assert (set(ear.fleet._roster.profiles), ear.fleet._roster.refusals) == ({"a"}, {"a": "no"})


def test_the_heart_of_a_stranger_is_not_shown() -> None:
    ear = Ear()
    for device in ("x", "a"):
        beat = Heartbeat(device=device, state="", round=None, samples_done=0, power_w=None, freq_hz=None)
        ear.hears(beat, device)
    assert [fields["message"].device for _, fields in ear.noted] == ["a"]


def test_a_word_goes_to_the_strategy_whose_round_it_was(tmp_path: Path) -> None:
    """Round 1 is the trial, 2 was tfl's and was interrupted, 3 is fimi's; of 9 nothing is known."""
    folder = RunDir.create(tmp_path, "r", now=0.0)
    for wire_round, strategy in ((1, None), (2, "tfl"), (3, "fimi")):
        note_round(folder, wire_round, strategy)
    assert owners(folder, STRATEGIES) == {1: None, 2: "tfl", 3: "fimi"}
    words = [word(round_=n) for n in (1, 2, 3, 9, 3)]
    assert file_words(folder, STRATEGIES, words, "fimi") == (word(round_=3), word(round_=9))
    assert folder.take_stray("tfl") == (word(round_=2),)
    dropped = folder.events()[-1]
    assert (dropped["event"], dropped["round"]) == ("not-counted", 1)
    assert dropped["reason"] == "the round belongs to no strategy"
    assert file_words(folder, STRATEGIES, [word(round_=9)], None) == ()


def test_a_record_knows_its_round_where_no_note_does(tmp_path: Path) -> None:
    from tests.report import run_directory as small

    folder = RunDir(small.write_run(tmp_path / "r"))
    assert owners(folder, STRATEGIES) == dict.fromkeys(range(1, 6), "tfl") | dict.fromkeys(range(6, 11), "fimi")


async def test_a_round_is_owned_before_it_is_sent_out(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    with pytest.raises(KeyboardInterrupt):
        await train(ScriptedFleet("both", KeyboardInterrupt()), folder, course())
    assert len(folder.rounds("fimi")) == 1
    assert owners(folder, STRATEGIES) == {7: "fimi", 8: "fimi"}


class WithStray(ScriptedFleet):
    """Every round hears last words on rounds 2 (of tfl) and 3 (of fimi)."""

    async def run_round(self, job: RoundJob) -> RoundOutcome:
        outcome = await super().run_round(job)
        stray = (word(round_=2), word(round_=3))
        return RoundOutcome(outcome.state, outcome.mean, stray, outcome.duration_s)


async def test_a_late_word_on_an_earlier_strategy_is_not_charged_to_this_one(tmp_path: Path) -> None:
    folder = RunDir.create(tmp_path, "r", now=0.0)
    note_round(folder, 2, "tfl")
    note_round(folder, 3, "fimi")
    await train(WithStray("both"), folder, course(rounds=1))
    (record,) = folder.rounds("fimi")
    assert record.stray == (word(round_=3),)
    assert folder.take_stray("tfl") == (word(round_=2),)


async def test_a_round_that_was_done_but_not_evaluated_keeps_its_joules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "evaluate", interrupted)
    folder = RunDir.create(tmp_path, "r", now=0.0)
    with pytest.raises(KeyboardInterrupt):
        await train(ScriptedFleet("both"), folder, course())
    assert folder.rounds("fimi") == ()
    assert [(c.device, c.round) for c in folder.take_stray("fimi")] == [("a", 7), ("b", 7)]
