"""What harm was done, read from the emulated nodes past everything under test."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from orchestrator.devnet import Devnet
from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.chain.replayability import find_invalid
from orchestrator.devnet.emulation import Emulation
from orchestrator.devnet.nodes.node import Node
from orchestrator.devnet.private.head_maps import GroupTimeline
from tests.simulation.truth import Truth, group_bytes


class Emulated(Protocol):
    """What has emulated nodes behind it."""

    @property
    def emulation(self) -> Emulation:
        """Everything behind the ports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harm:
    """What is wrong at the end.

    Attributes:
        lost: Members whose nodes, though they run, don't have the group that they are in, in a line each.
        rolled_back: Members whose nodes have the group, in another state than its transactions lead to.
        halted: Nodes that import no block any more.
        stranded: Members whose nodes are halted.
        locked: Groups that nothing can be written to.
    """

    lost: tuple[str, ...]
    rolled_back: tuple[str, ...]
    halted: tuple[str, ...]
    stranded: tuple[str, ...]
    locked: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        """Everything."""
        return (*self.lost, *self.rolled_back, *self.halted, *self.stranded, *self.locked)


def executed(devnet: Emulated) -> Truth:
    """Execute all private transactions of the chain once more, in the order of its blocks, without any replay."""
    network = devnet.emulation.network
    found = Truth(network)
    for block in _blocks(devnet):
        for transaction in block.transactions:
            found.execute(block, transaction)
    return found


def find_harm(devnet: Devnet, groups: Sequence[str]) -> Harm:
    """Compare every member's node with what the chain's transactions lead to."""
    truth = executed(devnet)
    lost, rolled_back, stranded, locked = [], [], [], []
    nodes = {node.key: node for node in devnet.emulation.network.nodes}
    for group in groups:
        last = truth.last(group)
        if last is None:
            lost.append(f"group {group}: it was never made")
            continue
        if not last.state.contract.can_execute:
            locked.append(f"group {group} is left locked")
        for key in last.state.contract.participants:
            node = nodes[key]
            if node.halted is not None:
                stranded.append(f"group {group}: node {node.number} is halted")
                continue
            timeline = node.timelines.get(group_bytes(group), GroupTimeline())
            state = timeline.state_at(node.head.number)
            if state is not None and state.root == last.state.root:
                continue
            line = f"group {group}: node {node.number} "
            if state is None or not _has_joined(timeline, node, truth, group):
                lost.append(line + "has lost it")
            else:
                rolled_back.append(line + f"has another state: {_difference(timeline, node, truth, group)}")
    halted = [f"node {node.number} is halted: {node.halted}" for node in nodes.values() if node.halted is not None]
    return Harm(
        lost=tuple(lost),
        rolled_back=tuple(rolled_back),
        halted=tuple(halted),
        stranded=tuple(stranded),
        locked=tuple(locked),
    )


def members_of(devnet: Devnet, truth: Truth, group: str) -> frozenset[int]:
    """Return the numbers of a group's members' nodes, as the chain's transactions lead to."""
    last = truth.last(group)
    keys = last.state.contract.participants if last is not None else ()
    return frozenset(node.number for node in devnet.nodes if node.enclave_key in keys)


def unreplayable_blocks(devnet: Devnet) -> frozenset[int]:
    """Return the blocks with a public transaction that is invalid on the parent's state alone."""
    chain = devnet.emulation.network.chain
    return frozenset(
        block.number
        for block in _blocks(devnet)
        if find_invalid(block.transactions, partial(chain.account, block_number=block.number - 1))
    )


def _blocks(devnet: Emulated) -> Iterator[Block]:
    chain = devnet.emulation.network.chain
    for number in range(1, chain.head.number + 1):
        block = chain.block(number)
        if block is not None:
            yield block


def _joined_by(node: Node, truth: Truth, group: str) -> bytes:
    """The transaction that made a node's member what it is: the newest before which it was none."""
    joined, inside = b"", False
    for _, record in truth.executed(group):
        was, inside = inside, node.key in record.state.contract.participants
        if inside and not was:
            joined = record.pmt_hash
    return joined


def _has_joined(timeline: GroupTimeline, node: Node, truth: Truth, group: str) -> bool:
    joined = _joined_by(node, truth, group)
    return any(record.pmt_hash == joined for record in timeline.walk(node.head.number))


def _difference(timeline: GroupTimeline, node: Node, truth: Truth, group: str) -> str:
    has = {record.pmt_hash for record in timeline.walk(node.head.number)}
    blocks = [number for number, record in truth.executed(group) if record.pmt_hash not in has]
    return f"it lacks what was executed in {blocks[:5]}"
