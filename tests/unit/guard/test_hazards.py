"""Each hazard against a node with a guard, and against the same node without one."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.guard.judge import JudgeSettings
from orchestrator.guard.listener import listening
from orchestrator.membership.guard.judgement import Accept, GuardRules
from orchestrator.membership.guard.received_bundles import Approval
from tests.fakes.guarded_network import APPLICATION, OTHER_KEY, GuardedNetwork, guarded_network, until
from tests.unit.guard import hazards
from tests.unit.guard.running_guard import guard

VICTIM = 3
OWNER = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
Hazard = Callable[[GuardedNetwork, int, str], Awaitable[bytes]]
HALTING: dict[str, Hazard] = {
    "block_not_replayable": hazards.poisoned,
    "block_not_replayable, the lock's": hazards.poisoned_lock,
    "bundle_may_be_torn": hazards.torn,
    "bundle_may_be_torn, by hand": hazards.forged,
    "held_beyond": hazards.diverged_member,
    "former_member_unsafe": hazards.former_member,
}


@pytest.mark.parametrize("reason", HALTING)
async def test_what_halts_a_node_is_not_found_behind_a_guard(reason: str) -> None:
    """Without a guard the node stands for good; behind one it goes on, and its other group is as it is elsewhere."""
    async with guarded_network() as network:
        own = network.group("own")
        await network.create(own, VICTIM, 1)
        payload = await HALTING[reason](network, VICTIM, network.group("G"))
        async with guard(network, VICTIM) as standing:
            before = network.root(VICTIM, network.group("G"))
            await network.block(network.marker(payload))
            assert not network.halted(VICTIM)
            assert reason.partition(",")[0] in standing.reasons
            assert network.root(VICTIM, network.group("G")) == before
            await network.write(own, 1)
            assert network.root(VICTIM, own) == network.root(1, own)
        payload = await HALTING[reason](network, VICTIM, network.group("H"))
        await network.block(network.marker(payload))
        assert network.halted(VICTIM)


async def test_a_lock_in_the_block_before_does_not_cost_the_node_another_group() -> None:
    """Such an addition is refused where a group of the node has a transaction there, and taken where none has."""
    async with guarded_network() as network:
        payload = await hazards.next_block(network, VICTIM, network.group("G"))
        own = network.group(network.group("G") + " own")
        async with guard(network, VICTIM) as standing:
            await network.block(network.marker(payload))
            assert standing.reasons == ["other_group_rolled_back"]
            assert network.root(VICTIM, own) == network.root(1, own)
            quiet = network.group("quiet")
            await network.create(quiet, 1, 2)
            await network.add(quiet, VICTIM, window=1)
            assert network.root(VICTIM, quiet) == network.root(1, quiet)
        payload = await hazards.next_block(network, VICTIM, network.group("H"))
        await network.block(network.marker(payload))
        own = network.group(network.group("H") + " own")
        assert network.root(VICTIM, own) != network.root(1, own)


async def test_histories_that_would_not_make_a_member_are_not_replayed() -> None:
    """An addition without a lock would fail and leave its history there; a long one would take the node's time."""
    async with guarded_network() as network:
        async with guard(network, VICTIM, GuardRules(most_transactions=10)) as standing:
            payload = await hazards.unlocked(network, VICTIM, network.group("G"))
            await network.block(network.marker(payload))
            payload = await hazards.huge(network, VICTIM, network.group("H"))
            await network.block(network.marker(payload))
            assert standing.reasons == ["group_not_locked", "bundle_unreadable"]
        async with guard(network, VICTIM, GuardRules(transactions_per_second=1, most_replay_seconds=9)) as standing:
            payload = await hazards.huge(network, VICTIM, network.group("I"))
            await network.block(network.marker(payload))
            assert standing.reasons == ["replay_too_long"]
        assert await network.call(VICTIM, "privx_findFlexiblePrivacyGroup", []) == []


