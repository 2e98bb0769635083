"""What a node went through is read on with few calls, however many groups it holds, and nothing of it is missed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from orchestrator.engine.history.replays import MOST_BLOCKS, MOST_LATER, NodeReplays
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Block, Head
from orchestrator.membership.forecast.blocks import (
    ChainBlock,
)
from orchestrator.membership.forecast.memberships import MembershipLog
from orchestrator.store import SqlHistoryStore
from tests.fakes.block_contents import an_addition
from tests.fakes.clock import JumpingClock

GROUPS = 300


@dataclass
class CrowdedNode:
    """A node with many groups; only what is asked here is answered."""

    name: str = "n"
    enclave_keys: tuple[str, ...] = ("K",)
    number: int = 0
    branch: str = ""
    held: list[str] = field(default_factory=list)
    logs: list[MembershipLog] = field(default_factory=list)
    additions: dict[int, list[str]] = field(default_factory=dict)
    asked_for_logs: int = 0
    asked_for_blocks: int = 0
    asked_for_groups: int = 0
    empty: set[int] = field(default_factory=set)

    def hash_of(self, number: int) -> str:
        return f"block {number}{self.branch}"

    def change(self, group: str, member: str, *, added: bool = True, marker: str = "") -> None:
        """Change a group's members in the next block; an addition to a group that existed has a marker that shows."""
        self.number += 1
        if group not in self.held:
            self.held.append(group)
        self.logs.append(
            MembershipLog(
                privacy_group_id=group,
                block_number=self.number,
                block_hash=self.hash_of(self.number),
                member=member,
                added=added,
            )
        )
        if marker:
            self.additions.setdefault(self.number, []).append(marker)

    async def head(self) -> Head:
        return Head(
            number=self.number,
            block_hash=self.hash_of(self.number),
            parent_hash=self.hash_of(self.number - 1),
            transactions=() if self.number in self.empty else None,
        )

    async def block(self, number: int) -> Block:
        return Block(number=number, block_hash=self.hash_of(number), transactions=())

    async def blocks(self, block_numbers: Sequence[int]) -> tuple[Block, ...]:
        self.asked_for_blocks += len(block_numbers)
        return tuple(
            Block(
                number=number,
                block_hash=self.hash_of(number),
                transactions=(),
                content=ChainBlock(
                    number=number,
                    block_hash=self.hash_of(number),
                    gas_limit=10**9,
                    transactions=tuple(an_addition(name, "0xa") for name in self.additions.get(number, ())),
                ),
            )
            for number in block_numbers
        )

    async def groups(self, enclave_keys: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
        assert not enclave_keys
        self.asked_for_groups += 1
        return dict.fromkeys(self.held, ("K",))

    async def memberships(
        self, privacy_group_ids: Sequence[str], first_block: int, last_block: int
    ) -> tuple[MembershipLog, ...]:
        self.asked_for_logs += len(privacy_group_ids)
        return tuple(
            log
            for group in privacy_group_ids
            for log in self.logs
            if log.privacy_group_id == group and first_block <= log.block_number <= last_block
        )


class Own:
    """Our own additions."""

    def __init__(self) -> None:
        self.groups: dict[str, str] = {}

    async def groups_of_additions(self, pmt_hashes: Collection[str]) -> Mapping[str, str]:
        return {pmt_hash: group for pmt_hash, group in self.groups.items() if pmt_hash in pmt_hashes}


class Scene:
    """A node that was founding member of many groups, and a reader that has read it once."""

    def __init__(self, histories: SqlHistoryStore) -> None:
        self.histories = histories
        self.own = Own()
        self.node = CrowdedNode()
        for number in range(GROUPS):
            self.node.change(f"g{number}", "K")
        self.start_anew()

    def start_anew(self) -> None:
        self.watcher = ChainWatcher(self.node, JumpingClock())  # type: ignore[arg-type]  # nothing else is asked
        self.replays = NodeReplays(self.histories, self.own)

    async def read(self, about: str = "") -> list[tuple[str, int | None]]:
        """What the node replayed, by group and block; it is counted anew what is asked for that."""
        self.node.asked_for_logs = self.node.asked_for_blocks = self.node.asked_for_groups = 0
        head = await self.watcher.refresh()
        record = await self.replays.of(self.watcher, head, about)
        assert sorted(map(repr, record.logs)) == sorted(repr(log) for log in self.node.logs if log in record.logs), (
            "each once"
        )
        return [(replay.privacy_group_id, replay.at_block) for replay in record.replays]


@pytest.fixture
async def scene(histories: SqlHistoryStore) -> Scene:
    made = Scene(histories)
    assert await made.read() == []
    assert made.node.asked_for_logs == GROUPS
    return made


async def test_blocks_without_additions_cost_a_call_each(scene: Scene) -> None:
    """Removals and founded groups in between: only a new group's logs are asked for, once it is asked about."""
    scene.node.change("g1", "other", added=False)
    scene.node.change("new", "K")
    assert await scene.read() == []
    assert (scene.node.asked_for_blocks, scene.node.asked_for_logs, scene.node.asked_for_groups) == (2, 0, 0)
    assert await scene.read("new") == []
    assert (scene.node.asked_for_blocks, scene.node.asked_for_logs, scene.node.asked_for_groups) == (0, 1, 1)
    assert await scene.read("new") == []
    assert (scene.node.asked_for_blocks, scene.node.asked_for_logs, scene.node.asked_for_groups) == (0, 0, 0)


async def test_empty_blocks_cost_nothing(scene: Scene) -> None:
    """A head that comes with no transactions says that nobody was added; one that tells none says nothing."""
    scene.node.number += 1
    scene.node.empty.add(scene.node.number)
    assert await scene.read() == []
    assert (scene.node.asked_for_blocks, scene.node.asked_for_logs, scene.node.asked_for_groups) == (0, 0, 0)
    scene.node.change("g2", "K", added=False)
    scene.own.groups["0x2"] = "g2"
    scene.node.change("g2", "K", marker="0x2")
    assert await scene.read() == [("g2", scene.node.number)]
    assert scene.node.asked_for_blocks == 2


async def test_our_own_addition_costs_its_group(scene: Scene) -> None:
    """Also with a removal before it that was not read: who was gone and is added again has replayed."""
    scene.node.change("g7", "K", added=False)
    assert await scene.read() == []
    scene.own.groups["0x7"] = "g7"
    scene.node.change("g7", "K", marker="0x7")
    block = scene.node.number
    assert await scene.read("g9") == [("g7", block)]
    assert scene.node.asked_for_logs == 2, "of the group that it was made to, and of that which is asked about"
    scene.own.groups["0x8"] = "a group that the node has not"
    scene.node.change("g8", "other", marker="0x8")
    assert await scene.read() == [("g7", block)]
    assert scene.node.asked_for_logs == 0


async def test_another_ones_addition_may_be_of_any_group(scene: Scene) -> None:
    """All logs are read, also where only one of two markers is unknown, and what is known so is kept."""
    scene.node.change("g3", "K", added=False)
    scene.own.groups["0x1"] = "g1"
    scene.node.change("g1", "other", marker="0x1")
    scene.node.change("g3", "K", marker="0xforeign")
    block = scene.node.number
    assert await scene.read() == [("g3", block)]
    assert scene.node.asked_for_logs == GROUPS
    scene.start_anew()
    assert await scene.read() == [("g3", block)]
    assert scene.node.asked_for_logs == 0


async def test_a_restart_forgets_no_removal(scene: Scene) -> None:
    """What was only in memory is read again from where all was read, removals that nobody read included."""
    scene.node.change("g5", "K", added=False)
    scene.own.groups["0x6"] = "g6"
    scene.node.change("g6", "other", marker="0x6")
    await scene.read()
    scene.start_anew()
    scene.own.groups["0x5"] = "g5"
    scene.node.change("g5", "K", marker="0x5")
    assert await scene.read() == [("g5", scene.node.number)]
    assert scene.node.asked_for_logs == 2


async def test_a_reorganisation_forgets_what_came_after(scene: Scene) -> None:
    """An addition that was mined on a branch that the chain left is none."""
    scene.node.change("g2", "K", added=False)
    scene.own.groups["0x2"] = "g2"
    scene.node.change("g2", "K", marker="0x2")
    assert await scene.read() == [("g2", scene.node.number)]
    del scene.node.logs[-2:], scene.node.additions[scene.node.number]
    original = scene.node.hash_of
    fork = scene.node.number - 2
    scene.node.hash_of = lambda number: original(number) + (" again" if number > fork else "")  # type: ignore[method-assign] # blocks behind the fork have other hashes
    scene.node.number += 1
    assert await scene.read() == []
    assert scene.watcher.reorganisations == 1


async def test_long_pauses_and_many_groups_are_read_as_a_whole(scene: Scene) -> None:
    """Over many blocks logs are read; so are they when too much would be in memory only."""
    scene.node.number += MOST_BLOCKS + 1
    assert await scene.read() == []
    assert (scene.node.asked_for_blocks, scene.node.asked_for_logs) == (0, GROUPS)
    for number in range(MOST_LATER + 1):
        scene.node.held.append(f"later {number}")
        scene.node.logs.append(
            MembershipLog(
                privacy_group_id=f"later {number}",
                block_number=scene.node.number + 1,
                block_hash=scene.node.hash_of(scene.node.number + 1),
                member="K",
                added=True,
            )
        )
    scene.node.number += 1
    assert await scene.read("later 0") == []
    assert scene.node.asked_for_logs == GROUPS + MOST_LATER + 1
    scene.start_anew()
    assert await scene.read() == []
    assert scene.node.asked_for_logs == 0
