"""Reads addresses again and again, in a process of its own: ``python -m tests.benchmarks.readers RATE URL…``.

Ends when its standard input does, and prints how many answers a second it got.
"""

import asyncio
import sys
import time
from typing import Final
from urllib.parse import urlsplit

CONNECTIONS: Final = 24


async def main() -> None:
    rate, urls = float(sys.argv[1]), sys.argv[2:]
    stopping = asyncio.Event()
    each = [urls[number % len(urls)] for number in range(CONNECTIONS)]
    readers = [asyncio.create_task(_read(url, rate / CONNECTIONS, stopping)) for url in each]
    begun = time.monotonic()
    await asyncio.to_thread(sys.stdin.read)
    stopping.set()
    counts = await asyncio.gather(*readers)
    sys.stdout.write(f"{sum(counts) / (time.monotonic() - begun)}\n")


async def _read(url: str, rate: float, stopping: asyncio.Event) -> int:
    """Ask so often a second on one connection, never two at once; return how many answers came."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    count, begun = 0, time.monotonic()
    while not stopping.is_set():
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise AssertionError(head.decode())
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        count += 1
        await asyncio.sleep(max(0.0, begun + count / rate - time.monotonic()))
    writer.close()
    return count


if __name__ == "__main__":
    asyncio.run(main())
