"""Losing an addition on emulated nodes, and what repairs it, or must not."""

from pathlib import Path

from orchestrator.engine.lanes.repair_requests import Repairer
from orchestrator.membership.attempt import Action, Attempt
from orchestrator.membership.model import State
from tests.integration.lost_additions import losing_the_next_addition
from tests.integration.repair.engine_on_devnet import Running, running


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
        # The lock keeps two blocks from the removal, the addition two from the lock.
        assert parked.effect.block_number < removed <= repaired.effect.block_number - 4
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
