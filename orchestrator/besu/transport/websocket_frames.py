"""A node's WebSocket connection that takes a bounded number of frames.

What a node may send in a second is bounded in bytes where messages are read. Frames of no message (pings, pongs) are
answered before that, and those of two bytes each come a hundred thousand in one read: a second of work.
"""

import asyncio
from http import HTTPStatus
from typing import Final

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.frames import Frame
from websockets.protocol import Event

from orchestrator.outside_text import presentable

MOST_FRAMES: Final = 5_000
"""Frames that a node may send within a second; a head is one, and so is a log."""
WINDOW_SECONDS: Final = 1.0
_REFUSAL_BYTES: Final = 1024
MOST_REFUSAL_BYTES: Final = 64 << 10
"""Of a refused upgrade no more is read: putting a body of many small chunks together takes time with their square."""
_PIECE_BYTES: Final = 4096
"""So much is read before frames are counted again."""


class BoundedConnection(ClientConnection):
    """Ends when too many frames come, or too much before the first.

    Attributes:
        flooded: Whether it did.
    """

    flooded = False
    _frames = 0
    _counted_since = float("-inf")
    _before_frames = 0

    def data_received(self, data: bytes) -> None:
        """Read what came, in pieces."""
        for start in range(0, len(data), _PIECE_BYTES):
            piece = data[start : start + _PIECE_BYTES]
            if self.response is None:
                self._before_frames += len(piece)
                if self._before_frames > MOST_REFUSAL_BYTES:
                    self._end()
            if self.flooded:
                return
            super().data_received(piece)

    def process_event(self, event: Event) -> None:
        """Count a frame, then do with it what is due."""
        if isinstance(event, Frame):
            self._count()
        if not self.flooded:
            super().process_event(event)

    def _count(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._counted_since > WINDOW_SECONDS:
            self._counted_since, self._frames = now, 0
        self._frames += 1
        if self._frames > MOST_FRAMES and not self.flooded:
            self._end()

    def _end(self) -> None:
        self.flooded = True
        self.transport.abort()


class ConnectHere(connect):
    """Follows no redirects: a node's address is the operator's to say, and a token is for nobody else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for the refusal that it is."""
        return exc


def is_unauthorized(errors: BaseExceptionGroup[BaseException]) -> bool:
    """Return whether a connection failed because our credentials were not taken."""
    error = _first(errors)
    return isinstance(error, InvalidStatus) and error.response.status_code == HTTPStatus.UNAUTHORIZED


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def failure_of(errors: BaseExceptionGroup[BaseException]) -> str:
    """Return why a connection failed, for a person: the first of its errors."""
    error = _first(errors)
    if isinstance(error, InvalidStatus):
        words = (error.response.body or b"")[:_REFUSAL_BYTES].decode("utf-8", "replace").strip()
        advice = "; add the host name to the node's --host-allowlist" if "Host not authorized" in words else ""
        return presentable(
            f"the upgrade was answered with HTTP {error.response.status_code} ({words or 'nothing'}){advice}"
        )
    return presentable(f"{type(error).__name__}: {error}")
