"""One replica of the daemon: a real process that is stopped or killed, and started again whenever it ended."""

import asyncio
import os
import sys
from pathlib import Path
from random import Random

from orchestrator.devnet import Devnet

# A well-known public development key and its account.
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
OWNER = "0xFE3B557E8Fb62b89F4916B721be55cEb828dBd73"

STARTING_SECONDS = 20.0
"""A replica that ends sooner may have found its store or its queue away: it is started again."""
AGAIN_SECONDS = 0.5
ORDERLY_SECONDS = 60.0
READY_WITHIN_BYTES = 64 * 1024
"""Where in a replica's log the line stands that tells that it is ready."""


def nodes_and_account(devnet: Devnet, folder: Path) -> str:
    """Return the tables of a configuration that name a devnet's nodes and their groups' owner, whose key it writes."""
    key_file = folder / "owner.key"
    key_file.touch(mode=0o600)
    key_file.write_text(OWNER_KEY)
    nodes = "".join(
        f'[[nodes]]\nname = "member{node.number}"\nhttp = "{node.http_url}"\nws = "{node.ws_url}"\n'
        f'enclave_keys = ["{node.enclave_key}"]\n'
        for node in devnet.nodes
    )
    return f'{nodes}[[accounts]]\naddress = "{OWNER}"\nkey_file = "{key_file}"\n'


class Replica:
    """A replica.

    Args:
        config: Its configuration file.
        log: What it says goes there.
        chance: Draws how long it stays dead.
    """

    def __init__(self, config: Path, log: Path, chance: Random) -> None:
        self._config = config
        self._log = log
        self._chance = chance
        self._process: asyncio.subprocess.Process | None = None
        self._ended_by_us = False
        self._said_before = 0
        self.kills = 0
        self.restarts = 0
        self.starts = 0
        self.problems: list[str] = []

    async def run(self) -> None:
        """Keep it running until cancelled; then end it in an orderly way."""
        loop = asyncio.get_running_loop()
        while True:
            began, self._ended_by_us = loop.time(), False
            self.starts += 1
            with self._log.open("ab") as log:
                self._said_before = log.tell()
                self._process = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "orchestrator", "run", "--config", str(self._config)),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={name: value for name, value in os.environ.items() if not name.startswith("ORCHESTRATOR_")},
                )
            try:
                code = await self._process.wait()
            finally:
                await self._end()
            if not self._ended_by_us and loop.time() - began > STARTING_SECONDS:
                self.problems.append(f"{self._config.stem} ended by itself with code {code}; see {self._log}")
            await asyncio.sleep(self._chance.uniform(AGAIN_SECONDS, 3.0) if self._ended_by_us else AGAIN_SECONDS)

    def kill(self) -> None:
        """End it with SIGKILL, if it is at work."""
        if self._process is not None and self._process.returncode is None and self.at_work():
            self._ended_by_us = True
            self.kills += 1
            self._process.kill()

    async def restart(self) -> bool:
        """End it in an orderly way, if it is at work, and wait until it has ended; it is started again by `run`."""
        process = self._process
        if process is None or process.returncode is not None or not self.at_work():
            return False
        self._ended_by_us = True
        self.restarts += 1
        process.terminate()
        try:
            code = await asyncio.wait_for(process.wait(), ORDERLY_SECONDS)
        except TimeoutError:
            process.kill()
            code = await process.wait()
        if code != 0:
            self.problems.append(f"{self._config.stem} ended with code {code} when it was asked to; see {self._log}")
        return True

    @property
    def pid(self) -> int | None:
        """The id of its process, None between two."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    def at_work(self) -> bool:
        """Whether its present process runs and has told that it is ready."""
        if self.pid is None:
            return False
        with self._log.open("rb") as log:
            log.seek(self._said_before)
            return b"ready http" in log.read(READY_WITHIN_BYTES)

    async def _end(self) -> None:
        if self._process is None or self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 30)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
