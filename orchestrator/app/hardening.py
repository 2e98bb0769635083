"""What the process forbids itself: files that others can read, and an image of its memory, in which keys are."""

import ctypes
import os
import resource
from typing import Final

import structlog

PRIVATE_UMASK: Final = 0o077
_PR_SET_DUMPABLE: Final = 4

log = structlog.get_logger()


def harden_process() -> None:
    """Make what the process creates readable by its user only, and keep its memory private."""
    os.umask(PRIVATE_UMASK)
    keep_memory_private()


def keep_memory_private() -> None:
    """Have no core dump written, nor the memory read by other processes of the same user.

    Where the system knows no such thing (anything but Linux) this does nothing.
    """
    try:
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))
    except (OSError, ValueError) as error:
        log.warning("core dumps are not switched off", reason=str(error))
    # The limit does not hold where the kernel hands dumps to a program (core(5), `core_pattern` with a pipe); this
    # does, and keeps other processes of the same user from reading our memory.
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None and prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("the process's memory can be dumped", reason="prctl refused it")
