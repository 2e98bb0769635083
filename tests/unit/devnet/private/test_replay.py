"""What a replay does to its node: other groups, later bundles, blocks that can't be replayed."""

import pytest

from orchestrator.besu.codec.management_contract import (
    Method,
    encode_call,
    encode_remove_participant,
)
from tests.unit.devnet.driving import APPLICATION, GROUP, OTHER_GROUP, Driver

LOCK = encode_call(Method.LOCK)


def busy_newcomer(**options: object) -> Driver:
    """A group of nodes 1 and 2, and another that node 3 founded with them and that has been written to."""
    driver = Driver(**{"nodes": 4, "validators": 1, **options})
    driver.create(1, 2)
    driver.create(1, 2, 3, group=OTHER_GROUP)
    driver.write(1, group=OTHER_GROUP)
    return driver


def lock_beside_a_write(driver: Driver) -> None:
    """Mine the group's lock and a write to the other group in one block."""
    driver.send(LOCK)
    driver.send(b"beside", to=APPLICATION, group=OTHER_GROUP)
    driver.mine()


@pytest.mark.parametrize(("window", "is_lost"), [(1, True), (2, False), (3, False)])
def test_a_window_of_one_block_rolls_another_group_back(window: int, is_lost: bool) -> None:
    """What the new member's node executed of other groups in the lock's block is lost to it, and to nobody else."""
    driver = busy_newcomer()
    lock_beside_a_write(driver)
    written_at = driver.head(1)
    driver.mine(window - 1) if window > 1 else None
    driver.add(3)
    driver.mine()

    assert (driver.root(3, group=OTHER_GROUP) != driver.root(1, group=OTHER_GROUP)) is is_lost
    assert driver.root(2, group=OTHER_GROUP) == driver.root(1, group=OTHER_GROUP)
    assert driver.root(3) == driver.root(1)
    # A block's own transactions are answered first, whatever its map says.
    block = hex(written_at)
    assert driver.root(3, block, group=OTHER_GROUP) == driver.root(1, block, group=OTHER_GROUP)


def test_a_lost_addition_shows_one_block_later_and_adding_again_repairs_it() -> None:
    """The next group's lock beside this one's addition, and its addition right after it, take this one back."""
    driver = Driver()
    for group in (GROUP, OTHER_GROUP):
        driver.create(1, 2, group=group)
    driver.lock()
    locked_root = driver.root(1)
    driver.send(driver.addition(3))
    driver.send(LOCK, group=OTHER_GROUP)
    added_at = hex(driver.mine())
    driver.add(3, group=OTHER_GROUP)

    assert driver.root(3, added_at) == driver.root(1, added_at)
    assert driver.root(3) == locked_root != driver.root(1)
    assert driver.root(3, group=OTHER_GROUP) == driver.root(1, group=OTHER_GROUP)
    driver.remove(3)
    driver.lock()
    driver.mine()
    driver.add(3)
    driver.mine(2)
    assert driver.root(3) == driver.root(1)
    assert set(driver.members(3)) == set(driver.keys)


def test_damage_stays_hidden_until_the_node_sends_an_addition() -> None:
    """Roots agree at every block, yet the bundle lacks a transaction, and the next newcomer's node stands for good."""
    driver = busy_newcomer()
    lock_beside_a_write(driver)
    driver.write(1, group=OTHER_GROUP)
    driver.add(3)
    blocks = [hex(number) for number in range(2, driver.head(1) + 1)]
    roots = [[driver.root(node, block, group=OTHER_GROUP) for block in blocks] for node in (1, 3)]
    driver.lock(group=OTHER_GROUP)
    driver.mine()
    driver.add(4, node=3, group=OTHER_GROUP)
    driver.mine()

    assert roots[0] == roots[1]
    assert driver.head(4) == driver.head(1) - 2
    assert "history" in driver.call(1, "devnet_status")[3]["halted"]


def test_a_sender_that_never_replayed_sends_a_whole_bundle() -> None:
    """The same history, bundled by a founder, replays."""
    driver = busy_newcomer()
    lock_beside_a_write(driver)
    driver.write(1, group=OTHER_GROUP)
    driver.add(3)
    driver.lock(group=OTHER_GROUP)
    driver.mine()
    driver.add(4, group=OTHER_GROUP)

    assert driver.root(4, group=OTHER_GROUP) == driver.root(1, group=OTHER_GROUP)


@pytest.mark.parametrize(("pause", "beside", "halts"), [(0, True, True), (2, True, False), (0, False, False)])
def test_a_former_member_can_halt_though_its_roots_are_right(pause: int, beside: bool, halts: bool) -> None:
    """Where its removal's block also holds what it replayed since, the block after it is replayed from a wrong map."""
    driver = Driver(nodes=4, validators=1)
    driver.create(1, 2)
    driver.create(1, 2, 3, group=OTHER_GROUP)
    driver.send(encode_remove_participant(driver.abi, driver.keys[2]), group=OTHER_GROUP)
    if beside:
        driver.send(b"beside", to=APPLICATION)
    removed_at = driver.mine()
    driver.mine(pause) if pause else None
    driver.write(1, group=OTHER_GROUP)
    driver.lock()
    driver.mine()
    driver.add(3)
    blocks = [hex(block) for block in range(removed_at, driver.head(3) + 1)]
    last = driver.root(1, blocks[0], group=OTHER_GROUP)
    driver.lock(group=OTHER_GROUP)
    driver.mine()
    if beside:
        assert {driver.root(3, block, group=OTHER_GROUP) for block in blocks} == {last}
    driver.add(3, group=OTHER_GROUP)

    assert (driver.call(1, "devnet_status")[2]["halted"] is not None) is halts


