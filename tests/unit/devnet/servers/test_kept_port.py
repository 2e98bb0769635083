"""Ports of servers that are closed and opened again."""

import asyncio
import socket

import pytest

from orchestrator.devnet.servers.kept_port import KeptPort

HOST = "127.0.0.1"


async def test_a_closed_servers_port_is_given_to_nobody_and_refuses() -> None:
    """While nothing listens on it no other socket gets the port, and who connects is refused; then it listens again."""
    port = KeptPort(HOST, 0)
    for _ in range(2):
        with await port.bound() as listening:
            listening.listen()
            socket.create_connection((HOST, port.number), timeout=5).close()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((HOST, port.number))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port.number), timeout=5)
    port.give_back()


async def test_a_port_that_was_given_back_is_anybodys() -> None:
    """At the end the port is free for others, and one that others have is told to be taken."""
    port = KeptPort(HOST, 0)
    (await port.bound()).close()
    port.give_back()
    with socket.socket() as other:
        other.bind((HOST, port.number))
        other.listen()
        with pytest.raises(OSError, match="in use"):
            await KeptPort(HOST, port.number).bound()


async def test_a_port_that_is_taken_for_a_moment_is_waited_for() -> None:
    """A program that is being started has copies of sockets that were just closed, for some milliseconds."""
    with socket.socket() as other:
        other.bind((HOST, 0))
        port = KeptPort(HOST, other.getsockname()[1])
        binding = asyncio.create_task(port.bound())
        await asyncio.sleep(0)
        assert not binding.done()
    (await binding).close()
    port.give_back()
