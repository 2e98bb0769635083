import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from orchestrator.engine.nodes.kept_blocks import KEPT_TRANSACTIONS
from orchestrator.engine.nodes.watcher import DISOWNED_AFTER, ChainWatcher
from orchestrator.engine.ports.nodes import Block, Head, NodeError
from orchestrator.membership.reasons.table import Reason
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode, digest


@asynccontextmanager
async def watching(node: FakeNode) -> AsyncIterator[ChainWatcher]:
    watcher = ChainWatcher(node, JumpingClock())
    task = asyncio.create_task(watcher.run())
    await asyncio.sleep(0.01)
    try:
        yield watcher
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_mined_pmt_wakes_who_waits_for_it() -> None:
    """A lane that waits for a PMT is told the block that holds it, and only that one is looked up."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    async with watching(node) as watcher:
        network.mine()
        pmt_hash = network.submit(b'{"group": "g", "account": "x", "action": "lock", "members": [], "nonce": 0}')
        waiting = asyncio.create_task(watcher.wait_mined([pmt_hash], until_block=100, seconds=60))
        await settled()
        network.mine()
        block = await waiting
    assert block == network.in_full(2)


async def test_waiting_costs_one_call_a_block_however_many_wait() -> None:
    """Fifty lanes that wait for fifty PMTs cost the node one call for the block that holds them all."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    call = '{{"group": "g{}", "account": "x", "action": "lock", "members": [], "nonce": 0}}'
    async with watching(node) as watcher:
        network.mine()
        await settled()
        hashes = [network.submit(call.format(i).encode()) for i in range(50)]
        waiting = [asyncio.create_task(watcher.wait_mined([h], until_block=100, seconds=60)) for h in hashes]
        await settled()
        before = node.blocks_read
        network.mine()
        blocks = await asyncio.gather(*waiting)
        assert node.blocks_read - before == 1
    assert {block.number for block in blocks if block is not None} == {2}


async def test_a_pmt_that_is_not_mined_is_given_up_at_the_block_asked_for() -> None:
    """Waiting ends without a block when the head reaches the last block that was to be waited for."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    async with watching(node) as watcher:
        network.mine()
        waiting = asyncio.create_task(watcher.wait_mined(["0xnever"], until_block=4, seconds=60))
        for _ in range(3):
            await settled()
            network.mine()
        assert await waiting is None


async def test_the_head_is_polled_while_the_socket_is_cut() -> None:
    """When the subscription is lost the head is still followed, by polling."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    async with watching(node) as watcher:
        node.cut_subscriptions()
        network.mine(3)
        head = await watcher.wait_beyond(2, 60)
        assert head is not None
        assert head.number == 3


@pytest.mark.parametrize("length", [5, 7])
async def test_a_reorganisation_makes_it_forget_what_it_read(length: int) -> None:
    """Be the new head next to the last one or several blocks on, blocks are then read from the new branch."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    async with watching(node) as watcher:
        waiting = asyncio.create_task(watcher.wait_mined(["0xnever"], until_block=100, seconds=600))
        for _ in range(3):
            network.mine()
            await settled()
        before = await watcher.block(2)
        network.blocks[2:] = [Block(number=n, block_hash=digest("other", n), transactions=()) for n in range(2, length)]
        node.announce()
        await settled()
        after = await watcher.block(2)
        waiting.cancel()
    assert watcher.reorganisations == 1
    assert before is not None
    assert after is not None
    assert before.block_hash != after.block_hash == digest("other", 2)


async def test_an_answer_that_a_new_head_overtakes_is_no_reorganisation() -> None:
    """A head that is announced while the node still answers with the one before it does not undo anything."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    async with watching(node) as watcher:
        network.mine()
        await settled()
        old, ask = await node.head(), node.head
        overtaken = asyncio.Event()

        async def answer_late() -> Head:
            await overtaken.wait()
            return old

        node.head = answer_late  # type: ignore[method-assign] # the answer that is under way
        asked = asyncio.create_task(watcher.refresh())
        await settled()
        node.head = ask  # type: ignore[method-assign] # put back what was replaced
        network.mine(2)
        await settled()
        overtaken.set()
        assert (await asked).number == 3
    assert watcher.reorganisations == 0
    assert watcher.head is not None
    assert watcher.head.number == 3


async def test_a_late_replicas_head_is_no_reorganisation() -> None:
    """An older head of the same chain changes nothing."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    async with watching(node) as watcher:
        for _ in range(3):
            network.mine()
            await settled()
        node.held_at = network.head.number - 1
        assert (await watcher.refresh()).number == network.head.number
        assert watcher.head is not None
        assert watcher.head.number == network.head.number
    assert watcher.reorganisations == 0


async def test_a_gap_that_can_not_be_looked_at_is_no_reorganisation() -> None:
    """Whether the chain left the known head is asked again while the node does not tell."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    async with watching(node) as watcher:
        network.mine()
        await settled()
        node.cut_subscriptions()
        network.mine(3)
        ask = node.block

        async def silent(number: int) -> Block:
            raise NodeError(Reason(slug="not_known_here", detail=f"block {number}"))

        node.block = silent  # type: ignore[method-assign] # a replica that has it not
        with pytest.raises(NodeError, match="not_known_here"):
            await watcher.refresh()
        node.block = ask  # type: ignore[method-assign] # put back what was replaced
        assert (await watcher.refresh()).number == 4
    assert watcher.reorganisations == 0


