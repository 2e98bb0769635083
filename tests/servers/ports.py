"""Ports for servers that must come back on the same one."""

import errno
import os
import random
import socket
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
        if not _is_free(port):
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
        if not all(map(_is_free, ports)):
            continue
        _given.update(ports)
        return first
    msg = f"no {count} free ports in a row found in {_TRIES} tries"
    raise RuntimeError(msg)


def _is_free(port: int) -> bool:
    # By connecting: a socket that is bound to it to see has a copy in each program that is being started just then, and
    # so the port is taken for some milliseconds more.
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


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
