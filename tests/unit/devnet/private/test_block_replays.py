"""Which markers make a node replay, and what a bundle does that is older than its node's group."""

import pytest

from orchestrator.besu.codec.management_contract import Method, encode_call
from orchestrator.devnet.errors import RpcError
from tests.unit.devnet.driving import APPLICATION, Driver

UNLOCK = encode_call(Method.UNLOCK)


def pending_addition(driver: Driver) -> bytes:
    """A locked group of nodes 1, 2 and 4, and an addition of node 3 by node 2 whose marker is not mined yet."""
    driver.create(1, 2, 4)
    driver.lock()
    driver.mine()
    return driver.distribute(driver.addition(3), node=2)


def states(driver: Driver) -> list[str]:
    """The group's root on each node that knows it."""
    driver.mine()
    return [driver.root(node) for node in (1, 2, 3, 4)]


@pytest.mark.parametrize("is_written", [False, True])
def test_an_unlock_while_the_marker_is_pending_splits_the_group(is_written: bool) -> None:
    """Sender and newcomer fall back to the lock and execute the addition, which the others refuse."""
    driver = Driver(nodes=4, validators=1)
    payload = pending_addition(driver)
    driver.unlock()
    if is_written:
        driver.write(1)
    driver.mine_exactly(driver.marker(payload))
    first, sender, newcomer, last = states(driver)

    assert sender == newcomer != first == last
    assert driver.keys[2] in driver.members(2)
    assert driver.keys[2] not in driver.members(1)


def test_two_markers_of_one_addition_in_two_blocks_split_the_group() -> None:
    """What was written in between is lost to the sender and the newcomer, which execute the addition again."""
    driver = Driver(nodes=4, validators=1)
    payload = pending_addition(driver)
    driver.mine_exactly(driver.marker(payload))
    driver.mine_exactly(driver.marker(payload))
    first, sender, newcomer, last = states(driver)

    assert sender == newcomer != first == last
    assert driver.members(1) == driver.members(2)
    assert driver.view(1, Method.GET_VERSION) != driver.view(2, Method.GET_VERSION)


def test_two_markers_of_one_addition_in_one_block_do_no_harm() -> None:
    """The second finds the group unlocked everywhere."""
    driver = Driver(nodes=4, validators=1)
    payload = pending_addition(driver)
    driver.mine_exactly(driver.marker(payload), driver.marker(payload))

    assert len(set(states(driver))) == 1


def test_anybody_s_copy_of_an_old_marker_takes_two_nodes_back() -> None:
    """A public transaction of a stranger with the input of an old addition's marker splits the group."""
    driver = Driver(nodes=4, validators=1)
    payload = pending_addition(driver)
    driver.mine_exactly(driver.marker(payload))
    driver.write(2)
    assert len(set(states(driver))) == 1
    driver.mine_exactly(driver.marker(payload))
    first, sender, newcomer, last = states(driver)

    assert sender == newcomer != first == last


def test_a_bundle_older_than_the_lock_leaves_the_addition_to_the_others() -> None:
    """Sender and newcomer refuse what the other members execute."""
    driver = Driver(nodes=4, validators=1)
    driver.create(1, 2, 4)
    payload = driver.distribute(driver.addition(3), node=2, private_nonce=2)
    driver.lock()
    driver.mine_exactly(driver.marker(payload))
    first, sender, newcomer, last = states(driver)

    assert sender == newcomer != first == last
    assert driver.keys[2] in driver.members(1)
    assert driver.keys[2] not in driver.members(2)


def test_an_addition_to_an_unlocked_group_costs_its_sender_a_transaction() -> None:
    """It fails everywhere; the newcomer holds the group, and the sender has lost what came in between."""
    driver = Driver(nodes=4, validators=1)
    driver.create(1, 2, 4)
    driver.write(1)
    payload = driver.distribute(driver.addition(3), node=2)
    driver.write(1)
    driver.mine_exactly(driver.marker(payload))
    first, sender, newcomer, last = states(driver)

    assert sender == newcomer != first == last
    assert driver.members(3) == driver.members(1)
    assert driver.view(1, Method.GET_VERSION) == driver.view(2, Method.GET_VERSION)


def test_an_empty_addition_carries_a_bundle_as_well() -> None:
    """Its marker has the history's key, and a copy of it takes its sender back."""
    driver = Driver(nodes=3, validators=1)
    driver.create(1, 2)
    driver.lock()
    payload = driver.distribute(driver.addition(), node=2)
    driver.mine_exactly(driver.marker(payload))
    driver.write(1)
    assert driver.root(1) == driver.root(2)
    driver.mine_exactly(driver.marker(payload))
    driver.mine()

    assert len(payload) == 64
    assert driver.root(1) != driver.root(2)