async def test_an_honest_addition_passes_and_a_copied_marker_does_not(tmp_path: Path) -> None:
    """A node behind a guard gets the group; a stranger's copy of the marker throws neither it nor the sender back.

    Not even after the guards lost what they had decided; and the node still reads what it was added with, to send.
    """
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        await network.write(group)
        async with guard(network, 1) as sender, guard(network, VICTIM) as newcomer:
            payload, _ = await network.add(group, VICTIM)
            assert network.root(VICTIM, group) == network.root(1, group) == network.root(2, group)
            assert newcomer.reasons == ["safe"]
            assert sender.reasons == []
            await network.write(group, 2, key=OTHER_KEY)
            await network.block(network.marker(payload))
            await network.write(group, 2, key=OTHER_KEY)
            assert network.root(VICTIM, group) == network.root(1, group) == network.root(2, group)
            assert newcomer.reasons == ["held_beyond"]
            assert sender.reasons == ["held_beyond"]
            await network.add(group, 4, node=VICTIM)
            assert network.root(4, group) == network.root(2, group)
        async with guard(network, 1), guard(network, VICTIM):
            await network.block(network.marker(payload))
            await network.write(group, 2, key=OTHER_KEY)
            assert network.root(VICTIM, group) == network.root(1, group) == network.root(2, group)


async def test_a_copied_marker_does_not_pass_for_the_nodes_own_reading() -> None:
    """While the node sends an addition, a copy that is seen in its pool is refused."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        async with guard(network, VICTIM) as standing:
            payload, _ = await network.add(group, VICTIM)
            await network.write(group, 2, key=OTHER_KEY)
            copy = network.marker(payload)
            standing.judge.adds(group)
            await network.call(1, "eth_sendRawTransaction", "0x" + copy.raw.hex())
            await network.block(copy)
            assert network.root(VICTIM, group) == network.root(2, group)
            assert standing.reasons == ["held_beyond"]


async def test_without_a_guard_a_copied_marker_splits_the_group() -> None:
    """Sender and newcomer fall back to the lock, and nobody else does."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        payload, _ = await network.add(group, VICTIM)
        await network.write(group, 2, key=OTHER_KEY)
        await network.block(network.marker(payload))
        assert network.root(VICTIM, group) == network.root(1, group) != network.root(2, group)


async def test_an_unlock_while_the_marker_waits_does_not_throw_the_sender_back() -> None:
    """The sender behind a guard goes with the other members, where it would have split the group with the newcomer."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        async with guard(network, 1) as sender:
            payload = await network.lock_and_distribute(group, VICTIM)
            await network.unlock(group, 2)
            await network.write(group, 2, key=OTHER_KEY)
            await network.block(network.marker(payload))
            assert sender.reasons == ["held_beyond"]
            assert network.root(1, group) == network.root(2, group)


async def test_who_is_not_known_or_was_not_agreed_to_is_refused() -> None:
    """By rule: the owners that are known, or what was approved, bound to group, owner and members."""
    async with guarded_network() as network:
        known = GuardRules(accept=Accept.KNOWN_OWNERS, known_owners=frozenset({OWNER}))
        async with guard(network, VICTIM, known) as standing:
            await network.create(network.group("G"), 1, 2)
            await network.add(network.group("G"), VICTIM)
            group = network.group("stranger's")
            await network.execute(network.addition(2, 1), group, 2, key=OTHER_KEY)
            await network.execute(hazards.LOCK, group, 2, key=OTHER_KEY)
            await network.block()
            payload = await network.distribute(network.addition(VICTIM), group, 2, key=OTHER_KEY)
            await network.block(network.marker(payload))
            assert standing.reasons == ["safe", "owner_not_known"]
            assert network.root(VICTIM, group) is None
        asked = network.group("asked")
        approval = Approval(privacy_group_id=asked, owner=OWNER, members=frozenset(network.keys[:2]))
        async with guard(network, VICTIM, GuardRules(accept=Accept.ASKED), approvals=(approval,)) as standing:
            for group in (asked, network.group("not asked")):
                await network.create(group, 1, 2)
                await network.add(group, VICTIM)
            assert standing.reasons == ["safe", "not_agreed_to"]
            assert network.root(VICTIM, asked) == network.root(1, asked)


async def torn_addition(network: GuardedNetwork) -> bytes:
    """Return what an addition's marker brings: a history that lacks a transaction which its roots have."""
    group = network.group("G")
    await network.create(group, 1, 2)
    await network.write(group, 2, key=OTHER_KEY)
    honest = await network.lock_and_distribute(group, VICTIM)
    return honest[:32] + hazards.without(network, honest, 1, VICTIM)


