"""The engine on a devnet with its account's key at a Web3Signer that goes away, refuses and lies meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from prometheus_client import generate_latest

from orchestrator.access.callers import Door, anyone
from orchestrator.app.assembly import Engine, assembled
from orchestrator.besu.codec.private_transaction import decode_private_transaction
from orchestrator.config import Config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.engine.intake.requests import parse_request
from orchestrator.engine.ports.clock import Clock
from orchestrator.membership.attempt import Action
from orchestrator.membership.model import RESTING, Change, State, Verdict
from tests.fakes.migrated_stores import migrated
from tests.integration.engine.configured import nodes_of
from tests.integration.faults.jumping_clock import JumpingClock
from tests.patience import patient
from tests.servers.http_signers import Web3SignerServer, identifier_of

# Well-known public development keys.
OWNER_KEY = bytes.fromhex("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
OWNER = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
OTHER_KEY = bytes.fromhex("c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3")
OTHER = "0x627306090abab3a6e1400e9345bc60c78a8bef57"

BLOCK_SECONDS = 0.25
SIGN_SECONDS = 60.0
"""No signer of a busy machine is taken for one that is away."""


class Network:
    """A devnet of three members with an engine on it, whose owner's key is at a Web3Signer."""

    def __init__(self, devnet: Devnet, engine: Engine, signer: Web3SignerServer) -> None:
        self.devnet = devnet
        self.engine = engine
        self.signer = signer
        self.keys = _keys(devnet)
        self._asked = 0

    async def submit(self, kind: str, **data: Any) -> Change:
        """Ask for a change."""
        self._asked += 1
        request = parse_request(f"request-{self._asked}", {"kind": kind, "account": OWNER, **data})
        return (await self.engine.intake.submit(request, anyone(Door.HTTP))).change

    async def until(self, change: Change, wanted: Callable[[Change], bool]) -> Change:
        """Return a change once it is as wanted."""
        async with asyncio.timeout(patient(90)):
            while not wanted(change):
                await asyncio.sleep(0.02)
                found = await self.engine.store.change(change.change_id)
                assert found is not None
                change = found
        return change

    async def rest(self, change: Change) -> Change:
        """Return a change once it rests for good."""
        return await self.until(change, lambda found: found.state in RESTING and found.state is not State.QUEUED)

    async def until_adding(self, change: Change) -> None:
        """Make blocks by hand until the group is locked for an addition; before the next nothing is signed for it."""
        pool = self.devnet.emulation.network.pool
        async with asyncio.timeout(patient(90)):
            while change.state is not State.ADDING:
                if pool.pending():
                    await self.devnet.call(1, "devnet_mine", [1])
                await asyncio.sleep(0.02)
                found = await self.engine.store.change(change.change_id)
                assert found is not None
                change = found

    async def hold_blocks(self) -> None:
        """Let no more blocks come by themselves."""
        await self.devnet.call(1, "devnet_setBlockPeriod", [0])
        await self.devnet.call(1, "devnet_mine", [1])  # no lock is sent in the block of the creation

    async def let_blocks_come(self) -> None:
        """Let blocks come by themselves again."""
        await self.devnet.call(1, "devnet_setBlockPeriod", [BLOCK_SECONDS])

    async def group(self) -> str:
        """Create a group of two members."""
        created = await self.rest(await self.submit("create_group", members=self.keys[:2]))
        assert created.state is State.SUCCEEDED, created.reason
        return created.privacy_group_id


@asynccontextmanager
async def network(
    folder: Path, *, clock: Clock | None = None, sign_timeout_seconds: float = SIGN_SECONDS
) -> AsyncIterator[Network]:
    with Web3SignerServer(OWNER_KEY) as signer:
        of_devnet = DevnetConfig(base_port=0, block_period_seconds=BLOCK_SECONDS, replay_ms_per_transaction=1)
        async with (
            running_devnet(of_devnet) as devnet,
            life(configuration(folder, devnet, signer, sign_timeout_seconds), clock) as engine,
        ):
            try:
                yield Network(devnet, engine, signer)
            finally:
                await asyncio.to_thread(signer.start)  # what is locked is unlocked before the engine ends


def configuration(
    folder: Path, devnet: Devnet, signer: Web3SignerServer, sign_timeout_seconds: float = SIGN_SECONDS
) -> Config:
    """Return a configuration of two owners: one's key is at the signer, the other's in a file."""
    url = migrated(folder / "store.db")
    key_file = folder / "other.key"
    key_file.write_text(OTHER_KEY.hex())
    key_file.chmod(0o600)
    return Config.model_validate(
        {
            "store": {"url": url},
            "nodes": nodes_of(devnet),
            "accounts": [
                {
                    "address": OWNER,
                    "web3signer": {"url": signer.url},
                    "sign_timeout_seconds": sign_timeout_seconds,
                },
                {"address": OTHER, "key_file": str(key_file)},
            ],
        },
        context={"folder": folder},
    )


@asynccontextmanager
async def life(config: Config, clock: Clock | None = None) -> AsyncIterator[Engine]:
    """Run an engine to its orderly end."""
    stopping = asyncio.Event()
    async with assembled(config, stopping, clock) as engine:
        running = asyncio.create_task(engine.supervisor.run())
        try:
            yield engine
        finally:
            stopping.set()
            await asyncio.wait_for(running, patient(60))


async def in_thread(work: Callable[[], None]) -> None:
    await asyncio.to_thread(work)


