"""An address that leads to one server or another, as a virtual address, a service or a proxy does at a failover."""

import contextlib
import socket
import threading
from typing import Self

from tests.servers.ports import free_port

_BYTES = 1 << 16


class Switch:
    """Forwards TCP connections on 127.0.0.1 to a port of the same; threads of the test's process.

    Args:
        target: The port that connections lead to.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._open: set[socket.socket] = set()

    def lead_to(self, target: int, *, cut: bool) -> None:
        """Lead new connections elsewhere; cut those that are open, or leave them where they are."""
        self.target = target
        for one in list(self._open) if cut else ():
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.lead_to(self.target, cut=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                try:
                    server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                self._open |= {client, server}
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._forward, args=(one, other), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while content := one.recv(_BYTES):
                other.sendall(content)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.discard(one)
        one.close()
