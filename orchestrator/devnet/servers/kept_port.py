"""A port that stays its server's own while nothing listens on it."""

import asyncio
import contextlib
import socket
from typing import Final

TRIES: Final = 25
PAUSE_SECONDS: Final = 0.02


class KeptPort:
    """The port of a server that is closed and opened again.

    While it is closed the system would give it to whoever asks for any port, a client that connects to somebody else
    included, and the server could not come back. So a second socket, which never listens, is bound to it until the
    end; whoever connects is refused meanwhile.

    Args:
        host: its address.
        number: 0 for a free one.

    Attributes:
        number: the port, once it was bound.
    """

    def __init__(self, host: str, number: int) -> None:
        self.number = number
        self._host = host
        self._keeping: socket.socket | None = None

    async def bound(self) -> socket.socket:
        """Return a socket to listen with.

        Raises:
            OSError: the port is taken.
        """
        bound = await self._free()
        self.number = int(bound.getsockname()[1])
        if self._keeping is None:
            # Linux lets two sockets have a port as long as none listens; where that is not so it is only not kept.
            with contextlib.suppress(OSError):
                self._keeping = self._bind()
        return bound

    def give_back(self) -> None:
        """Let others have the port."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.close()

    async def _free(self) -> socket.socket:
        # A program that is being started has copies of all our sockets for some milliseconds, those that were closed
        # right then included (between fork and exec).
        for _ in range(TRIES):
            with contextlib.suppress(OSError):
                return self._bind()
            await asyncio.sleep(PAUSE_SECONDS)
        return self._bind()

    def _bind(self) -> socket.socket:
        bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((self._host, self.number))
        except OSError:
            bound.close()
            raise
        return bound
