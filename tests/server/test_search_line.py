"""The line of a search: every two tenths of a second on a terminal, every ten seconds elsewhere."""

from __future__ import annotations

import io

from server.search_line import SearchLine


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def line(out, *clock):
    return SearchLine("ce", out, now=iter(clock).__next__)


def test_a_file_gets_a_line_now_and_then_and_a_last_one():
    out = io.StringIO()
    told = line(out, 0.0, 9.0, 15.0, 16.0)
    told(100, 10_000, 5.5)
    told(200, 10_000, 5.25)
    told(300, 10_000, 5.0)
    told.end()
    # 15 s for 200: 9,800 more take 735 s
    assert out.getvalue().splitlines() == [
        "ce: 200 of 10,000 candidates, best 5.25 J; at most 12:15 min left, Ctrl-C takes what is found",
        "ce: 300 of 10,000 candidates, best 5 J",
    ]


def test_a_terminal_has_one_line_that_is_written_over():
    out = Terminal()
    told = line(out, 0.0, 1.0, 1.1)
    told(50, 100, 2.0)
    told(100, 100, 1.0)
    told.end()
    assert out.getvalue() == (
        "\r\x1b[2Kce: 50 of 100 candidates, best 2 J; at most 1 s left, Ctrl-C takes what is found"
        "\r\x1b[2Kce: 100 of 100 candidates, best 1 J\n"
    )


def test_where_nothing_was_searched_nothing_is_said():
    out = Terminal()
    line(out, 0.0).end()
    assert out.getvalue() == ""
