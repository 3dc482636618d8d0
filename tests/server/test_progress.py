"""Plain lines where there is no terminal, a live table where there is one."""

from __future__ import annotations

import io
import re

import msgspec
import pytest

from edge_client.protocol.messages import Heartbeat
from server.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def beat(power_w: float | None) -> Heartbeat:
    return Heartbeat(device="nano-1", state="training", round=3, samples_done=48, power_w=power_w, freq_hz=1.479e9)


def test_plain_lines_only(capsys: object) -> None:
    out = io.StringIO()
    progress = Progress(out)
    with progress.showing():
        progress.title("tfl: round 1 of 2")
        progress.heartbeat(beat(3.0))
        progress.say("tfl round 1: [done]")
    assert out.getvalue() == "tfl round 1: [done]\n"


@pytest.mark.parametrize("state", ["[/x]", "[bold]on[/]", ":smile: [link=x]", "\x1b[2Jgone"])
def test_what_a_device_says_is_shown_as_it_is(state: str) -> None:
    out = Terminal()
    progress = Progress(out)
    with progress.showing():
        progress.title(f"waiting for {state}")
        progress.heartbeat(msgspec.structs.replace(beat(None), device=state, state=state))
        progress.say(f"refusal: reason {state}")
    text = out.getvalue()
    shown = state.replace("\x1b", "?")
    for line in (f"waiting for {shown}  (", f"refusal: reason {shown}"):
        assert line in text
    assert re.search(rf"{re.escape(shown)} +{re.escape(shown)} +48", text)
    assert "\x1b[2J" not in text


def test_plain_lines_hold_no_commands_of_a_terminal() -> None:
    out = io.StringIO()
    Progress(out).say("left-out: \x1b[2J\rnano")
    assert out.getvalue() == "left-out: ?[2J?nano\n"


def test_a_terminal_sees_the_devices() -> None:
    out = Terminal()
    progress = Progress(out)
    with progress.showing():
        progress.title("tfl: round 1 of 2")
        progress.heartbeat(beat(None))
        progress.say("kept [as it is]")
    text = out.getvalue()
    assert "kept [as it is]" in text
    for part in ("tfl: round 1 of 2", "nano-1", "training", "48", "1479"):
        assert part in text
