"""What every verb needs: where to print, how to end, how to tell an error."""

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

    from orchestrator.client import DaemonClient

T = TypeVar("T")

PIPE_COLUMNS = 10_000
"""Nothing that is read by a program is wrapped."""


class Exit(IntEnum):
    """Exit codes of every verb."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARKED = 3
    INTERRUPTED = 130


_OF_STATE = {"succeeded": Exit.DONE, "failed": Exit.FAILED, "cancelled": Exit.FAILED, "parked": Exit.PARKED}
_USAGE = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


def exit_code(state: str) -> Exit:
    """Return the exit code for a change in which nothing happens any more by itself."""
    return _OF_STATE.get(state, Exit.DONE)


def on_terminal() -> bool:
    """Return whether a person looks at what is printed."""
    return sys.stdout.isatty()


def without_style() -> bool:
    """Return whether nothing may be coloured, bold or dim (https://no-color.org)."""
    return bool(os.environ.get("NO_COLOR"))


def stdout_console() -> "Console":
    """Return where tables and lines go: as wide as the terminal; without limit and style when nobody looks."""
    from rich.console import Console

    if on_terminal():
        return Console(highlight=False, color_system=None if without_style() else "auto")
    # Rich takes 80 columns for what is no terminal, and would break lines that a program reads.
    return Console(highlight=False, color_system=None, soft_wrap=True, width=PIPE_COLUMNS)


def print_json(document: "BaseModel") -> None:
    """Print a document as one line of JSON."""
    typer.echo(document.model_dump_json())


def compact_json(document: object) -> str:
    """Return a parsed document as one line of JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def broken(text: str) -> str:
    """Return a text for standard error, its lines broken between words where they are longer than the terminal."""
    if not sys.stderr.isatty():
        return text
    import shutil
    import textwrap

    width = shutil.get_terminal_size().columns
    lines = (textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) for line in text.splitlines())
    return "\n".join("\n".join(wrapped) for wrapped in lines)


def say(text: str) -> None:
    """Tell a person something that is no part of what a program reads."""
    typer.echo(broken(text), err=True)


def fail(message: str, code: Exit = Exit.FAILED) -> typer.Exit:
    """Print an error on standard error; raise what is returned."""
    colour = False if without_style() else None
    typer.secho(broken(f"orchestrator: {message}"), err=True, fg=typer.colors.RED, color=colour)
    return typer.Exit(code)


def quieten() -> None:
    """Keep the log of what looks at nodes off the terminal: what it comes to is told by the verb itself."""
    from orchestrator.log import configure_logging

    configure_logging("error")


def with_daemon(
    url: str, work: Callable[["DaemonClient"], Awaitable[T]], on_interrupt: Callable[[], str] = lambda: ""
) -> T:
    """Do something with the daemon at an address; errors end the program with their message.

    Args:
        url: The daemon's address.
        work: What to do.
        on_interrupt: Returns what is said when Ctrl-C ends it.
    """
    from orchestrator.cli.credentials import FILE_VARIABLE, TOKEN_VARIABLE, CredentialError, token
    from orchestrator.client import DaemonError, RefusedError, UsageError, connect

    try:
        shown = token()
    except CredentialError as error:
        raise fail(str(error), Exit.USAGE) from None

    async def connected() -> T:
        async with connect(url, shown) as client:
            return await work(client)

    try:
        return asyncio.run(connected())
    except UsageError as error:
        for mistake in error.mistakes[:-1]:
            fail(mistake)
        raise fail(error.mistakes[-1], Exit.USAGE) from None
    except RefusedError as error:
        if error.status == HTTPStatus.UNAUTHORIZED:
            raise fail(f"{error} Set {TOKEN_VARIABLE}, or {FILE_VARIABLE} to a file with it.", Exit.USAGE) from None
        mistaken = error.status in _USAGE and not error.conflicting
        raise fail(str(error), Exit.USAGE if mistaken else Exit.FAILED) from None
    except DaemonError as error:
        raise fail(str(error)) from None
    except BaseExceptionGroup as group:
        # One task of several may have failed in a way that nobody foresaw: that is shown whole.
        known, other = group.split(DaemonError)
        if known is None or other is not None:
            raise
        raise fail(str(first_of(known))) from None
    except KeyboardInterrupt:
        say(on_interrupt())
        raise typer.Exit(Exit.INTERRUPTED) from None


def first_of(error: BaseException) -> BaseException:
    """Return an error, or the first of a group of errors, however deep it is in it."""
    return first_of(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
