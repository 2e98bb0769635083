"""What an addition does to the other groups of the new member's node, on emulated nodes."""

from pathlib import Path

from orchestrator.membership.model import State
from tests.integration.lost_additions import held_at_the_next_addition
from tests.integration.repair.engine_on_devnet import Running, running


async def test_other_groups_that_are_well_hold_nothing_up(tmp_path: Path) -> None:
    """The new member's node has groups with others and one of its own: the addition is proven beside them."""
    async with running(tmp_path) as run:
        for name, members in (("shared", run.keys), ("own", run.keys[2:])):
            await succeeded(run, name, "create_group", members)
        group = await succeeded(run, "group", "create_group", run.keys[:2])
        await succeeded(run, "add", "add_members", [run.keys[2]], group)


async def test_an_addition_after_which_another_group_differs_parks(tmp_path: Path) -> None:
    """The member is in sync; the group that it shares with others is not: named with its node and block."""
    async with running(tmp_path) as run:
        other = await succeeded(run, "other", "create_group", run.keys)
        group = await succeeded(run, "group", "create_group", run.keys[:2])
        change = await run.ask("add", "add_members", [run.keys[2]], group)
        async with held_at_the_next_addition(run.devnet):
            await run.until(change.change_id, State.REPLAYING)
            await run.devnet.call(1, "devnet_diverge", [3, other])
        parked = await run.at_rest(change.change_id)
        assert parked.reason is not None
        assert (parked.state, parked.reason.slug) == (State.PARKED, "other_group_rolled_back")
        assert f"group {other} on node m3 at block " in parked.reason.detail
        assert (await run.retry(change.change_id)).state is State.SUCCEEDED, "whoever retries has seen it"


async def succeeded(run: Running, request_id: str, kind: str, members: list[str], group: str | None = None) -> str:
    change = await run.at_rest((await run.ask(request_id, kind, members, group)).change_id)
    assert change.state is State.SUCCEEDED, change.reason
    return change.privacy_group_id
