"""Child processes of a benchmark: started, waited for, measured from outside by their id, ended by it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from orchestrator.cli.demo.processes import ProcessError, end, until_ready

START_SECONDS: Final = 120.0
STOP_SECONDS: Final = 40.0
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_USER_TICKS, _SYSTEM_TICKS = 11, 12
"""Places in /proc/PID/stat behind the command's name."""


@dataclass(frozen=True, slots=True)
class Child:
    """A running child.

    Attributes:
        process: It.
        said: What it printed behind ``ready``.
        log: Everything else that it printed.
    """

    process: asyncio.subprocess.Process
    said: str
    log: Path

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used, all threads together."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[_USER_TICKS]) + int(fields[_SYSTEM_TICKS])) / _TICKS

    def memory_mib(self) -> float:
        """Return its resident memory."""
        return self._status("VmRSS")

    def peak_memory_mib(self) -> float:
        """Return the most resident memory that it had."""
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name + ":"):
                return int(line.split()[1]) / 1024
        raise ProcessError(f"the kernel does not tell {name}")


def orchestrator(*arguments: str) -> list[str]:
    """Return the command line of ``orchestrator`` with arguments."""
    return [sys.executable, "-m", "orchestrator", *arguments]


@asynccontextmanager
async def child(log: Path, command: list[str], environment: dict[str, str] | None = None) -> AsyncIterator[Child]:
    """Run a program while the context lasts, from the moment that it prints a line that begins with ``ready``.

    Raises:
        ProcessError: It ended, or did not get ready in time.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env={**clean, **(environment or {})},
            start_new_session=True,
        )
    try:
        yield Child(process, await until_ready(process, log, command[-1], START_SECONDS), log)
    finally:
        await end(process, STOP_SECONDS)
