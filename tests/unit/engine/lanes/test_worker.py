import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.nodes import NodeError, Said
from orchestrator.membership.attempt import Action, AttemptStatus
from orchestrator.membership.model import State, Verdict
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.retry import FAILURES_WHILE_LOCKED
from tests.patience import patient
from tests.unit.engine.conftest import BLOCK_SECONDS, GROUP, Rig, key


def actions(rig: Rig) -> list[str]:
    return [str(call["action"]) for call in rig.network.executed]


async def test_a_group_is_created_in_one_transaction(rig: Rig) -> None:
    """Creating takes one private transaction and ends with every member's node compared."""
    await rig.group_of("a", "b")
    assert actions(rig) == ["create"]
    assert rig.network.groups[GROUP].participants == (key("a"), key("b"))


async def test_a_member_is_added_by_lock_and_add_and_proven(rig: Rig) -> None:
    """Adding takes a lock and an addition that gives it back, and the three members are proven in sync."""
    await rig.group_of("a", "b")
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.SUCCEEDED
    assert actions(rig) == ["create", "lock", "add"]
    assert {entry.verdict for entry in change.progress} == {Verdict.IN_SYNC}
    assert not rig.network.groups[GROUP].locked


async def test_a_groups_members_are_known_again_after_a_restart(rig: Rig) -> None:
    """By the newest change that succeeded in it: else a node that shows it as its own might be believed at first."""
    await rig.group_of("a", "b")
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    again = Fleet(rig.fleet.watchers)
    executor = replace(rig.executor, sending=replace(rig.executor.sending, fleet=again))
    assert not again.knows(GROUP)
    await executor._recall_members(change)
    assert again._members[GROUP] == {key("a"), key("b"), key("c")}


async def test_adds_that_wait_together_share_one_lock(rig: Rig) -> None:
    """Two adds that were queued behind another change become one lock and one addition, each with its own end."""
    asked = [await rig.ask("create_group", "a"), await rig.ask("add_members", "b"), await rig.ask("add_members", "c")]
    ended = await rig.until_at_rest(*asked)
    assert [change.state for change in ended] == [State.SUCCEEDED] * 3
    assert actions(rig) == ["create", "lock", "add"]


async def test_members_are_removed_one_block_each(rig: Rig) -> None:
    """Removing two members takes two transactions, after which the rest are proven equal."""
    await rig.group_of("a", "b", "c")
    (change,) = await rig.until_at_rest(await rig.ask("remove_members", "b", "c"))
    assert change.state is State.SUCCEEDED
    assert actions(rig) == ["create", "remove", "remove"]
    assert [entry.enclave_key for entry in change.progress] == [key("a")]


async def test_a_desired_member_set_adds_then_removes(rig: Rig) -> None:
    """A desired set first adds who is missing and proves them, then removes who is too many."""
    await rig.group_of("a", "b")
    (change,) = await rig.until_at_rest(await rig.ask("set_members", "a", "c"))
    assert change.state is State.SUCCEEDED
    assert actions(rig) == ["create", "lock", "add", "remove"]
    assert set(rig.network.groups[GROUP].participants) == {key("a"), key("c")}


async def test_what_is_so_already_is_proven_without_a_transaction(rig: Rig) -> None:
    """Adding a present member sends nothing and still ends with a proof."""
    await rig.group_of("a", "b")
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "b"))
    assert change.state is State.SUCCEEDED
    assert actions(rig) == ["create"]
    assert {entry.verdict for entry in change.progress} == {Verdict.IN_SYNC}


async def test_a_refused_add_gives_the_lock_back(rig: Rig) -> None:
    """When nobody hosts the key, and it is none of our nodes', the lock is undone and the change says why it failed."""
    await rig.group_of("a", "b")
    lock_passes = rig.nodes["a"].distribute

    async def refuse_additions(raw: bytes, from_block: int | None = None) -> bytes:
        if json.loads(raw)["action"] == "add":
            raise NodeError(Reason(slug="enclave_key_unknown", detail="NodeMissingPeerUrl"))
        return await lock_passes(raw)

    for node in rig.nodes.values():
        node.distribute = refuse_additions  # type: ignore[method-assign] # the fault that is tested
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "stranger"))
    assert change.state is State.FAILED
    assert change.reason is not None
    assert change.reason.slug == "enclave_key_unknown"
    assert actions(rig) == ["create", "lock", "unlock"]
    assert not rig.network.groups[GROUP].locked


@pytest.mark.parametrize("slug", ["enclave_key_unknown", "enclave_recipient_away"])
async def test_an_enclave_of_a_member_that_is_away_is_waited_for(rig: Rig, slug: str) -> None:
    """A member's key was known once: whatever the enclave says of it now passes, and no group is locked meanwhile."""
    await rig.group_of("a", "b")
    distribute, refused = rig.nodes["a"].distribute, 0

    async def refuse_twice(raw: bytes, from_block: int | None = None) -> bytes:
        nonlocal refused
        if json.loads(raw)["action"] == "lock" and refused < 2:
            refused += 1
            raise NodeError(Reason(slug=slug, detail="it is away"), Said.REFUSED)
        return await distribute(raw)

    for node in rig.nodes.values():
        node.distribute = refuse_twice  # type: ignore[method-assign] # the fault that is tested
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert (change.state, refused) == (State.SUCCEEDED, 2)
    assert actions(rig) == ["create", "lock", "add"]


