"""Signers that other packages bring: entry points of the group ``orchestrator.signers``.

An entry point names a function of an account's address and its settings that returns an asynchronous context manager
of a ``KeyService``. It runs in this process with all rights of it: install what you trust.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import entry_points
from typing import Any, Final

from orchestrator.besu.client.signer_ports import KeyService, SignerError
from orchestrator.outside_text import presentable

GROUP: Final = "orchestrator.signers"
OPEN_SECONDS: Final = 30.0
_MOST_CHARACTERS: Final = 200

Opener = Callable[[str, Mapping[str, Any]], AbstractAsyncContextManager[KeyService]]
"""Opens a service for an account ("0x…" in lower case) with its settings; asks nothing of it yet.

Settings that end in ``_file`` are absolute paths. It raises `ValueError` for settings that can't be used.
"""


def installed_names() -> tuple[str, ...]:
    """Return the names of the signers that installed packages bring."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


@asynccontextmanager
async def installed_service(name: str, address: str, settings: Mapping[str, Any]) -> AsyncIterator[KeyService]:
    """Use a service of an installed package while the context lasts.

    Args:
        name: The entry point's.
        address: The account's.
        settings: Whatever it takes.

    Raises:
        SignerError: There is none of the name, or it can't be opened.
    """
    point = next(iter(entry_points(group=GROUP, name=name)), None)
    if point is None:
        known = ", ".join(installed_names()) or "none"
        raise SignerError(f"no installed package brings a signer {name}; installed are: {known}")
    try:
        opener: Opener = point.load()
        context = opener(address.lower(), dict(settings))
        async with asyncio.timeout(OPEN_SECONDS):
            service = await context.__aenter__()
    except Exception as error:
        words = presentable(str(error), _MOST_CHARACTERS).strip()
        raise SignerError(f"the signer {name} can't be opened: {type(error).__name__} ({words})") from error
    try:
        yield service
    finally:
        async with asyncio.timeout(OPEN_SECONDS):
            await context.__aexit__(None, None, None)
