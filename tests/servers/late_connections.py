"""Connections that come while a server in the tests' process closes.

A connection reaches its server some turns of the event loop after it was accepted. Python 3.11 loses one that comes
when the server is closed already: its socket is found open when it is collected, which is told as a warning, an error
in whichever test runs by then. A browser, or a daemon that connects again, brings one now and then. No program is
harmed by it; tests that look for it themselves put `ACCEPT_AS_IT_IS` back.
"""

from asyncio.selector_events import BaseSelectorEventLoop
from typing import Any, Final

ACCEPT_AS_IT_IS: Final = BaseSelectorEventLoop._accept_connection2  # type: ignore[attr-defined]


async def _accept(
    loop: Any, protocol_factory: Any, connection: Any, extra: Any, tls: Any = None, server: Any = None, *more: Any
) -> None:
    if server is not None and not server.sockets:
        connection.close()
        return
    await ACCEPT_AS_IT_IS(loop, protocol_factory, connection, extra, tls, server, *more)


def close_late_connections() -> None:
    """Have late connections closed from now on."""
    BaseSelectorEventLoop._accept_connection2 = _accept  # type: ignore[attr-defined]
