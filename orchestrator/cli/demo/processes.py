"""Child processes of the demo: started with their output in a log, waited for until ready, ended by their id."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 25.0
_SHOWN_LINES: Final = 15


class ProcessError(Exception):
    """A child process did not do what it is there for; the message has the end of its log."""


@asynccontextmanager
async def orchestrator_process(log: Path, *arguments: str, url: str = "") -> AsyncIterator[str]:
    """Run ``orchestrator`` with arguments while the context lasts; yields what it printed behind ``ready``.

    Args:
        log: File for everything else that it prints.
        arguments: A verb and its options.
        url: Daemon address for its environment.

    Raises:
        ProcessError: It ended, or did not get ready in time.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")}
    if url:
        environment["ORCHESTRATOR_URL"] = url
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "orchestrator",
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=environment,
            start_new_session=True,  # Ctrl-C is for the demo, which ends its children in order
        )
    try:
        yield await _ready(process, log, arguments[0])
    finally:
        await _end(process)


async def _ready(process: asyncio.subprocess.Process, log: Path, verb: str) -> str:
    output = process.stdout
    if output is None:
        raise ProcessError(f"orchestrator {verb} has no output")
    try:
        async with asyncio.timeout(START_SECONDS):
            async for line in output:
                word, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
                if word == "ready":
                    return rest
            code = await process.wait()
    except TimeoutError:
        raise ProcessError(f"orchestrator {verb} was not ready within {START_SECONDS:g} s{_end_of(log)}") from None
    raise ProcessError(f"orchestrator {verb} ended with code {code}{_end_of(log)}")


def _end_of(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-_SHOWN_LINES:]
    return ":\n" + "\n".join(lines) if lines else ""


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
