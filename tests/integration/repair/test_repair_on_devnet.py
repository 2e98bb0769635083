"""Losing an addition on emulated nodes, and what repairs it, or must not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from orchestrator.app import assembled, store_url
from orchestrator.app.assembly import Engine
from orchestrator.config import load_config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.engine.recording import record_of
from orchestrator.engine.repairing import Repairer
from orchestrator.engine.requests import parse_request
from orchestrator.membership.facts import RetryRequested
from orchestrator.membership.machine import step
from orchestrator.membership.model import RESTING, Action, Attempt, Change, State
from orchestrator.store.schema_version import migrate
from tests.integration.lost_additions import losing_the_next_addition

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

    async def members(self, group: str) -> tuple[str, ...]:
        watcher = self.engine.fleet.watchers[0]
        return (await watcher.node.view(group, (await watcher.refresh()).number)).participants

    async def retry(self, change_id: str) -> Change:
        now = self.engine.clock.now()
        fact = RetryRequested()
        await self.engine.store.amend(
            change_id, lambda found: record_of([(found, step(found, fact, now)[0])], fact, now)
        )
        return await self.at_rest(change_id)

    async def lose_an_addition(self) -> Change:
        """Create a group of two and add the third node, which loses it one block later."""
        created = await self.at_rest((await self.ask("r1", "create_group", self.keys[:2])).change_id)
        assert created.state is State.SUCCEEDED
        async with losing_the_next_addition(self.devnet, 3):
            added = await self.ask("r2", "add_members", [self.keys[2]], created.privacy_group_id)
            return await self.at_rest(added.change_id)


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
    return Repairer(engine.store, engine.fleet, engine.clock)


def actions(attempts: tuple[Attempt, ...]) -> list[Action]:
    return [attempt.action for attempt in attempts]


async def test_a_lost_addition_is_repaired_and_proven(tmp_path: Path) -> None:
    """The parked change removes its member, adds it again and proves the group; whoever waits behind it comes later."""
    async with running(tmp_path) as run:
        parked = await run.lose_an_addition()
        assert parked.reason is not None
        assert parked.reason.slug in {"member_diverged", "member_missing"}
        await repairer(run).repair_parked()
        behind = await run.ask("r3", "remove_members", [run.keys[2]], parked.privacy_group_id)
        repaired = await run.at_rest(parked.change_id)
        assert repaired.state is State.SUCCEEDED, repaired.reason
        assert repaired.repair is not None
        assert repaired.effect is not None
        removed = repaired.repair.removed_block
        assert parked.effect is not None
        assert removed is not None
        assert parked.effect.block_number < removed < repaired.effect.block_number
        sent = actions(await run.engine.store.attempts(parked.change_id))
        assert sent == [Action.LOCK, Action.ADD, Action.REMOVE, Action.LOCK, Action.ADD]
        later = await run.at_rest(behind.change_id)
        assert later.state is State.SUCCEEDED
        assert later.effect is not None
        assert later.effect.block_number > repaired.effect.block_number


async def test_a_second_loss_is_left_to_a_person(tmp_path: Path) -> None:
    """When the addition of the repair gets lost as well, the change parks with both histories; there is no third."""
    async with running(tmp_path) as run:
        parked = await run.lose_an_addition()
        async with losing_the_next_addition(run.devnet, 3):
            await repairer(run).repair_parked()
            again = await run.at_rest(parked.change_id)
        assert again.state is State.PARKED
        assert again.reason is not None
        assert again.repair is not None
        assert again.reason.slug in {"member_diverged", "member_missing"}
        assert f"removal in block {again.repair.removed_block}" in again.reason.detail
        await repairer(run).repair_parked()
        assert (await run.at_rest(parked.change_id)).revision == again.revision
        entered = [entry.to_state for entry in await run.engine.store.history(parked.change_id)]
        assert entered.count(State.REPLAYING) >= 2


async def test_a_member_that_could_not_come_back_is_not_removed(tmp_path: Path) -> None:
    """A state that went another way stops the node at the next addition: the change parks, and the member stays in."""
    async with running(tmp_path) as run:
        parked = await run.lose_an_addition()
        await run.devnet.call(1, "devnet_diverge", [3, parked.privacy_group_id])
        await repairer(run).repair_parked()
        again = await run.at_rest(parked.change_id)
        assert again.state is State.PARKED
        assert again.reason is not None
        assert again.reason.slug == "former_member_unsafe"
        assert actions(await run.engine.store.attempts(parked.change_id)) == [Action.LOCK, Action.ADD]
        assert run.keys[2] in await run.members(parked.privacy_group_id)


async def test_a_member_that_a_person_removed_stays_removed(tmp_path: Path) -> None:
    """A removal that somebody asked for after the verdict is respected, as is what they did after it."""
    async with running(tmp_path) as run:
        parked = await run.lose_an_addition()
        group = parked.privacy_group_id
        removal = await run.at_rest((await run.ask("r3", "remove_members", [run.keys[2]], group)).change_id)
        assert removal.state is State.SUCCEEDED
        await repairer(run).repair_parked()
        again = await run.at_rest(parked.change_id)
        assert again.reason is not None
        assert (again.state, again.reason.slug) == (State.PARKED, "repair_overtaken")
        assert run.keys[2] not in await run.members(group)


async def test_a_healthy_member_is_not_touched(tmp_path: Path) -> None:
    """A person removed and added the member meanwhile and all is well: the old verdict moves nothing."""
    async with running(tmp_path) as run:
        parked = await run.lose_an_addition()
        group = parked.privacy_group_id
        for number, kind in ((3, "remove_members"), (4, "add_members")):
            made = await run.at_rest((await run.ask(f"r{number}", kind, [run.keys[2]], group)).change_id)
            assert made.state is State.SUCCEEDED, made.reason
        await repairer(run).repair_parked()
        again = await run.at_rest(parked.change_id)
        assert again.reason is not None
        assert (again.state, again.reason.slug) == (State.PARKED, "repair_overtaken")
        assert actions(await run.engine.store.attempts(parked.change_id)) == [Action.LOCK, Action.ADD]
        retried = await run.retry(parked.change_id)
        assert retried.state is State.SUCCEEDED, retried.reason
