"""An address that leads to one server or another, as a virtual address, a service or a proxy does at a failover."""

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Self

from tests.servers.ports import free_port

_BYTES = 1 << 16
_NOBODY = 1
"""A port on which nothing listens."""


class Switch:
    """Forwards TCP connections on 127.0.0.1 to a port of the same; threads of the test's process.

    Args:
        target: The port that connections lead to.
        observed: Told what clients send, before it goes on; in the threads.
    """

    def __init__(self, target: int, observed: Callable[[bytes], None] = lambda _: None) -> None:
        self.target = target
        self._observed = observed
        self.port = free_port()
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self._open: set[socket.socket] = set()
        self._leading = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()

    def refuse(self) -> None:
        """Cut what is open, and refuse what comes, as a host without that service does."""
        self.lead_to(_NOBODY, cut=True)

    def freeze(self) -> None:
        """Let nothing through, while connections stay open and new ones are taken, as a lost network does."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let everything through again, what was held up first."""
        self._flowing.set()

    def lead_to(self, target: int, *, cut: bool) -> None:
        """Lead new connections elsewhere; cut those that are open, or leave them where they are."""
        with self._leading:
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
        self.thaw()
        self.lead_to(self.target, cut=True)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                target = self.target
                try:
                    server = socket.create_connection(("127.0.0.1", target), timeout=5)
                except OSError:
                    client.close()
                    continue
                server.settimeout(None)
                with self._leading:
                    self._open |= {client, server}
                    if target != self.target:  # led elsewhere meanwhile, perhaps to cut what was open before
                        for end in (client, server):
                            with contextlib.suppress(OSError):
                                end.shutdown(socket.SHUT_RDWR)
                for one, other, told in ((client, server, self._observed), (server, client, None)):
                    threading.Thread(target=self._forward, args=(one, other, told), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket, told: Callable[[bytes], None] | None) -> None:
        with contextlib.suppress(OSError):
            while content := one.recv(_BYTES):
                if told is not None:
                    told(content)
                self._flowing.wait()
                other.sendall(content)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.discard(one)
        one.close()
