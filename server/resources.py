"""Disks and memory that run out, by name: whatever command it happens to, what was done is kept."""

from __future__ import annotations

import errno
import os
import sys
from concurrent.futures.process import BrokenProcessPool

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a write says where a disk, or a user's share of one, is full."""
GO_ON = "what was done is kept: the same command goes on from there"


def explained(error: BaseException) -> str | None:
    """The sentence for a full disk, memory that ran out or a worker that was killed; None for any other error."""
    if isinstance(error, OSError) and error.errno in FULL:
        where = f" for {error.filename}" if error.filename else ""
        return f"{os.strerror(error.errno or 0)}{where}; make room: {GO_ON}"
    if isinstance(error, BrokenProcessPool):
        return f"a worker process was ended from outside, most often because memory ran out; fewer --workers: {GO_ON}"
    if is_out_of_memory(error):
        said = str(error).split(".")[0]
        return f"memory ran out ({said or type(error).__name__}); a smaller network or batch needs less: {GO_ON}"
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Of Python or NumPy, of a GPU, or of PyTorch's CPU allocator, whose error has no class of its own."""
    torch = sys.modules.get("torch")  # where nobody has loaded it, the error is not its
    return (
        isinstance(error, MemoryError)
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or "DefaultCPUAllocator" in str(error)
    )
