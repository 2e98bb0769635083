"""Losing an addition on emulated nodes, and what each policy makes of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.app import assembled, store_url
from orchestrator.app.assembly import Engine
from orchestrator.config import load_config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.engine.repairing import Repairer
from orchestrator.engine.requests import parse_request
from orchestrator.membership.model import RESTING, Change, State
from orchestrator.store.schema_version import migrate

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
        return (await self.engine.intake.submit(parse_request(request_id, given))).change

    async def at_rest(self, change_id: str) -> Change:
        async with asyncio.timeout(30):
            while True:
                change = await self.engine.store.change(change_id)
                if change is not None and change.state in RESTING and change.state is not State.QUEUED:
                    return change
                await asyncio.sleep(0.05)

    async def lose_an_addition(self) -> Change:
        """Create a group of two and add the third node, which loses it one block later."""
        created = await self.at_rest((await self.ask("r1", "create_group", self.keys[:2])).change_id)
        assert created.state is State.SUCCEEDED
        await self.devnet.call(1, "devnet_loseNextAdd", [3])
        added = await self.ask("r2", "add_members", [self.keys[2]], created.privacy_group_id)
        return await self.at_rest(added.change_id)

    async def repairs(self) -> list[Change]:
        return [c for c in await self.engine.store.changes() if c.request_id.startswith("repair.")]


@asynccontextmanager
async def running(folder: Path, **settings: object) -> AsyncIterator[Running]:
    given = {"base_port": 0, "block_period_seconds": 0.1, "replay_ms_per_transaction": 0, **settings}
    async with running_devnet(DevnetConfig(**given)) as devnet:  # type: ignore[arg-type] # keywords of the test
        key_file = folder / "owner.key"
        key_file.write_text(OWNER_KEY)
        key_file.chmod(0o600)
        text = '[store]\nurl = "sqlite:///store.db"\n'
        for node in devnet.nodes:
            text += f'[[nodes]]\nname = "m{node.number}"\nhttp = "{node.http_url}"\nws = "{node.ws_url}"\n'
            text += f'enclave_keys = ["{node.enclave_key}"]\n'
        text += f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "owner.key"\n'
        file = folder / "orchestrator.toml"
        file.write_text(text)
        config = load_config(file, {})
        await asyncio.to_thread(migrate, store_url(config))
        stopping = asyncio.Event()
        async with assembled(config, stopping) as engine:
            driving = asyncio.create_task(engine.supervisor.run())
            try:
                yield Running(devnet, engine)
            finally:
                stopping.set()
                await asyncio.wait_for(driving, 30)


def repairer(run: Running) -> Repairer:
    engine = run.engine
    return Repairer(engine.store, engine.intake, engine.fleet, engine.forecaster, engine.clock)


async def test_a_lost_addition_is_repaired_once_and_proven(tmp_path: Path) -> None:
    """The member is removed and added again by two changes of their own; then the parked change proves the group."""
    async with running(tmp_path) as run:
        parked = await run.lose_an_addition()
        assert parked.state is State.PARKED
        assert parked.reason is not None
        assert parked.reason.slug in {"member_diverged", "member_missing"}
        policy = repairer(run)
        for verb in ("remove", "add"):
            await policy.repair_parked()
            await policy.repair_parked()
            (change,) = [c for c in await run.repairs() if c.request_id.endswith(verb)]
            assert (await run.at_rest(change.change_id)).state is State.SUCCEEDED
        await policy.repair_parked()
        assert (await run.at_rest(parked.change_id)).state is State.SUCCEEDED
        assert len(await run.repairs()) == 2


async def test_a_second_loss_is_left_to_a_person(tmp_path: Path) -> None:
    """When the addition of the repair gets lost as well, it stays parked; there is no third."""
    async with running(tmp_path) as run:
        parked = await run.lose_an_addition()
        policy = repairer(run)
        await policy.repair_parked()
        (removal,) = await run.repairs()
        await run.at_rest(removal.change_id)
        await run.devnet.call(1, "devnet_loseNextAdd", [3])
        await policy.repair_parked()
        addition = (await run.repairs())[0]
        assert (await run.at_rest(addition.change_id)).state is State.PARKED
        for _ in range(3):
            await policy.repair_parked()
        assert len(await run.repairs()) == 2
        assert (await run.at_rest(parked.change_id)).state is State.PARKED


async def test_state_that_is_no_prefix_is_never_added_again(tmp_path: Path) -> None:
    """A member whose state went another way is not repaired: adding it again would stop its node for good."""
    async with running(tmp_path) as run:
        parked = await run.lose_an_addition()
        await run.devnet.call(1, "devnet_diverge", [3, parked.privacy_group_id])
        await repairer(run).repair_parked()
        assert await run.repairs() == []
