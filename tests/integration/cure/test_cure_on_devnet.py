"""A group that a stale addition split is whole again after one change that an operator starts."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from orchestrator.access.callers import Door, anyone
from orchestrator.engine.attempts.settlement import witnesses
from orchestrator.engine.intake.requests import parse_request
from orchestrator.membership.attempt import Action, Attempt
from orchestrator.membership.model import Change, State
from tests.fakes.guarded_network import OTHER_KEY, GuardedNetwork, guarded_network
from tests.integration.repair.engine_on_devnet import Running, running_on
from tests.patience import patient

HASH = "0x" + "12" * 32


@asynccontextmanager
async def split_network() -> AsyncIterator[tuple[GuardedNetwork, str, str]]:
    """Member 1 added member 3 beside member 2; a stranger's copy of the marker threw both back to that lock."""
    async with guarded_network(enclave_http=False) as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        payload, _ = await network.add(group, 3)
        await network.write(group, 2, key=OTHER_KEY)
        copy = network.marker(payload)
        await network.block(copy)
        assert network.root(1, group) == network.root(3, group) != network.root(2, group)
        yield network, group, "0x" + copy.hash.hex()


async def cure(run: Running, group: str, transaction: str, members: list[str], request_id: str = "cure") -> Change:
    data = {
        "kind": "cure_group",
        "privacy_group_id": group,
        "members": members,
        "transaction": transaction,
        "reason": "a stranger copied the marker",
    }
    return (await run.engine.intake.submit(parse_request(request_id, data), anyone(Door.HTTP))).change


async def blocks(network: GuardedNetwork) -> None:
    await network.call(1, "devnet_setBlockPeriod", 0.05)


async def test_a_split_group_is_whole_again(tmp_path: Path) -> None:
    """Sender and newcomer are removed through the third member's node and added again in one call, and proven."""
    async with split_network() as (network, group, transaction):
        await network.write(group, 1)  # on the side that fell back, the others refuse it
        await blocks(network)
        async with running_on(network.devnet, tmp_path) as run:
            change = await cure(run, group, transaction, [run.keys[0], run.keys[2]])
            cured = await run.at_rest(change.change_id)
            assert cured.state is State.SUCCEEDED, cured.reason
            attempts = await run.engine.store.attempts(change.change_id)
            assert [one.action for one in attempts] == [Action.REMOVE, Action.REMOVE, Action.LOCK, Action.ADD]
            assert {one.node for one in attempts} == {"m2"}
            assert attempts[-1].members == (run.keys[0], run.keys[2])
            assert cured.effect is not None
            assert set(cured.effect.view.participants) == set(run.keys[:3])
        assert network.root(1, group) == network.root(2, group) == network.root(3, group)
        assert not any(network.halted(number) for number in (1, 2, 3))


async def test_those_that_fell_back_do_not_tell_what_became_of_the_cure(tmp_path: Path) -> None:
    """Their nodes refuse what the group executes: only the others are witnesses of the removals, whoever is behind."""
    async with split_network() as (network, group, transaction), running_on(network.devnet, tmp_path) as run:
        change = await cure(run, group, transaction, [run.keys[0], run.keys[2]])
        removal = await attempt_number(run, change, 1)
        seen = await run.engine.store.change(change.change_id)
        assert seen is not None
        names = [watcher.node.name for watcher in witnesses(run.engine.fleet, seen, removal)]
        assert names == ["m2"]
        await blocks(network)
        assert (await run.at_rest(change.change_id)).state is State.SUCCEEDED


async def test_what_does_not_fit_removes_nobody(tmp_path: Path) -> None:
    """Members that did not fall back, only some of those that did, another transaction: refused with the reason."""
    cases = (
        ((0,), None, " as well: all that fell back come back in one addition"),
        ((0, 1), None, "nothing shows that they fell back"),
        ((0, 2), HASH, "nothing shows that they fell back"),
    )
    async with split_network() as (network, group, copy):
        await blocks(network)
        async with running_on(network.devnet, tmp_path) as run:
            for number, (members, transaction, why) in enumerate(cases):
                named = [run.keys[place] for place in members]
                change = await cure(run, group, transaction or copy, named, request_id=f"cure-{number}")
                refused = await run.at_rest(change.change_id)
                assert refused.state is State.FAILED
                assert refused.reason is not None
                assert refused.reason.slug == "cure_does_not_fit"
                assert why in refused.reason.detail
                assert not refused.transacted


async def attempt_number(run: Running, change: Change, number: int) -> Attempt:
    async with asyncio.timeout(patient(30)):
        while True:
            attempts = await run.engine.store.attempts(change.change_id)
            if len(attempts) >= number:  # with blocks that come by themselves there may be more at the next look
                return attempts[number - 1]
            await asyncio.sleep(0.01)


async def test_a_daemon_that_stops_between_leaves_the_cure_to_the_next(tmp_path: Path) -> None:
    """With one member removed it is stopped; the next life removes the other and adds both in one call."""
    async with split_network() as (network, group, transaction):
        await blocks(network)
        async with running_on(network.devnet, tmp_path) as run:
            change = await cure(run, group, transaction, [run.keys[0], run.keys[2]])
            await attempt_number(run, change, 2)
        async with running_on(network.devnet, tmp_path) as run:
            cured = await run.at_rest(change.change_id)
            assert cured.state is State.SUCCEEDED, cured.reason
            attempts = await run.engine.store.attempts(change.change_id)
            assert attempts[-1].members == (run.keys[0], run.keys[2])
        assert network.root(1, group) == network.root(2, group) == network.root(3, group)
