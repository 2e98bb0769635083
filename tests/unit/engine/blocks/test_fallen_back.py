"""What a repeated marker did to whom, seen on a devnet."""

from orchestrator.besu.transport.http_client import open_session
from orchestrator.engine.blocks.fallen_back import fallen_back
from orchestrator.membership.damage.fallen_back import repetition_events
from orchestrator.membership.damage.unextendable import Repetition
from tests.fakes.guarded_network import OTHER_KEY, fleet_of, guarded_network


async def test_a_copied_marker_is_told_with_who_fell_back_and_the_cure_that_works() -> None:
    """Sender and newcomer fell back, the third member did not: through its node both are removed and added again."""
    async with guarded_network(enclave_http=False) as network, open_session() as session:
        fleet = fleet_of(network, session)
        group, quiet = network.group("G"), network.group("quiet")
        await network.create(quiet, 1, 3)
        await network.create(group, 1, 2)
        payload, first = await network.add(group, 3)
        await network.write(group, 2, key=OTHER_KEY)
        again = await network.block(network.marker(payload))
        for watcher in fleet.watchers:
            await watcher.refresh()
        repetition = Repetition(
            block_number=again, transaction_hash="0x2", sender="0xs", first_block=first, first_transaction="0x1"
        )
        (found,) = await fallen_back(fleet, [quiet, group], repetition)
        assert found.privacy_group_id == group
        assert [member.node for member in found.members] == ["member1", "member3"]
        assert found.through == "member2"
        (told,) = repetition_events(repetition, [found])
        assert told.data["cure"] == [network.keys[0], network.keys[2]]
        # The cure, as the event offers it: the nodes agree again.
        await network.remove(group, 1, node=2)
        await network.remove(group, 3, node=2)
        await network.add(group, 1, 3, node=2)
        assert network.root(1, group) == network.root(2, group) == network.root(3, group)


async def test_a_copy_that_did_nothing_is_told_as_that() -> None:
    """An addition whose members' nodes have not gone on since is executed again on nobody."""
    repetition = Repetition(
        block_number=9, transaction_hash="0x2", sender="0xs", first_block=5, first_transaction="0x1"
    )
    (told,) = repetition_events(repetition, [])
    assert (told.privacy_group_id, told.data["affected"], told.data["cure"]) == ("", [], [])