async def test_a_new_members_enclave_that_is_away_is_waited_for(rig: Rig) -> None:
    """Tessera tells no outage from an unknown key: the lock is given back, and the addition is tried again later."""
    await rig.group_of("a", "b")
    distribute, refused = rig.nodes["a"].distribute, 0

    async def refuse_some(raw: bytes, from_block: int | None = None) -> bytes:
        nonlocal refused
        if json.loads(raw)["action"] in ("add", "create") and refused < 2 * FAILURES_WHILE_LOCKED:
            refused += 1
            raise NodeError(Reason(slug="enclave_recipient_away", detail="Recipient not found for key"), Said.REFUSED)
        return await distribute(raw)

    for node in rig.nodes.values():
        node.distribute = refuse_some  # type: ignore[method-assign] # the fault that is tested
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.SUCCEEDED
    assert actions(rig) == ["create", "lock", "unlock", "lock", "add"]


async def test_a_lost_answer_is_found_on_the_chain(rig: Rig) -> None:
    """When the answer to a broadcast is lost, the marker's hash is known, and nothing is signed or executed twice."""
    await rig.group_of("a", "b")
    for node in rig.nodes.values():
        node.lose_answers = 1
    signed = len(rig.signers.signed)
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.SUCCEEDED
    assert actions(rig) == ["create", "lock", "add"]
    assert len(rig.signers.signed) - signed == 2


async def test_a_lost_pool_is_filled_again_with_the_same_bytes(rig: Rig) -> None:
    """A marker that is not mined for some blocks is broadcast again as the same bytes."""
    await rig.group_of("a", "b")
    asked = await rig.ask("remove_members", "b")
    while not rig.network.pool:
        await rig.clock.sleep(0.1)
    rig.network.drop_pool()
    signed = len(rig.signers.signed)
    (change,) = await rig.until_at_rest(asked)
    assert change.state is State.SUCCEEDED
    assert len(rig.signers.signed) == signed
    assert actions(rig) == ["create", "remove"]


async def test_a_foreign_lock_is_waited_for_then_parked_with_its_reason(rig: Rig) -> None:
    """A lock that is not ours is never broken by an add: it is waited for, then a person is asked."""
    await rig.group_of("a", "b")
    rig.network.act(GROUP, Action.LOCK)
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.PARKED
    assert change.reason is not None
    assert change.reason.slug == "locked_by_other"
    assert rig.network.groups[GROUP].locked
    assert actions(rig) == ["create", "lock"]


async def test_an_operator_breaks_a_foreign_lock(rig: Rig) -> None:
    """An explicit unlock unlocks a group that somebody else left locked."""
    await rig.group_of("a", "b")
    rig.network.act(GROUP, Action.LOCK)
    (change,) = await rig.until_at_rest(await rig.ask("unlock_group"))
    assert change.state is State.SUCCEEDED
    assert not rig.network.groups[GROUP].locked


async def test_a_member_that_loses_the_add_is_never_called_a_success(rig: Rig) -> None:
    """When the new member has the group at the add's block and loses it one block later, the change parks."""
    await rig.group_of("a", "b")
    asked = await rig.ask("add_members", "c")
    rig.nodes["c"].loses_group_from = rig.network.head.number + 4
    (change,) = await rig.until_at_rest(asked)
    assert change.state is State.PARKED
    assert change.reason is not None
    assert change.reason.slug == "member_missing"
    assert change.reason.members == (key("c"),)


async def lock_before_ours(rig: Rig) -> None:
    """Have somebody else lock the group with the private nonce of what waits in the pool, then mine both."""
    while not rig.network.pool:
        await rig.clock.sleep(0.1)
    ours, rig.network.pool = rig.network.pool, []
    rig.network.act(GROUP, Action.LOCK)
    rig.network.pool = ours
    rig.network.mine()


async def test_another_client_of_the_account_costs_a_retry_not_a_double(rig: Rig) -> None:
    """When somebody else uses the private nonce meanwhile, the change starts over and has one effect."""
    await rig.group_of("a", "b")
    asked = await rig.ask("remove_members", "b")
    await lock_before_ours(rig)
    rig.network.act(GROUP, Action.UNLOCK)
    (change,) = await rig.until_at_rest(asked)
    assert change.state is State.SUCCEEDED
    assert actions(rig).count("remove") == 1


async def test_a_marker_that_is_broadcast_twice_is_mined_once(rig: Rig) -> None:
    """When a crash hid the first broadcast, the second one is the same marker."""
    await rig.group_of("a", "b")
    for node in rig.nodes.values():
        broadcast = node.broadcast

        async def twice(raw: bytes, name: str, send: Callable[[bytes, str], Awaitable[None]] = broadcast) -> None:
            await send(raw, name)
            await send(raw, name)

        node.broadcast = twice  # type: ignore[method-assign,assignment] # the fault that is tested
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.SUCCEEDED
    assert change.tries == 0
    assert actions(rig) == ["create", "lock", "add"]


