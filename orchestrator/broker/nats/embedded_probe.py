"""Asking a NATS server whether it still stores, by a connection of two questions, and a look at its disk.

A disk that was full, or a bound of storage that was computed from what was free when the server started, leaves it
connected and answering, and storing nothing. Only a write tells, and only of the stream that it goes to: one whose
write failed takes nothing any more until the server is started again, however much room there is, while the others go
on. Spoken without the client library, whose connection stays up whatever JetStream does.
"""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

ANSWER_SECONDS: Final = 3.0
_STREAM: Final = "orchestrator-probe"
_SUBJECT: Final = "orchestrator.probe"
_INBOX: Final = "_INBOX.probe"
_MOST_BYTES: Final = 1 << 20

_LEAST_FAILURES: Final = 2
_MOST_FAILURES: Final = 100
_ROOM_BYTES: Final = 16 << 20
_FULL_BYTES: Final = 1 << 20
"""With less room than that a message may have found none."""
_FAILED: Final = b"failed to store a msg on stream"
"""What the server says in its log of a stream that takes nothing any more."""
_READ_BYTES: Final = 64 << 10


class StoreWatch:
    """Whether a server has given up storing, of all streams or of one, and when a start would mend it.

    Args:
        directory: Where it keeps its streams and its log, ``nats.log``.
        url: Its address, with the token that it asks for.

    Attributes:
        trouble: Why it does not store, for a person; empty while nothing speaks against it.
    """

    def __init__(self, directory: Path, url: str) -> None:
        self.trouble = ""
        self._directory = directory
        self._url = url
        self._failures, self._successes, self._patience = 0, 0, _LEAST_FAILURES
        self._broken = False
        self._log_read = self._log_size()

    async def start_helps(self) -> bool:
        """Look once more; True when it is to be started again now.

        Without room a start changes nothing, and each costs the clients their connections. One that still stores
        nothing after a start is left alone for longer each time.
        """
        usage = shutil.disk_usage(self._directory)
        # Of a small file system its parts count: what is room for a large one is more than it has in all.
        full = usage.free < min(_FULL_BYTES, usage.total // 16)
        room = usage.free >= min(_ROOM_BYTES, usage.total // 8)
        # Kept until a start: a stream whose write failed stays broken, and the probe's own may have had luck.
        self._broken = self._said_failed() or full or self._broken
        if not self._broken and await stores(self._url):
            self._failures, self._successes, self.trouble = 0, self._successes + 1, ""
            if self._successes >= self._patience:
                self._patience = _LEAST_FAILURES
            return False
        self._failures += 1
        self._successes = 0
        if self._failures < self._patience:
            return False
        self.trouble = (
            f"the embedded message queue stores nothing: {usage.free >> 10} KiB are free in {self._directory}; "
            + ("it is started again" if room else "make room, then it goes on by itself")
        )
        if not room:
            return False
        self._broken, self._failures, self._patience = False, 0, min(self._patience * 2, _MOST_FAILURES)
        return True

    def _said_failed(self) -> bool:
        """Whether its log tells of a message that was not stored, in what was written since the last look."""
        size, before = self._log_size(), self._log_read
        self._log_read = size
        if size == before:
            return False
        with (self._directory / "nats.log").open("rb") as file:
            # A log that is shorter than before is a new one.
            file.seek(max(before if before < size else 0, size - _READ_BYTES))
            return _FAILED in file.read(_READ_BYTES)

    def _log_size(self) -> int:
        try:
            return (self._directory / "nats.log").stat().st_size
        except FileNotFoundError:
            return 0


async def stores(url: str) -> bool:
    """Return whether the server stores a message of no meaning, of which it keeps one.

    Args:
        url: Its address, with the token that it asks for.
    """
    address = urlsplit(url)
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=_MOST_BYTES)
            try:
                await reader.readline()  # the server's greeting
                options = {"verbose": False, "auth_token": address.username, "headers": True, "no_responders": True}
                writer.write(f"CONNECT {json.dumps(options)}\r\nSUB {_INBOX} 1\r\n".encode())
                # Made each time: what exists with these settings is answered as if it had just been made.
                stream = {"name": _STREAM, "subjects": [_SUBJECT], "storage": "file", "max_msgs": 1, "discard": "old"}
                made = await _asked(reader, writer, f"$JS.API.STREAM.CREATE.{_STREAM}", json.dumps(stream).encode())
                return made and await _asked(reader, writer, _SUBJECT, b"probe")
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return False


async def _asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, subject: str, body: bytes) -> bool:
    """Publish and return whether the answer is one without an error."""
    writer.write(f"PUB {subject} {_INBOX} {len(body)}\r\n".encode() + body + b"\r\n")
    await writer.drain()
    while line := await reader.readline():
        words = line.split()
        if not words or words[0] in {b"PING", b"PONG", b"+OK", b"INFO"}:
            continue
        if words[0] != b"MSG":
            return False  # HMSG: nobody answers, since JetStream is off; -ERR: we are not let in
        answer = json.loads(await reader.readexactly(min(int(words[-1]), _MOST_BYTES)))
        return isinstance(answer, dict) and "error" not in answer
    return False
