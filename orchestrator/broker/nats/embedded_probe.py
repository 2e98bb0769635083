"""Asking a NATS server whether it still stores, by a connection of two questions.

A disk that was full, or a bound of storage that was computed from what was free when the server started, leaves it
connected and answering, and storing nothing. Only a write tells. Spoken without the client library, whose connection
stays up whatever JetStream does.
"""

import asyncio
import json
from typing import Final
from urllib.parse import urlsplit

ANSWER_SECONDS: Final = 3.0
_STREAM: Final = "orchestrator-probe"
_SUBJECT: Final = "orchestrator.probe"
_INBOX: Final = "_INBOX.probe"
_MOST_BYTES: Final = 1 << 20


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