async def test_a_refusal_is_believed_only_when_it_is_deep_enough(cautious_rig: Rig) -> None:
    """With confirmations, a change that was refused ends only when the refusal lies that many blocks back."""
    rig = cautious_rig
    await rig.group_of("a", "b")
    asked = await rig.ask("remove_members", "b")
    await lock_before_ours(rig)
    refused_at = rig.network.head.number
    while (await rig.store.attempts(asked.change_id))[-1].live:
        await rig.clock.sleep(BLOCK_SECONDS)
        rig.network.mine()
    assert rig.network.head.number >= refused_at + 3
    rig.network.act(GROUP, Action.UNLOCK)
    (change,) = await rig.until_at_rest(asked)
    assert change.state is State.SUCCEEDED
    assert actions(rig).count("remove") == 1


async def test_a_group_is_not_locked_for_a_member_whose_enclave_is_down(rig: Rig) -> None:
    """The add waits for the enclave until its deadline, and nothing is sent for it."""
    await rig.group_of("a", "b")
    next(node for node in rig.network.nodes if node.name == "c").enclave_fault = "its enclave is away"
    asked = await rig.ask("add_members", "c", deadline_seconds=3600)

    async def waits_for() -> str | None:
        change = await rig.store.change(asked.change_id)
        return None if change is None or change.reason is None else change.reason.slug

    async with asyncio.timeout(patient(30)):
        while await waits_for() != "enclave_unreachable":
            rig.network.mine()
            await rig.clock.sleep(BLOCK_SECONDS)
    rig.clock.skip(3600)
    (ended,) = await rig.until_at_rest(asked)
    assert ended.state is State.FAILED
    assert actions(rig) == ["create"]


async def test_the_plan_tells_what_bundling_took_at_the_last_addition(rig: Rig) -> None:
    """The first addition can't know; the second one is planned with what the first one took."""
    await rig.group_of("a", "b")
    (first,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    (_,) = await rig.until_at_rest(await rig.ask("remove_members", "c"))
    (second,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert first.plan is not None
    assert second.plan is not None
    assert first.plan.bundling_seconds is None
    assert second.plan.bundling_seconds is not None


async def test_an_addition_that_no_block_holds_is_burnt_before_its_lock_is_undone(rig: Rig) -> None:
    """Only when its marker can't be mined any more the unlock is signed; then the change is tried again."""
    await rig.group_of("a", "b")
    asked = await rig.ask("add_members", "c")

    async def state() -> State:
        change = await rig.store.change(asked.change_id)
        assert change is not None
        return change.state

    while await state() is not State.UNLOCKING:
        # Nothing but locks: it may be unlocking since it was looked, and what burns the addition waits here.
        rig.network.pool = [entry for entry in rig.network.pool if b'"lock"' in entry[1]]
        rig.network.mine()
        await rig.clock.sleep(2.0)
    for _ in range(5):
        rig.network.pool = []  # what burns it is lost, too
        rig.network.mine()
        await rig.clock.sleep(2.0)
        assert await state() is State.UNLOCKING
    assert not [raw for raw in rig.signers.signed if b'"unlock"' in raw]
    (change,) = await rig.until_at_rest(asked)
    assert change.state is State.SUCCEEDED
    assert actions(rig) == ["create", "lock", "unlock", "lock", "add"]
    additions = [a for a in await rig.store.attempts(asked.change_id) if a.action is Action.ADD]
    assert [attempt.status for attempt in additions] == [AttemptStatus.BURNT, AttemptStatus.EFFECTIVE]


async def test_a_foreign_unlock_under_an_addition_is_answered_with_its_burn(rig: Rig) -> None:
    """The addition is taken back before it parts the members, and tried again under a lock that stands."""
    await rig.group_of("a", "b")
    asked = await rig.ask("add_members", "c")
    while not any(b'"add"' in raw for _, raw in rig.network.pool):
        rig.network.mine()
        await rig.clock.sleep(2.0)
    rig.network.pool = []
    rig.network.act(GROUP, Action.UNLOCK)
    (change,) = await rig.until_at_rest(asked)
    assert change.state is State.SUCCEEDED
    assert actions(rig) == ["create", "lock", "unlock", "lock", "add"]
    additions = [a for a in await rig.store.attempts(asked.change_id) if a.action is Action.ADD]
    assert [attempt.status for attempt in additions] == [AttemptStatus.BURNT, AttemptStatus.EFFECTIVE]


async def test_a_set_that_replaces_all_members_ends(rig: "Rig") -> None:
    """Nobody else could take out the one through whom the others come in: it fails at once, and the lane goes on."""
    await rig.group_of("c")
    (change,) = await rig.until_at_rest(await rig.ask("set_members", "a", "b"))
    assert change.reason is not None
    assert (change.state, change.reason.slug) == (State.FAILED, "would_empty_group")
    assert [call["action"] for call in rig.network.executed] == ["create"]
