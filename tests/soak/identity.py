"""Five daemons on one NATS, killed and one robbed of its store: ``python -m tests.soak.identity --changes 2000``.

All of them are asked for the same changes of the same groups under the same ids, and four publish as one organisation:
nothing but the stores' names tells their events apart. At the end a subscriber that drops what it knows, by source and
id, must have heard of every event that any store had.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import ExitStack
from http.client import HTTPException
from pathlib import Path
from threading import Thread
from urllib.error import HTTPError

import nats

from tests.acceptance.conftest import ENCLAVE_KEYS, OWNER, OWNER_KEY
from tests.servers.nats_server import NatsServer
from tests.servers.ports import free_port

DAEMONS = 5
LOST = 3
GROUPS = 40
KILLS = 25
SOURCE = "https://org.example/membership"
SECONDS = 200.0
Known = tuple[str, str]
Meant = tuple[str, str, int]


class Killed:
    """One daemon, whose only node is away: what it is asked for is accepted, told of, and waits."""

    def __init__(self, number: int, broker_url: str, folder: Path) -> None:
        port, away = free_port(), free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.folder = folder / str(number)
        self.folder.mkdir()
        key_file = self.folder / "owner.key"
        key_file.write_text(OWNER_KEY)
        key_file.chmod(0o600)
        self._config = self.folder / "orchestrator.toml"
        self._config.write_text(
            f'[store]\nurl = "sqlite:///orchestrator.db"\n[broker]\nurl = "{broker_url}"\n[broker.names]\n'
            f'requests = "requests{number}"\ndead = "requests{number}.dead"\n[api]\nlisten = "127.0.0.1:{port}"\n'
            + (f'[events]\nsource = "{SOURCE}"\n' if number else "")
            + f'[[nodes]]\nname = "away"\nhttp = "http://127.0.0.1:{away}"\nenclave_keys = ["{ENCLAVE_KEYS[0]}"]\n'
            f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "{key_file}"\n'
        )
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it lives."""
        with (self.folder / "daemon.log").open("ab") as log:
            command = [sys.executable, "-m", "orchestrator", "run", "--migrate", "--config", str(self._config)]
            self._running = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._insisting(f"{self.url}/livez")

    def kill(self) -> None:
        """SIGKILL."""
        if self._running is not None:
            self._running.kill()
            self._running.wait()

    def lose_store(self) -> None:
        """Take its store away, so that it makes another one."""
        self.kill()
        for file in self.folder.glob("orchestrator.db*"):
            os.unlink(file)
        self.start()

    def ask(self, number: int) -> None:
        """Ask for a change, until it is accepted."""
        group = base64.b64encode(hashlib.sha256(str(number % GROUPS).encode()).digest()).decode()
        body = {"kind": "add_members", "privacy_group_id": group, "members": [ENCLAVE_KEYS[1]]}
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"change-{number}"}
        self._insisting(
            urllib.request.Request(f"{self.url}/v1/changes", json.dumps(body).encode(), headers)  # noqa: S310 - HTTP on loopback
        )

    def events(self) -> dict[Known, Meant]:
        """Return all events that its store has, as it streams them from the oldest."""
        found: dict[Known, Meant] = {}
        try:
            with urllib.request.urlopen(f"{self.url}/v1/events?last_event_id=0", timeout=5) as stream:  # noqa: S310 - HTTP on loopback
                for line in stream:
                    if line.startswith(b"data:") and b'"specversion"' in line:
                        _note(json.loads(line[5:]), found)
        except TimeoutError:
            return found  # nothing more comes
        raise RuntimeError("the stream ended")

    def _insisting(self, request: str | urllib.request.Request) -> None:
        until = time.monotonic() + SECONDS
        while True:
            try:
                urllib.request.urlopen(request, timeout=10).close()  # noqa: S310 - HTTP on loopback
            except (OSError, HTTPException) as error:
                refused = isinstance(error, HTTPError) and error.code not in (429, 503)
                if refused or time.monotonic() > until:
                    raise
                time.sleep(0.3)
            else:
                return


def _note(event: dict[str, object], found: dict[Known, Meant]) -> None:
    data = event["data"]
    assert isinstance(data, dict)
    known = (str(event["source"]), str(event["id"]))
    meant = (str(data["change_id"]), str(event["type"]), int(data["sequence"]))
    if found.setdefault(known, meant) != meant:
        raise SystemExit(f"two events are {known}: {found[known]} and {meant}")


async def _heard(url: str) -> dict[Known, Meant]:
    client = await nats.connect(url)
    stream = client.jetstream()
    total = (await stream.stream_info("membership-events")).state.messages
    reading = await stream.subscribe("membership.events.>", ordered_consumer=True)
    found: dict[Known, Meant] = {}
    for _ in range(total):
        _note(json.loads((await reading.next_msg(15)).data), found)
    await client.close()
    return found


def soak(changes: int, seed: int, folder: Path) -> dict[str, int]:
    """Run it; returns what was counted, in which ``missing`` must be 0."""
    chance, kills = random.Random(seed), 0  # noqa: S311 - a seed plays it again
    with ExitStack() as stack:
        server = stack.enter_context(NatsServer())
        daemons = [Killed(number, server.url, folder) for number in range(DAEMONS)]
        for daemon in daemons:
            stack.callback(daemon.kill)
            daemon.start()
        committed: dict[Known, Meant] = {}
        half = changes // DAEMONS // 2
        for numbers in (range(half), range(half, 2 * half)):
            asking = [
                Thread(target=lambda daemon=daemon: [daemon.ask(n) for n in numbers])  # noqa: B023 - joined below
                for daemon in daemons
            ]
            for thread in asking:
                thread.start()
            while any(thread.is_alive() for thread in asking):
                time.sleep(chance.uniform(2, 5))
                if kills < KILLS:
                    daemon = chance.choice(daemons)
                    daemon.kill()
                    daemon.start()
                    kills += 1
            for thread in asking:
                thread.join()
            if not numbers.start:
                committed |= daemons[LOST].events()
                daemons[LOST].lose_store()
        time.sleep(5)
        for daemon in daemons:
            committed |= daemon.events()
        heard = asyncio.run(_heard(server.url))
    missing = committed.items() - heard.items()
    return {
        "changes": 2 * half * DAEMONS,
        "accepted": len([True for _, kind, _ in heard.values() if kind == "membership.change.accepted.v1"]),
        "kills": kills,
        "committed": len(committed),
        "heard": len(heard),
        "missing": len(missing),
    }


def main() -> int:
    """Run it from the command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counted = soak(arguments.changes, arguments.seed, Path(folder))
    sys.stdout.write(f"{json.dumps(counted)}\n")
    return 1 if counted["missing"] or counted["accepted"] != counted["changes"] else 0


if __name__ == "__main__":
    sys.exit(main())
