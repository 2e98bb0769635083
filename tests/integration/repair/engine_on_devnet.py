"""An engine without intake from outside, on a devnet of three members' nodes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.access.callers import Door, anyone
from orchestrator.app import assembled, store_url
from orchestrator.app.assembly import Engine
from orchestrator.config import load_config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.engine.intake.requests import parse_request
from orchestrator.engine.lanes.records import record_of
from orchestrator.membership.facts import RetryRequested
from orchestrator.membership.machine import step
from orchestrator.membership.model import RESTING, Change, State
from orchestrator.store.commits.schema_version import migrate
from tests.integration.lost_additions import losing_the_next_addition
from tests.patience import patient

OWNER = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
# The well-known public development key of this account.
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"


@dataclass
class Running:
    """A running engine on a devnet of three members' nodes."""

    devnet: Devnet
    engine: Engine

    @property
    def keys(self) -> list[str]:
        return [node.enclave_key for node in self.devnet.nodes]

    async def ask(self, request_id: str, kind: str, members: list[str], group: str | None = None) -> Change:
        data = {"kind": kind, "members": members, "privacy_group_id": group}
        given = {name: value for name, value in data.items() if value is not None}
        return (await self.engine.intake.submit(parse_request(request_id, given), anyone(Door.HTTP))).change

    async def at_rest(self, change_id: str) -> Change:
        async with asyncio.timeout(patient(30)):
            while True:
                change = await self.engine.store.change(change_id)
                if change is not None and change.state in RESTING and change.state is not State.QUEUED:
                    return change
                await asyncio.sleep(0.05)

    async def until(self, change_id: str, state: State) -> None:
        async with asyncio.timeout(patient(30)):
            while True:
                found = await self.engine.store.change(change_id)
                if found is not None and found.state is state:
                    return
                await asyncio.sleep(0.02)

    async def members(self, group: str) -> tuple[str, ...]:
        watcher = self.engine.fleet.watchers[0]
        return (await watcher.node.view(group, (await watcher.refresh()).number)).participants

    async def retry(self, change_id: str) -> Change:
        now = self.engine.clock.now()
        fact = RetryRequested()
        await self.engine.store.amend(change_id, lambda found: record_of([(found, step(found, fact, now))], fact, now))
        return await self.at_rest(change_id)

    async def lose_an_addition(self) -> Change:
        """Create a group of two and add the third node, which loses it one block later."""
        created = await self.at_rest((await self.ask("r1", "create_group", self.keys[:2])).change_id)
        assert created.state is State.SUCCEEDED
        async with losing_the_next_addition(self.devnet, 3):
            added = await self.ask("r2", "add_members", [self.keys[2]], created.privacy_group_id)
            return await self.at_rest(added.change_id)


@asynccontextmanager
async def running(folder: Path, *, more: str = "", **settings: object) -> AsyncIterator[Running]:
    given = {"base_port": 0, "block_period_seconds": 0.1, "replay_ms_per_transaction": 0, **settings}
    async with (
        running_devnet(DevnetConfig(**given)) as devnet,  # type: ignore[arg-type] # keywords of the test
        running_on(devnet, folder, more=more) as run,
    ):
        yield run


@asynccontextmanager
async def running_on(devnet: Devnet, folder: Path, *, more: str = "") -> AsyncIterator[Running]:
    """An engine on a devnet that goes on after it, with a store in a folder."""
    key_file = folder / "owner.key"
    key_file.write_text(OWNER_KEY)
    key_file.chmod(0o600)
    text = '[store]\nurl = "sqlite:///store.db"\n'
    for node in devnet.nodes:
        text += f'[[nodes]]\nname = "m{node.number}"\nhttp = "{node.http_url}"\nws = "{node.ws_url}"\n'
        text += f'enclave_keys = ["{node.enclave_key}"]\n'
    text += f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "owner.key"\n'
    file = folder / "orchestrator.toml"
    file.write_text(text + more)
    config = load_config(file, {})
    await asyncio.to_thread(migrate, store_url(config))
    stopping = asyncio.Event()
    async with assembled(config, stopping) as engine:
        driving = asyncio.create_task(engine.supervisor.run())
        try:
            yield Running(devnet, engine)
        finally:
            stopping.set()
            await asyncio.wait_for(driving, patient(60))