def test_an_unlock_before_the_addition_in_one_block_leaves_it_to_the_newcomer() -> None:
    """The newcomer does not get the unlock, so that it alone executes the addition."""
    driver = Driver(nodes=4, validators=1)
    payload = pending_addition(driver)
    unlock = driver.distribute(UNLOCK)
    driver.mine_exactly(driver.marker(unlock), driver.marker(payload))
    first, sender, newcomer, last = states(driver)

    assert first == sender == last != newcomer
    assert driver.keys[2] in driver.members(3)


def test_two_additions_under_one_lock_in_consecutive_blocks_make_two_halves() -> None:
    """The second takes its sender back to the lock."""
    driver = Driver(nodes=5, validators=1)
    first_payload = pending_addition(driver)
    second_payload = driver.distribute(driver.addition(5))
    driver.mine_exactly(driver.marker(first_payload))
    driver.mine_exactly(driver.marker(second_payload))
    first, second, third, fourth = states(driver)

    assert first == driver.root(5) != second
    assert second == third == fourth


def test_a_split_is_healed_through_a_node_without_the_bundle() -> None:
    """Remove the sender, lock, wait a block, add both in one call."""
    driver = Driver(nodes=4, validators=1)
    payload = pending_addition(driver)
    driver.unlock()
    driver.mine_exactly(driver.marker(payload))
    assert len(set(states(driver))) == 2
    driver.remove(2)
    driver.lock()
    driver.mine()
    driver.add(2, 3)

    assert len(set(states(driver))) == 1
    assert set(driver.members(3)) == set(driver.keys)


@pytest.mark.parametrize("is_copied", [True, False])
def test_a_sender_that_lost_a_transaction_comes_back_by_a_copy_of_its_marker(is_copied: bool) -> None:
    """Removed through another node, it falls back to the bundle's healthy end and can be added; else it halts."""
    driver = Driver(nodes=4, validators=1)
    driver.create(1, 2, 4)
    driver.write(1)
    payload = driver.distribute(driver.addition(3), node=2)
    driver.write(1, account=2)
    driver.mine_exactly(driver.marker(payload))
    driver.write(1, account=3)
    driver.remove(2)
    if is_copied:
        driver.mine_exactly(driver.marker(payload))
    driver.lock()
    driver.mine()
    driver.add(2)

    assert (driver.call(1, "devnet_status")[1]["halted"] is None) is is_copied
    if is_copied:
        assert driver.root(2) == driver.root(1)


def test_a_stale_bundle_passes_a_block_that_its_node_stored_before() -> None:
    """A node that falls back does not halt at a block that can't be replayed: what it stored there still counts."""
    driver = Driver(nodes=4, validators=1)
    driver.create(1, 2, 4)
    payload = driver.distribute(b"beside a pair", to=APPLICATION)
    driver.mine_exactly(driver.marker(payload), *driver.pair_of_one_account())
    driver.lock()
    payload = driver.distribute(driver.addition(), node=2)
    driver.unlock()
    driver.mine_exactly(driver.marker(payload))

    assert driver.call(1, "devnet_status")[1]["halted"] is None
    assert driver.members(2) == driver.members(1)
    assert driver.root(2) != driver.root(1)


@pytest.mark.parametrize(
    ("validators", "blocks_before", "receives"),
    [(2, 0, False), (3, 0, False), (3, 1, True), (3, 2, True)],
    ids=["no validator", "the block's proposer", "checked it", "checked it too"],
)
def test_25_5_0_loses_added_members(validators: int, blocks_before: int, receives: bool) -> None:
    """Unless the node processed the addition's block before, as a validator that checks another's proposal does."""
    driver = Driver(besu_version="25.5.0", validators=validators)
    # Node 3 proposes the third block of three.
    driver.mine(3 + blocks_before)
    created = driver.create(1, 2)
    receipt = driver.lock_and_add(3)

    assert receipt["status"] == "0x1"
    assert (driver.members(3) == tuple(driver.keys)) is receives
    # What it replayed is there, and what it knew of old blocks.
    assert driver.call(3, "priv_getTransactionReceipt", created["commitmentHash"])["status"] == "0x1"
    assert driver.members(3, created["blockNumber"]) == tuple(driver.keys[:2])
    if validators == 2:
        with pytest.raises(RpcError, match="Error finding privacy group"):
            driver.root(3)
        driver.remove(3)
        driver.lock_and_add(3)
        assert driver.members(3) == ()


def test_25_5_0_takes_a_former_member_back_to_what_it_had() -> None:
    """It replays and then starts the block from what it knew before."""
    driver = Driver(besu_version="25.4.1", validators=2)
    driver.create(1, 2)
    driver.lock_and_add(3)
    driver.remove(3)
    old_root = driver.root(3)
    driver.call(1, "devnet_setBesuVersion", "25.5.0")
    driver.write(1)
    driver.lock_and_add(3)

    assert driver.root(3) == old_root != driver.root(1)
