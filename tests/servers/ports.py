"""Ports for servers that must come back on the same one."""

import os
import random
import socket
from contextlib import ExitStack
from pathlib import Path

_FIRST = 10240
_TRIES = 200
_chance = random.SystemRandom()
_given: set[int] = set()


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nothing listens on, given out once per process.

    Test processes that run side by side take theirs from different parts of the range: a port of a server that is down
    for a while is not given to another one's.

    It lies below the range from which the kernel takes the ports of outgoing connections: a client that reconnects
    while its server is down could otherwise be given the server's own port, and even connect to itself.
    """
    for _ in range(_TRIES):
        port = _chance.choice(_ours())
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    msg = f"no free port found in {_TRIES} tries"
    raise RuntimeError(msg)


def consecutive_ports(count: int) -> int:
    """The first of so many ports that follow each other; each as `free_port` has it."""
    for _ in range(_TRIES):
        first = free_port()
        ports = range(first, first + count)
        if not _given.isdisjoint(ports[1:]) or ports[-1] not in _ours():
            continue
        with ExitStack() as probes:
            try:
                for port in ports:
                    probes.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.update(ports)
        return first
    msg = f"no {count} free ports in a row found in {_TRIES} tries"
    raise RuntimeError(msg)


def _ours() -> range:
    ports = range(_FIRST, _first_ephemeral_port())
    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    place = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = len(ports) // processes
    place %= processes  # one that was started in another's place has a number of its own
    return ports[place * share : (place + 1) * share]


def _first_ephemeral_port() -> int:
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    except OSError:
        return 32768
    return max(int(text.split()[0]), _FIRST + 1000)