FAR_AHEAD = Head(number=0x7FFFFFFFFFFF, block_hash="far", parent_hash="away")


async def test_a_head_that_was_overstated_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that showed a head which it never shows again is followed once more, after some heads."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    watcher = ChainWatcher(node, JumpingClock())
    with monkeypatch.context() as lying:
        lying.setattr(node, "_head", lambda: FAR_AHEAD)
        await watcher.refresh()
    for _ in range(DISOWNED_AFTER - 1):
        network.mine()
        with pytest.raises(NodeError):
            await watcher.refresh()
        assert watcher.head == FAR_AHEAD
    network.mine()
    assert (await watcher.refresh()).number == network.head.number
    network.mine()
    assert (await watcher.refresh()).number == network.head.number


async def test_silence_gives_up_no_head(monkeypatch: pytest.MonkeyPatch) -> None:
    """However often a node does not answer about the block of its newest head, that says nothing about the head."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    watcher = ChainWatcher(node, JumpingClock())
    network.mine(5)
    newest = await watcher.refresh()

    async def silent(_: int) -> Block:
        raise NodeError(Reason(slug="node_unreachable", detail="node a"))

    monkeypatch.setattr(node, "block", silent)
    monkeypatch.setattr(node, "held_at", 2)
    for _ in range(2 * DISOWNED_AFTER):
        with pytest.raises(NodeError):
            await watcher.refresh()
    assert watcher.head == newest


async def test_a_far_jump_is_read_until_a_block_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below a head that was overstated one block is asked for, not hundreds, however many wait for a PMT."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    watcher = ChainWatcher(node, JumpingClock())
    network.mine(5)
    await watcher.refresh()
    waiting = asyncio.create_task(watcher.wait_mined(["0x1"], until_block=10**9, seconds=60))
    await asyncio.sleep(0)
    asked: list[list[int]] = []

    async def nothing(numbers: list[int]) -> tuple[Block, ...]:
        asked.append(list(numbers))
        raise NodeError(Reason(slug="not_known_here", detail="null"))

    monkeypatch.setattr(node, "blocks", nothing)
    monkeypatch.setattr(node, "_head", lambda: FAR_AHEAD)
    await watcher.refresh()
    waiting.cancel()
    assert len(asked) <= 2


async def test_a_node_that_does_not_answer_is_silent() -> None:
    """A node is silent from the first question that it does not answer until the next that it does."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    watcher = ChainWatcher(node, JumpingClock())
    await watcher.refresh()
    node.down = True
    with pytest.raises(NodeError):
        await watcher.refresh()
    assert watcher.silent
    node.down = False
    await watcher.refresh()
    assert not watcher.silent


async def test_a_subscription_that_delivers_nothing_is_taken_for_none() -> None:
    """When the node has newer blocks than its WebSocket delivers, it is polled each second, and told as what it is."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    with capture_logs() as logs:
        async with watching(node) as watcher:
            network.mine()
            await settled()
            states = [watcher.subscribed]
            node.mute = True
            for _ in range(10):
                network.mine()
                await settled()
            states.append(watcher.subscribed)
            assert (await watcher.current()).number == network.head.number
            node.mute = False
            network.mine()
            await settled()
            states.append(watcher.subscribed)
    assert states == [True, False, True]
    told = [entry["event"] for entry in logs if entry["log_level"] == "warning"]
    assert told == ["subscription is silent, polling until it delivers"]


async def test_a_block_is_empty_when_its_head_said_so() -> None:
    """Not when nothing was told of it, and not any more once the chain left it."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    watcher = ChainWatcher(node, JumpingClock())
    network.mine(3)
    for number, transactions in ((1, ()), (2, None), (3, ("0x1",))):
        block = network.blocks[number]
        parent = network.blocks[number - 1].block_hash
        await watcher._advance(
            Head(number=number, block_hash=block.block_hash, parent_hash=parent, transactions=transactions)
        )
    assert [watcher.is_empty(number) for number in range(5)] == [False, True, False, False, False]
    await watcher._advance(Head(number=3, block_hash="another", parent_hash=network.blocks[2].block_hash))
    assert not watcher.is_empty(1)


async def test_a_block_is_read_in_full_once() -> None:
    """What one part of the program read is there for the others; blocks that are not of the chain are not kept."""
    network = FakeNetwork()
    node = FakeNode(network, "a", "A")
    watcher = ChainWatcher(node, JumpingClock())
    network.mine(2)
    await watcher.refresh()
    assert await watcher.in_full([1, 2]) == (network.in_full(1), network.in_full(2))
    assert node.blocks_read == 2
    assert await watcher.in_full([2]) == (network.in_full(2),)
    assert node.blocks_read == 2
    assert watcher.remembered(1) is None, "nobody told that it is of this chain"


async def test_blocks_of_any_size_are_remembered_up_to_a_bound() -> None:
    """A node that says of each block that it holds thousands of transactions fills no memory, and hides no block."""
    watcher = ChainWatcher(FakeNode(FakeNetwork(), "a", "A"), JumpingClock())
    hashes = tuple(map(str, range(KEPT_TRANSACTIONS // 4)))
    for number in range(1, 9):
        transactions = (*hashes, "last") if number == 8 else hashes
        head = Head(number=number, block_hash=f"0x{number}", parent_hash=f"0x{number - 1}", transactions=transactions)
        await watcher._advance(head)
    assert len(watcher._blocks) == 3
    block = await watcher.wait_mined(["last"], until_block=8, seconds=1)
    assert block is not None
    assert block.number == 8