def unreplayable_history(driver: Driver, *, failed: bool = False) -> None:
    """A group of nodes 1 and 2 with a block that also holds two public transactions of one account, and its lock."""
    driver.create(1, 2)
    nonce = {"private_nonce": 7} if failed else {}
    payload = driver.distribute(b"beside a pair", to=APPLICATION, **nonce)
    driver.mine_exactly(driver.marker(payload), *driver.pair_of_one_account())
    driver.lock()
    driver.mine()


def test_a_block_with_an_account_twice_stops_the_newcomer_for_good() -> None:
    """Its node stands before the addition's block, logs why, and a restart doesn't help; the others go on."""
    driver = Driver(nodes=4, validators=1)
    unreplayable_history(driver)
    stands_at = driver.head(1)
    driver.add(3)
    driver.mine()
    for up in (False, True):
        driver.call(1, "devnet_setNode", 3, up)
    driver.mine(2)
    log = driver.call(1, "devnet_nodeLog", 3)

    assert [driver.head(node) for node in (1, 3)] == [stands_at + 4, stands_at]
    assert "nonce 1 does not match sender account nonce 0" in driver.call(1, "devnet_status")[2]["halted"]
    assert log[0] == "Invalid transaction: transaction nonce 1 does not match sender account nonce 0"
    assert log[1] == "NoSuchElementException: No value present"
    assert "RocksDBException: TimedOut(LockTimeout)" in log[-2]
    assert "BREACH_OF_PROTOCOL" in log[-1]
    # Nothing of the block was stored, what came before it was.
    assert driver.members(3, hex(1)) == tuple(driver.keys[:2])
    assert driver.members(3) == ()


def test_only_blocks_with_an_executed_transaction_count() -> None:
    """Where the group's transaction of the block failed, the newcomer replays."""
    driver = Driver(nodes=4, validators=1)
    unreplayable_history(driver, failed=True)
    driver.add(3)

    assert driver.root(3) == driver.root(1)


def test_a_former_member_replays_only_what_it_lacks() -> None:
    """A block that can't be replayed and that it executed itself does not count for it."""
    driver = Driver(nodes=4, validators=1)
    driver.create(1, 2, 3)
    payload = driver.distribute(b"beside a pair", to=APPLICATION)
    driver.mine_exactly(driver.marker(payload), *driver.pair_of_one_account())
    driver.remove(3)
    driver.lock()
    driver.mine()
    driver.add(3)

    assert driver.root(3) == driver.root(1)


def test_two_locks_under_one_marker_key_make_their_block_unreplayable() -> None:
    """Marker transactions count: the node's fixed key signed both."""
    driver = Driver(nodes=4, validators=1, fixed_marker_key=True)
    for group in (GROUP, OTHER_GROUP):
        driver.create(1, 2, group=group)
    driver.send(LOCK)
    driver.send(LOCK, group=OTHER_GROUP)
    driver.mine(2)
    driver.add(3)
    driver.mine()

    assert driver.head(3) == driver.head(1) - 2


@pytest.mark.parametrize(("validators", "goes_on"), [(4, True), (2, False)])
def test_a_validator_that_can_t_replay_takes_its_vote_with_it(validators: int, goes_on: bool) -> None:
    """With a quorum left the chain goes on without it; else the addition's block is never made, and all stand."""
    driver = Driver(nodes=4, validators=validators, block_period_seconds=1.0)
    newcomer = 2
    driver.create(1, 3)
    payload = driver.distribute(b"beside a pair", to=APPLICATION)
    driver.mine_exactly(driver.marker(payload), *driver.pair_of_one_account())
    driver.lock()
    driver.move(2)
    stands_at = driver.head(1)
    driver.send(driver.addition(newcomer))
    driver.move(5)

    assert driver.head(newcomer) == stands_at
    assert (driver.head(1) > stands_at) is goes_on
    assert (driver.call(1, "devnet_status")[newcomer - 1]["halted"] is not None) is goes_on
    assert "Invalid transaction" in driver.call(1, "devnet_nodeLog", newcomer)[0]


def test_a_chain_that_stands_goes_on_after_a_restart_of_all_nodes_together() -> None:
    """One node restarted alone gets the marker back from its peers; together they forget it, and the lock stays."""
    driver = Driver(nodes=3, validators=2, block_period_seconds=1.0)
    driver.create(1, 3)
    payload = driver.distribute(b"beside a pair", to=APPLICATION)
    driver.mine_exactly(driver.marker(payload), *driver.pair_of_one_account())
    driver.lock()
    stands_at = driver.head(1)
    driver.send(driver.addition(2))
    for together in ([2], [1, 2, 3]):
        driver.move(5)
        assert [driver.head(node) for node in (1, 2, 3)] == [stands_at] * 3
        for up in (False, True):
            for node in together:
                driver.call(1, "devnet_setNode", node, up)
    driver.move(5)

    assert driver.head(1) == driver.head(2) > stands_at
    assert driver.locked()
    assert driver.members(1) == (driver.keys[0], driver.keys[2])


def test_a_lost_history_key_lets_the_node_pass() -> None:
    """An enclave that no longer has the bundle frees a node that stands: the group stays unknown to it."""
    driver = Driver(nodes=4, validators=1)
    unreplayable_history(driver)
    payload = driver.distribute(driver.addition(3))
    driver.mine_exactly(driver.marker(payload))
    driver.mine()
    stood_at = driver.head(3)
    driver.network.nodes[2].enclave.lost.add(payload[32:])
    for up in (False, True):
        driver.call(1, "devnet_setNode", 3, up)

    assert stood_at < driver.head(3) == driver.head(1)
    assert driver.members(3) == ()
    driver.remove(3)
    assert driver.members(1) == tuple(driver.keys[:2])
