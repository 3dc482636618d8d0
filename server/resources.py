"""Disks and memory that run out, by name: whatever command it happens to, what was done is kept."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What a write says where a disk, or a user's share of one, is full."""
GO_ON = "what was done is kept: the same command, or fimi-server run --resume for a run, goes on from there"
_NO_MEMORY = (
    "DefaultCPUAllocator",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDA error: out of memory",
)
"""What PyTorch says where it has no class of error for it."""

T = TypeVar("T")


def explained(error: BaseException) -> str | None:
    """The sentence for a full disk, memory that ran out or a worker that was killed; None for any other error."""
    if isinstance(error, OSError) and error.errno in FULL:
        where = f" for {error.filename}" if error.filename else ""
        return f"{os.strerror(error.errno or 0)}{where}; make room: {GO_ON}"
    if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return f"No space left on device for the registry of devices; make room: {GO_ON}"
    if isinstance(error, BrokenProcessPool):
        return f"a worker process was ended from outside, most often because memory ran out; fewer --workers: {GO_ON}"
    if is_out_of_memory(error):
        said = str(error).split(".")[0]
        return f"memory ran out ({said or type(error).__name__}); free some, or ask for less at once: {GO_ON}"
    return None


def unless_out_of_memory(call: Callable[[], T]) -> T | None:
    """What `call` returns, None where memory ran out in it: whoever handles that does so outside of the handler of the
    error, whose traceback would hold on to the memory of what failed."""
    try:
        return call()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Of Python or NumPy, of a GPU, or of PyTorch's CPU allocator."""
    torch = sys.modules.get("torch")  # where nobody has loaded it, the error is not its
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or (torch is not None and isinstance(error, torch.OutOfMemoryError))
        or any(said in str(error) for said in _NO_MEMORY)
    )
