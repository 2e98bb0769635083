"""Asking a NATS server whether its JetStream is on, by a connection of one question.

Spoken without the client library: its connection stays up, and reconnects, whatever JetStream does.
"""

import asyncio
import json
from typing import Final
from urllib.parse import urlsplit

ANSWER_SECONDS: Final = 3.0
_INBOX: Final = "_INBOX.probe"
_MOST_BYTES: Final = 1 << 20


async def stores(url: str) -> bool:
    """Return whether the server's JetStream answers without an error.

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
                question = f"CONNECT {json.dumps(options)}\r\nSUB {_INBOX} 1\r\nPUB $JS.API.INFO {_INBOX} 0\r\n\r\n"
                writer.write(question.encode())
                await writer.drain()
                return await _answer_is_good(reader)
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
        return False


async def _answer_is_good(reader: asyncio.StreamReader) -> bool:
    while line := await reader.readline():
        words = line.split()
        if not words or words[0] in {b"PING", b"PONG", b"+OK", b"INFO"}:
            continue
        if words[0] != b"MSG":
            return False  # HMSG: nobody answers, since JetStream is off; -ERR: we are not let in
        answer = json.loads(await reader.readexactly(min(int(words[-1]), _MOST_BYTES)))
        return isinstance(answer, dict) and "error" not in answer
    return False