async def test_roots_that_no_replay_reaches_stop_a_node_until_it_is_restarted() -> None:
    """Nothing shows such a history; a node that asks for it again and again is no longer given it."""
    async with guarded_network() as network:
        payload = await torn_addition(network)
        async with guard(network, VICTIM, GuardRules(stalled_after_seconds=0.0)) as standing:
            await network.block(network.marker(payload))
            assert network.halted(VICTIM)
            assert standing.reasons == ["safe"]
            for _ in range(2):
                await network.call(1, "devnet_setEnclaveUrl", VICTIM, standing.url)
                await network.imported()
            assert network.halted(VICTIM)
            await network.call(1, "devnet_setEnclaveUrl", VICTIM, standing.url)
            await network.imported()
            assert not network.halted(VICTIM)
            assert standing.reasons == ["replay_failed"]


UNSEEN: dict[str, Hazard] = {
    "a torn bundle without a gap": hazards.torn_unseen,
    "an account left out": hazards.left_out,
    "false roots": hazards.false_roots,
    "another transaction": hazards.altered,
}
CONFIRMED = GuardRules(refuse_unconfirmed=True)


@pytest.mark.parametrize("hazard", UNSEEN)
async def test_what_only_a_replay_would_tell_is_refused_where_a_member_must_confirm_it(hazard: str) -> None:
    """No rule sees it in the bundle: the node halts. With `unconfirmed = "refuse"` it doesn't, with a witness or none.

    What an honest member sends still passes, since the witness shows all of it.
    """
    async with guarded_network() as network:
        own = network.group("own")
        await network.create(own, VICTIM, 1)
        for witnesses in ((), (1, 2)):
            group = network.group(f"behind a guard with {witnesses}")
            async with guard(network, VICTIM, CONFIRMED, witnesses=witnesses) as standing:
                payload = await UNSEEN[hazard](network, VICTIM, group)
                await network.block(network.marker(payload))
                assert not network.halted(VICTIM)
                assert network.root(VICTIM, group) is None
                assert standing.reasons == ["bundle_may_be_torn" if witnesses else "roots_not_confirmed"]
        async with guard(network, VICTIM, CONFIRMED, witnesses=(2,)) as standing:
            honest = network.group("honest")
            await network.create(honest, 1, 2)
            await network.write(honest, 2, key=OTHER_KEY)
            await network.add(honest, VICTIM)
            assert standing.reasons == ["safe"]
            assert network.root(VICTIM, honest) == network.root(2, honest)
        await network.write(own, 1)
        assert network.root(VICTIM, own) == network.root(1, own)
        async with guard(network, VICTIM) as standing:
            payload = await UNSEEN[hazard](network, VICTIM, network.group("behind a guard that passes it"))
            await network.block(network.marker(payload))
            assert standing.reasons == ["safe"]
            assert network.halted(VICTIM)


async def test_a_witness_that_does_not_answer_is_waited_for() -> None:
    """Not knowing is not a no: the bundle is judged when the member's node answers again."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        async with guard(network, VICTIM, CONFIRMED, witnesses=(2,)) as standing:
            payload = await network.lock_and_distribute(group, VICTIM)
            fault = {"kind": "status", "node": 2, "count": 4, "status": 503}
            await network.call(1, "devnet_rpcFault", fault)
            await network.block(network.marker(payload))
            assert standing.reasons == ["safe"]
            assert network.root(VICTIM, group) == network.root(1, group)


async def test_another_node_of_ours_that_is_a_member_shows_such_a_history() -> None:
    """Where the guard may ask a member's node, what it shows of the group has to be what the history says."""
    async with guarded_network() as network:
        payload = await torn_addition(network)
        async with guard(network, VICTIM, witnesses=(2,)) as standing:
            await network.block(network.marker(payload))
            assert not network.halted(VICTIM)
            assert standing.reasons == ["bundle_may_be_torn"]


async def test_a_decision_is_given_again_after_a_restart_of_the_guard(tmp_path: Path) -> None:
    """What was refused stays refused, whatever the rules say by then: the node processes the block a second time."""
    async with guarded_network() as network:
        group, file = network.group("G"), tmp_path / "decisions.jsonl"
        await network.create(group, 1, 2)
        async with guard(network, VICTIM, GuardRules(accept=Accept.ASKED), file=file):
            payload, _ = await network.add(group, VICTIM)
            assert network.root(VICTIM, group) is None
        file.write_bytes(file.read_bytes() + b'{"history_key": "half a li')
        async with guard(network, VICTIM, file=file) as standing:
            await network.block(network.marker(payload))
            assert network.root(VICTIM, group) is None
            assert standing.reasons == ["not_agreed_to"]
            assert standing.told == []


