"""A child that is to die with its parent, where the parent was quicker."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial

import pytest

from edge_client.protocol.processes import die_with_parent


@pytest.mark.parametrize(("parent_died", "said", "code"), [(False, b"here\n", 0), (True, b"", 143)])
def test_an_orphan_ends_before_it_begins(parent_died: bool, said: bytes, code: int) -> None:
    """Where the parent died before the child could ask to be told, the child has another parent by now."""
    parent = os.getpid() + parent_died  # nobody's number but ours is right
    command = [sys.executable, "-c", "print('here')"]
    child = subprocess.run(command, stdout=subprocess.PIPE, preexec_fn=partial(die_with_parent, parent))
    assert (child.stdout, child.returncode) == (said, code)