async def test_an_addition_goes_on_when_its_signer_comes_back(tmp_path: Path) -> None:
    """Killed while the group is locked for the addition, the signer is waited for with its reason; then it succeeds.

    The attempts in the store have the private nonces 1 and 2, each signed by the owner, and each was sent once.
    """
    async with network(tmp_path) as net:
        group = await net.group()
        await net.hold_blocks()
        change = await net.submit("add_members", privacy_group_id=group, members=net.keys[2:])
        await net.until_adding(change)
        await in_thread(net.signer.kill)
        await net.let_blocks_come()
        waits = await net.until(change, lambda found: found.waits_for is not None)
        assert waits.state is State.ADDING
        assert waits.waits_for is not None
        assert (waits.waits_for.slug, net.signer.url in waits.waits_for.detail) == ("signer_away", True)
        await in_thread(net.signer.start)
        added = await net.rest(change)
        assert added.state is State.SUCCEEDED, added.reason
        assert {entry.verdict for entry in added.progress} == {Verdict.IN_SYNC}
        attempts = await net.engine.store.attempts(change.change_id)
        assert [(a.action, a.private_nonce) for a in attempts] == [(Action.LOCK, 1), (Action.ADD, 2)]
        assert {decode_private_transaction(a.raw).sender for a in attempts} == {OWNER}
        counted = generate_latest(net.engine.metrics.registry).decode()
        assert 'orchestrator_signature_seconds_count{outcome="signed"} 3.0' in counted  # with the creation's
        assert 'orchestrator_signature_seconds_count{outcome="away"} 0.0' not in counted


async def _is_locked(net: Network, group: str) -> bool:
    node = net.engine.fleet.watchers[0].node
    return (await node.view(group, (await node.head()).number)).locked


async def test_a_lock_is_undone_when_its_signer_stays_away(tmp_path: Path) -> None:
    """Given up under the lock, the addition waits for the signer only to unlock: the group is never left locked."""
    clock = JumpingClock()
    async with network(tmp_path, clock=clock) as net:
        group = await net.group()
        await net.hold_blocks()
        change = await net.submit("add_members", privacy_group_id=group, members=net.keys[2:], deadline_seconds=3600)
        await net.until_adding(change)
        await in_thread(net.signer.kill)
        clock.ahead = timedelta(hours=2)
        await net.let_blocks_come()
        waits = await net.until(change, lambda found: found.state is State.UNLOCKING and found.waits_for is not None)
        assert waits.waits_for is not None
        assert waits.waits_for.slug == "signer_away"
        assert await _is_locked(net, group)
        await in_thread(net.signer.start)
        ended = await net.rest(change)
        assert (ended.state, ended.reason and ended.reason.slug) == (State.FAILED, "deadline_passed")
        assert not await _is_locked(net, group)


async def test_a_signer_that_lies_parks_the_change(tmp_path: Path) -> None:
    """Another account's signature is never stored or sent: the change is parked with what was answered."""
    async with network(tmp_path) as net:
        group = await net.group()
        net.signer.keys[identifier_of(OWNER_KEY)] = OTHER_KEY
        change = await net.rest(await net.submit("add_members", privacy_group_id=group, members=net.keys[2:]))
        assert (change.state, change.reason and change.reason.slug) == (State.PARKED, "signer_wrong")
        assert change.reason is not None
        assert OWNER in change.reason.detail
        assert await net.engine.store.attempts(change.change_id) == ()


async def test_a_slow_signer_holds_up_nobody_else(tmp_path: Path) -> None:
    """While one account's signer hangs, its lane waits with the reason and another account's change is proven."""
    async with network(tmp_path, sign_timeout_seconds=0.5) as net:
        group = await net.group()
        net.signer.delay_seconds = 60
        waiting = await net.submit("add_members", privacy_group_id=group, members=net.keys[2:])
        queued = await net.until(waiting, lambda found: found.state is State.QUEUED and found.tries > 0)
        assert queued.reason is not None
        assert queued.reason.slug == "signer_away"
        assert await net.engine.store.attempts(waiting.change_id) == ()
        other = await net.rest(await net.submit("create_group", members=net.keys[:2], account=OTHER))
        assert other.state is State.SUCCEEDED, other.reason
        net.signer.delay_seconds = 0
        assert (await net.rest(waiting)).state is State.SUCCEEDED


async def test_a_crash_between_signing_and_storing_harms_nothing(tmp_path: Path) -> None:
    """A daemon that dies with a signature that it has not stored leaves nothing behind; the next one signs anew.

    What was signed twice has one private nonce, and one of the two was sent.
    """
    with Web3SignerServer(OWNER_KEY) as signer:
        of_devnet = DevnetConfig(base_port=0, block_period_seconds=BLOCK_SECONDS, replay_ms_per_transaction=1)
        async with running_devnet(of_devnet) as devnet:
            config, signed, gone = configuration(tmp_path, devnet, signer), list[bytes](), asyncio.Event()
            async with assembled(config, asyncio.Event()) as engine:
                sign = engine.accounts.sign

                async def sign_and_die(**given: Any) -> bytes:
                    signed.append(await sign(**given))
                    gone.set()
                    await asyncio.Event().wait()
                    raise AssertionError("it went on")

                engine.accounts.sign = sign_and_die  # type: ignore[method-assign] # the death between two lines of ours
                running = asyncio.create_task(engine.supervisor.run())
                change = await Network(devnet, engine, signer).submit("create_group", members=_keys(devnet)[:2])
                await asyncio.wait_for(gone.wait(), patient(30))
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            async with life(config) as engine:
                created = await Network(devnet, engine, signer).rest(change)
                assert created.state is State.SUCCEEDED, created.reason
                (attempt,) = await engine.store.attempts(change.change_id)
    first, second = decode_private_transaction(signed[0]), decode_private_transaction(attempt.raw)
    assert first.transaction.private_nonce == second.transaction.private_nonce == 0
    assert first.sender == second.sender == OWNER
    assert signer.asked == 2


def _keys(devnet: Devnet) -> list[str]:
    return [node.enclave_key for node in devnet.nodes]