@pytest.mark.parametrize("undecided", ["pass", "refuse"])
async def test_what_can_not_be_judged_in_time_is_passed_or_refused_as_configured(undecided: str) -> None:
    """With no time at all nothing is judged, and that is said."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        settings = JudgeSettings(
            rules=GuardRules(), within=timedelta(0), undecided="pass" if undecided == "pass" else "refuse"
        )
        async with guard(network, VICTIM, settings=settings) as standing:
            await network.add(group, VICTIM)
            assert standing.reasons == ["not_judged"]
            assert (network.root(VICTIM, group) is not None) is (undecided == "pass")


async def test_honest_additions_are_all_taken() -> None:
    """New members, several at once, a former member that comes back, a key of the sender's node: none is refused."""
    async with (
        guarded_network(nodes=5) as network,
        guard(network, 1) as first,
        guard(network, VICTIM) as third,
        guard(network, 4) as fourth,
    ):
        group = network.group("G")
        await network.create(group, 1, 2)
        await network.write(group)
        await network.add(group, VICTIM, 4)
        await network.write(group, 4, key=OTHER_KEY)
        await network.remove(group, VICTIM)
        await network.write(group, 2)
        await network.add(group, VICTIM, node=4)
        await network.add(group, 5, node=VICTIM)
        await network.write(group, 2)
        others = [network.group(f"other {number}") for number in range(3)]
        for other in others:
            await network.create(other, 4, 5)
            await network.execute(b"\x05", other, 4, to=APPLICATION)
            await network.add(other, VICTIM, node=4)
        for other in others:
            assert network.root(VICTIM, other) == network.root(5, other)
        assert {network.root(number, group) for number in (1, 3, 4, 5)} == {network.root(2, group)}
        said = {reason for one in (first, third, fourth) for reason in one.reasons}
        assert said == {"safe"}


async def test_a_guard_that_dies_delays_blocks_until_it_is_back() -> None:
    """The node waits for its enclave meanwhile, misses nothing, and is given what it was given before."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        async with guard(network, VICTIM) as standing:
            payload = await network.lock_and_distribute(group, VICTIM)
            await standing.stop()
            network.network.append_block([network.marker(payload)])
            node = network.network.nodes[VICTIM - 1]
            await until(lambda: network.network.nodes[0].head is network.network.chain.head)
            assert node.head is not network.network.chain.head
            async with listening(standing.proxy.answer, standing.url.removeprefix("http://")):
                await network.imported()
                assert network.root(VICTIM, group) == network.root(1, group)


async def test_a_node_that_does_not_answer_at_once_is_asked_again() -> None:
    """A failing call delays the judgement and decides nothing; so does an honest addition whose node is slow."""
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        async with guard(network, VICTIM) as standing:
            payload = await network.lock_and_distribute(group, VICTIM)
            fault = {"kind": "status", "node": VICTIM, "count": 4, "status": 503}
            await network.call(1, "devnet_rpcFault", fault)
            await network.block(network.marker(payload))
            assert standing.reasons == ["safe"]
            assert network.root(VICTIM, group) == network.root(1, group)


async def test_a_defect_of_the_guard_is_nothing_that_the_node_stands_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong in judging, the bundle is dealt with as one that could not be judged."""

    def broken(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("orchestrator.guard.judge.judge", broken)
    async with guarded_network() as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        async with guard(network, VICTIM) as standing:
            await network.add(group, VICTIM)
            assert standing.reasons == ["not_judged"]
            assert not network.halted(VICTIM)


@pytest.mark.parametrize("version", ["21.10.2", "22.4.4", "25.4.1", "25.5.0"])
async def test_each_line_of_besu_is_guarded(version: str) -> None:
    """Both dialects of the management contract: an honest addition passes, one that halts the node doesn't."""
    async with guarded_network(besu_version=version) as network, guard(network, VICTIM) as standing:
        group = network.group("G")
        await network.create(group, 1, 2)
        await network.add(group, VICTIM)
        payload = await hazards.poisoned(network, VICTIM, network.group("H"))
        await network.block(network.marker(payload))
        assert standing.reasons == ["safe", "block_not_replayable"]
        assert not network.halted(VICTIM)
        # 25.5.0 loses the groups of a node that is no validator (docs/besu.md#versions, 6), guard or not.
        assert (network.root(VICTIM, group) == network.root(1, group)) is (version != "25.5.0")
