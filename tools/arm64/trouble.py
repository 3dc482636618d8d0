"""What can go wrong: one error, said in one sentence."""

from __future__ import annotations


class Trouble(Exception):
    """What was wrong and what would be right; ends the command with status 1."""
