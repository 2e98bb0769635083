"""Where a node finds its enclave behind a guard: loopback or a Unix socket only, with TLS if wanted."""

import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final

from aiohttp import web

from orchestrator.app.unix_sockets import bound_to

SOCKET_MODE: Final = 0o600
LARGEST_BODY_BYTES: Final = 512 * 1024 * 1024
"""More than the largest bundle that a node can send; bodies are passed on as they come and not held."""

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def listening(
    answer: Answer, listen: str, tls: ssl.SSLContext | None = None, *, shared: bool = False
) -> AsyncIterator[str]:
    """Answer requests at an address as long as the block is in; yields the address.

    Args:
        answer: Answers a request.
        listen: "host:port" on loopback, port 0 for a free one; or "unix:/path", which is made readable by this user
            only.
        tls: To be spoken at a port; None for plain HTTP.
        shared: Whether a second guard of this user may have the same port. Guards of different nodes must not: each
            would ask its own enclave for the other's payloads.

    Raises:
        OSError: The address is taken or can't be had.
    """
    application = web.Application(client_max_size=LARGEST_BODY_BYTES)
    application.router.add_route("*", "/{path:.*}", answer)
    # What is under way at the end gets two seconds only: the node asks again for whatever is cut off.
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0, handle_signals=False)
    await runner.setup()
    try:
        if listen.startswith("unix:"):
            yield await _on_socket(runner, Path(listen.removeprefix("unix:")))
        else:
            host, _, port = listen.rpartition(":")
            yield await _on_port(runner, host, int(port), tls, shared=shared)
    finally:
        await runner.cleanup()


async def _on_socket(runner: web.AppRunner, path: Path) -> str:
    await web.SockSite(runner, bound_to(path, SOCKET_MODE)).start()
    return f"unix:{path}"


async def _on_port(runner: web.AppRunner, host: str, port: int, tls: ssl.SSLContext | None, *, shared: bool) -> str:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            # The kernel gives a second one the connections of one that is gone.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host.strip("[]"), port))
    except OSError:
        bound.close()
        raise
    await web.SockSite(runner, bound, ssl_context=tls).start()
    return f"{'https' if tls else 'http'}://{host}:{bound.getsockname()[1]}"
