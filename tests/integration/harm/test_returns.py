"""Who left a group may not return to it once its node replayed another group's run over the block in which it left."""

import base64

import pytest

from orchestrator.besu.codec.management_contract import encode_remove_participant
from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory
from orchestrator.membership.forecast.newcomers import Departure, NewcomerFacts, departure
from tests.integration.harm.returns import Return, find_return
from tests.integration.harm.truth import executed
from tests.unit.devnet.driving import GROUP as LEFT
from tests.unit.devnet.driving import OTHER_GROUP as RUN
from tests.unit.devnet.driving import Driver

THIRD = base64.b64encode(bytes([3]) * 32).decode()
LEFT_BLOCK = 2


def joined(driver: Driver, group: str) -> None:
    """Add node 3 to a locked group, whose lock is two blocks away."""
    driver.mine()
    assert driver.add(3, group=group)["status"] == "0x1"


def left_in_a_block_of(*groups: str) -> Driver:
    """Node 3 is removed from a group in the block in which others are created, by nodes 1 and 2."""
    driver = Driver()
    driver.create(1, 3, group=LEFT)
    driver.send(encode_remove_participant(driver.abi, driver.keys[2]), group=LEFT)
    for group in groups:
        driver.send(driver.addition(1, 2), group=group)
    assert driver.mine() == LEFT_BLOCK
    return driver


def over_a_run() -> Driver:
    """The other group is locked in the next block, and node 3 joins it."""
    driver = left_in_a_block_of(RUN)
    driver.lock(group=RUN)
    joined(driver, RUN)
    return driver


def forecast(driver: Driver) -> Departure:
    """What the rules say of a return, of what can be asked of the nodes."""
    head = driver.head(1)
    blocks = tuple(
        GroupBlock(number=number, block_hash="", state_root=driver.root(1, hex(number), LEFT))
        for number in dict.fromkeys(number for number, _ in executed(driver).executed(LEFT))
    )
    history = GroupHistory(privacy_group_id=LEFT, blocks=blocks, through=head, through_hash="")
    roots = {number: driver.root(3, hex(number), LEFT) for number in range(LEFT_BLOCK, head + 1)}
    facts = NewcomerFacts(enclave_key=driver.keys[2], node="n3", head=head, holds=True, roots=roots, replays=())
    return departure(history, facts)


def test_a_run_over_the_block_of_its_removal_shows_an_older_state_behind_it() -> None:
    """In the run's second block the node shows the group as it was before the removal, and after the run as it left."""
    driver = over_a_run()
    assert find_return(driver, LEFT, 3) == Return(last=LEFT_BLOCK, astray=frozenset({LEFT_BLOCK + 1}))
    found = forecast(driver)
    assert found.trouble is not None
    assert (found.last, found.block_number) == (LEFT_BLOCK, LEFT_BLOCK + 1)


def test_a_block_between_leaves_the_way_back_open() -> None:
    """The same, with the lock one block later."""
    driver = left_in_a_block_of(RUN)
    driver.mine()
    driver.lock(group=RUN)
    joined(driver, RUN)
    assert find_return(driver, LEFT, 3) == Return(last=LEFT_BLOCK, astray=frozenset())
    assert forecast(driver).trouble is None


@pytest.mark.parametrize(("first", "second", "astray"), [(RUN, THIRD, {LEFT_BLOCK + 1}), (THIRD, RUN, set[int]())])
def test_two_groups_are_a_run_when_the_older_is_replayed_first(first: str, second: str, astray: set[int]) -> None:
    """Of neighbouring blocks of two groups the second is made anew from the first only where that was before."""
    driver = left_in_a_block_of(RUN)
    driver.create(1, 2, group=THIRD)
    driver.mine()
    for group in (first, second):
        driver.lock(group=group)
        joined(driver, group)
    assert find_return(driver, LEFT, 3) == Return(last=LEFT_BLOCK, astray=frozenset(astray))


@pytest.mark.parametrize(("blocks_later", "halted"), [(2, True), (3, False)])
def test_what_halts_is_the_map_before_the_first_block_that_it_lacks(blocks_later: int, halted: bool) -> None:
    """Where the group goes on behind the run the node would take it: the rule refuses more than what halts."""
    driver = left_in_a_block_of(RUN)
    driver.lock(group=RUN)
    for _ in range(blocks_later - 2):
        driver.mine()
    driver.lock(group=LEFT)
    driver.mine()
    assert driver.add(3, group=RUN)["status"] == "0x1"
    assert forecast(driver).trouble is not None
    assert driver.add(3, group=LEFT)["status"] == "0x1"
    assert (driver.network.nodes[2].halted is not None) is halted


def test_a_member_that_nothing_was_replayed_on_may_return() -> None:
    """Nothing is found against it, and nothing of a group that a node never had."""
    driver = left_in_a_block_of(RUN)
    driver.lock(group=LEFT)
    assert find_return(driver, LEFT, 3) == Return(last=LEFT_BLOCK, astray=frozenset())
    assert find_return(driver, RUN, 3) is None
