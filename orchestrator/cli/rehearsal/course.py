"""The course of a rehearsal: create, fill, forecast, add, compare, remove; the group ends unlocked."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from orchestrator.besu.client.group_changes import GroupChangeError
from orchestrator.besu.client.groups import FlexiblePrivacyGroups
from orchestrator.besu.client.node import SEND_TIMEOUT_SECONDS, Node
from orchestrator.besu.client.pmt_wait import NotMinedError
from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE
from orchestrator.besu.errors import BesuError
from orchestrator.cli.rehearsal.report import Course
from orchestrator.cli.rehearsal.scratch_history import FillingError, fill
from orchestrator.engine.history.forecaster import Forecaster, Question
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.membership.forecast.verdict import Forecast, Scope
from orchestrator.membership.news.forecast_document import verdict_of
from orchestrator.membership.reasons.table import describe

PROOF_BLOCKS: Final = 3
REPLAY_SECONDS: Final = 900.0
FORECAST_ROUNDS: Final = 30
LOOK_AGAIN_SECONDS: Final = 0.5
_SAMPLE_SECONDS: Final = 0.1

FAILURES: Final = (BesuError, GroupChangeError, NotMinedError, FillingError, NodeError, TimeoutError)


class RefusedError(GroupChangeError):
    """The addition would do harm, or might: it was not made."""


class TimedNode(Node):
    """A node that notes how long its last distribution took: that of an addition collects the history."""

    distributed_seconds: float | None = None

    async def distribute_raw(  # noqa: D102 - it is described at Node's
        self, raw: bytes, *, from_block: int | None = None, timeout: float = SEND_TIMEOUT_SECONDS
    ) -> bytes:
        began = time.monotonic()
        found = await super().distribute_raw(raw, from_block=from_block, timeout=timeout)
        self.distributed_seconds = time.monotonic() - began
        return found


@dataclass(slots=True, kw_only=True)
class Rehearser:
    """Runs a rehearsal, and remembers how far it is.

    Attributes:
        nodes: The members' nodes, the sender's first and the new member's last.
        keys: Their enclave keys.
        groups: The owner's client, through the first node.
        fleet: The same nodes, as the forecast reads them.
        forecaster: Forecasts.
        transactions: How many are written.
        gas_price: In wei, of markers.
        tell: Told each step.
        course: What was measured so far.
        group: The scratch group; empty before it is made.
        trouble: Why it ended early; empty when it did not.
        refused: Whether that was because the addition would do harm.
    """

    nodes: Sequence[TimedNode]
    keys: Sequence[str]
    groups: FlexiblePrivacyGroups
    fleet: Fleet
    forecaster: Forecaster
    transactions: int
    gas_price: int
    tell: Callable[[str], None]
    course: Course = field(default_factory=Course)
    group: str = ""
    trouble: str = ""
    refused: bool = False

    async def run(self) -> None:
        """Do it all; what goes wrong is in `trouble`."""
        try:
            blocks = await self._filled_group()
            await self._add(blocks)
            await self._remove()
        except FAILURES as error:
            told = describe(error.reason) if isinstance(error, NodeError) else str(error)
            self.trouble = told or "it took too long"
            self.refused = isinstance(error, RefusedError)
            for note in getattr(error, "__notes__", ()):
                self.trouble += f"; {note}"

    async def _filled_group(self) -> frozenset[int]:
        self.tell(f"creating a scratch group of {len(self.keys) - 1} on {self.nodes[0].name}")
        began = time.monotonic()
        created = await self.groups.create(self.keys[:-1])
        self.group = created.privacy_group_id
        self.course = replace(self.course, create_seconds=time.monotonic() - began)
        self.tell(f"writing {self.transactions:,} private transactions")
        began = time.monotonic()

        def written(number: int) -> None:
            self.course = replace(self.course, transactions=number, fill_seconds=time.monotonic() - began)

        blocks = await fill(self.nodes[0], self.group, self.keys[0], self.transactions, self.gas_price, written)
        return blocks | {created.receipt.block_number}

    async def _add(self, blocks: frozenset[int]) -> None:
        self.tell("forecasting the addition")
        await self._check_neighbours(blocks)
        found = await self._forecast(0)
        self.course = replace(self.course, forecast=verdict_of(found))
        _refuse(found)
        self.tell(f"adding {self.nodes[-1].name}")
        lock_block = 0

        async def after_lock(block_number: int) -> None:
            nonlocal lock_block
            lock_block = block_number
            # The lock's own block is part of the history, and nobody could look at it before.
            await self._check_neighbours({block_number})
            # Under the lock once more, as the daemon does: the history is complete only now.
            _refuse(await self._forecast(block_number))

        samples = _Samples(self.nodes[0], self.nodes[-1])
        # From before the addition on: a short replay is over before anybody could begin to look.
        watching = asyncio.create_task(samples.run())
        try:
            receipt = await self.groups.add(self.group, [self.keys[-1]], check=after_lock)
            if receipt is None:
                raise GroupChangeError(f"{self.nodes[-1].name} is a member of the new group already")
            added = receipt.block_number
            self.course = replace(
                self.course, bundling_seconds=self.nodes[0].distributed_seconds, lock_blocks=added - lock_block
            )
            self.tell(f"{self.nodes[-1].name} replays")
            async with asyncio.timeout(REPLAY_SECONDS):
                await samples.until(added)
            self.course = replace(
                self.course, replay_seconds=samples.replay_seconds(added), blocks_behind=samples.most_behind(added)
            )
            await self._compare(added, samples)
        finally:
            watching.cancel()

    async def _compare(self, added: int, samples: "_Samples") -> None:
        self.tell("comparing the members' state roots")
        last = added + PROOF_BLOCKS
        async with asyncio.timeout(REPLAY_SECONDS):
            await samples.until(last)
            for node in self.nodes:
                while await node.head_number() < last:  # noqa: ASYNC110 - blocks are made elsewhere
                    await asyncio.sleep(_SAMPLE_SECONDS)
        numbers = list(range(added, last + 1))
        shown = [await node.state_roots(self.group, numbers) for node in self.nodes]
        for place, number in enumerate(numbers):
            roots = {roots[place] for roots in shown}
            # At blocks after the addition, too: a lost group may look right at the addition's own
            # (docs/besu.md#how-members-silently-diverge, 1).
            if len(roots) != 1 or None in roots:
                raise GroupChangeError(
                    f"the members' state roots differ at block {number}: see docs/operations.md, "
                    "Members that no longer agree"
                )
        self.course = replace(self.course, agreed_blocks=len(numbers))

    async def _remove(self) -> None:
        self.tell(f"removing {self.nodes[-1].name}")
        began = time.monotonic()
        await self.groups.remove(self.group, self.keys[-1])
        self.course = replace(self.course, remove_seconds=time.monotonic() - began)

    async def _forecast(self, through: int) -> Forecast:
        question = Question(
            privacy_group_id=self.group,
            to_add=(self.keys[-1],),
            participants=tuple(self.keys[:-1]),
            senders=(self.keys[0],),
            through=through,
        )
        for left in reversed(range(FORECAST_ROUNDS)):
            try:
                await asyncio.gather(*(watcher.refresh() for watcher in self.fleet.watchers))
                found = await self.forecaster.forecast(question)
            except NodeError:
                if not left:
                    raise
                await asyncio.sleep(LOOK_AGAIN_SECONDS)  # a member's node is a moment behind
                continue
            # A long history is read a part at a time.
            if not left or all(danger.reason.slug != "history_not_read" for danger in found.dangers):
                break
        return found

    async def _check_neighbours(self, blocks: Sequence[int] | frozenset[int] | set[int]) -> None:
        """Refuse where other groups of the new member's node may have transactions in the scratch group's blocks.

        A replay makes its node's maps of these blocks anew, after which its bundles of such groups may be torn
        (docs/besu.md#torn-bundles).
        """
        others = await self.nodes[-1].find_groups([])
        if not any(found.privacy_group_id != self.group for found in others):
            return
        for number in sorted(blocks):
            block = await self.nodes[0].block(number)
            markers = [item.transaction_hash for item in block.transactions if item.to == PRIVACY_PRECOMPILE]
            carried = await self.nodes[0].private_transactions(markers)
            foreign = sum(signed is None or signed.transaction.privacy_group_id != self.group for signed in carried)
            if foreign:
                raise RefusedError(
                    f"{self.nodes[-1].name} has other groups, and block {number} holds {foreign} private transactions "
                    "that may be theirs: replaying it could tear what its node sends of them. Nothing was added; "
                    "rehearse when the network is quiet, or with a node that has no groups"
                )


def _refuse(found: Forecast) -> None:
    if found.dangers:
        scopes = {danger.scope for danger in found.dangers}
        again = " (it may pass: rehearse again)" if scopes == {Scope.MOMENT} else ""
        raise RefusedError(f"the forecast refuses the addition: {verdict_of(found)}{again}")


class _Samples:
    """The heads of two nodes, some times a second."""

    def __init__(self, sender: Node, newcomer: Node) -> None:
        self._nodes = (sender, newcomer)
        self._seen: list[tuple[float, int, int]] = []
        self._news = asyncio.Event()

    async def run(self) -> None:
        """Look until cancelled; a node that does not answer is asked again."""
        while True:
            try:
                heads = await asyncio.gather(*(node.head_number() for node in self._nodes))
                self._seen.append((time.monotonic(), heads[0], heads[1]))
                self._news.set()
            except BesuError:
                pass
            await asyncio.sleep(_SAMPLE_SECONDS)

    async def until(self, block_number: int) -> None:
        """Return when the new member's node has a block."""
        while not self._seen or self._seen[-1][2] < block_number:
            self._news.clear()
            await self._news.wait()

    def replay_seconds(self, block_number: int) -> float:
        """Return how much later the new member's node had a block than the sender's."""
        sent = next(at for at, sender, _ in self._seen if sender >= block_number)
        had = next(at for at, _, newcomer in self._seen if newcomer >= block_number)
        return max(had - sent, 0.0)

    def most_behind(self, block_number: int) -> int:
        """Return by how many blocks the new member's node was behind, at the most, until it had a block."""
        reached = next(place for place, seen in enumerate(self._seen) if seen[2] >= block_number)
        return max((max(sender - newcomer, 0) for _, sender, newcomer in self._seen[: reached + 1]), default=0)
