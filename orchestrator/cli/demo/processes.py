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
    # What is set for somebody's own daemon must not reach into this one's configuration.
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
        yield await until_ready(process, log, f"orchestrator {arguments[0]}", START_SECONDS)
    finally:
        await end(process, STOP_SECONDS)


async def until_ready(process: asyncio.subprocess.Process, log: Path, name: str, seconds: float) -> str:
    """Wait for a line that begins with ``ready``, and return what follows it there.

    Args:
        process: The process; its output is a pipe.
        log: What else it printed; the error has the end of it.
        name: What it is called in an error.
        seconds: How long it may take.

    Raises:
        ProcessError: It ended, or did not get ready in time.
    """
    output = process.stdout
    if output is None:
        raise ProcessError(f"{name} has no output")
    try:
        async with asyncio.timeout(seconds):
            async for line in output:
                word, _, rest = line.decode("utf-8", "replace").strip().partition(" ")
                # Nobody reads on: what a process prints behind this is a handful of lines, which the pipe holds.
                if word == "ready":
                    return rest
            code = await process.wait()
    except TimeoutError:
        raise ProcessError(f"{name} was not ready within {seconds:g} s{_end_of(log)}") from None
    raise ProcessError(f"{name} ended with code {code}{_end_of(log)}")


def _end_of(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").splitlines()[-_SHOWN_LINES:]
    return ":\n" + "\n".join(lines) if lines else ""


async def end(process: asyncio.subprocess.Process, seconds: float) -> None:
    """End a process: in order, and for certain after so many seconds."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
