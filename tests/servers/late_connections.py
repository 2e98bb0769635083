"""Connections that nobody is at fault for when they are open at the end of a test.

Their sockets would be found open when they are collected, which is told as a warning, an error in whichever test runs
by then. No program is harmed by them; tests close them.

A connection reaches its server some turns of the event loop after it was accepted. Python 3.11 loses one that comes
when the server is closed already. A browser, or a daemon that connects again, brings one now and then; tests that look
for it themselves put `ACCEPT_AS_IT_IS` back.

One with TLS that was closed stays open until the other end has said goodbye, too; a busy one does so when the event
loop of the test has ended.
"""

from asyncio.selector_events import BaseSelectorEventLoop
from asyncio.sslproto import SSLProtocol
from typing import Any, Final

ACCEPT_AS_IT_IS: Final = BaseSelectorEventLoop._accept_connection2  # type: ignore[attr-defined] # of Python 3.11, not public
_CLOSE: Final = BaseSelectorEventLoop.close


async def _accept(
    loop: Any, protocol_factory: Any, connection: Any, extra: Any, tls: Any = None, server: Any = None, *more: Any
) -> None:
    if server is not None and not server.sockets:
        connection.close()
        return
    await ACCEPT_AS_IT_IS(loop, protocol_factory, connection, extra, tls, server, *more)


def _close(loop: Any) -> None:
    closing = [transport for transport in loop._transports.values() if _says_goodbye(transport)]
    for transport in closing:
        transport.abort()
    if closing and not loop.is_closed():
        loop.call_soon(loop.stop)
        loop.run_forever()
    _CLOSE(loop)


def _says_goodbye(transport: Any) -> bool:
    protocol = transport.get_protocol()
    return isinstance(protocol, SSLProtocol) and bool(getattr(protocol._app_transport, "_closed", False))


def close_late_connections() -> None:
    """Have such connections closed from now on."""
    BaseSelectorEventLoop._accept_connection2 = _accept  # type: ignore[attr-defined] # of Python 3.11, not public
    BaseSelectorEventLoop.close = _close  # type: ignore[assignment, method-assign] # what is replaced is the mend
