"""What every verb needs: where to print, how to end, how to tell an error."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from enum import IntEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console

    from orchestrator.cli.client import DaemonClient

T = TypeVar("T")


class Exit(IntEnum):
    """Exit codes of every verb."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    PARKED = 3


_OF_STATE = {"succeeded": Exit.DONE, "failed": Exit.FAILED, "cancelled": Exit.FAILED, "parked": Exit.PARKED}
_USAGE = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)


def exit_code(state: str) -> Exit:
    """Return the exit code for a change in which nothing happens any more by itself."""
    return _OF_STATE.get(state, Exit.DONE)


def stdout_console() -> "Console":
    """Return where tables and lines go; no width limit when nobody looks."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=not sys.stdout.isatty(), width=None if sys.stdout.isatty() else 200)


def print_json(document: "BaseModel") -> None:
    """Print a document as one line of JSON."""
    typer.echo(document.model_dump_json())


def compact_json(document: object) -> str:
    """Return a parsed document as one line of JSON."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def fail(message: str, code: Exit = Exit.FAILED) -> typer.Exit:
    """Print an error on standard error; raise what is returned."""
    typer.secho(f"orchestrator: {message}", err=True, fg=typer.colors.RED)
    return typer.Exit(code)


def with_daemon(url: str, work: Callable[["DaemonClient"], Awaitable[T]]) -> T:
    """Do something with the daemon at an address; errors end the program with their message."""
    from orchestrator.cli.client import DaemonError, RefusedError, connect

    async def connected() -> T:
        async with connect(url) as client:
            return await work(client)

    try:
        return asyncio.run(connected())
    except RefusedError as error:
        mistaken = error.status in _USAGE and not error.conflicting
        raise fail(str(error), Exit.USAGE if mistaken else Exit.FAILED) from None
    except DaemonError as error:
        raise fail(str(error)) from None
    except BaseExceptionGroup as group:
        known, other = group.split(DaemonError)
        if known is None or other is not None:
            raise
        raise fail(str(_first(known))) from None
    except KeyboardInterrupt:
        typer.echo("", err=True)
        raise typer.Exit(Exit.FAILED) from None


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
