"""Random runs of a few groups on a few nodes, driven by the forecast: what it lets through must not harm anybody."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from orchestrator.membership.forecast.blocks import Examination, Flaw, FlawedTransactions
from orchestrator.membership.forecast.histories import GroupBlock, GroupHistory, Replay
from orchestrator.membership.forecast.newcomers import NewcomerFacts, executed_last
from orchestrator.membership.forecast.outlook import ForecastFacts, forecast
from orchestrator.membership.forecast.schedule import NodeAddition, ReplayRules, addition_obstacle, additions_of
from orchestrator.membership.forecast.senders import SenderFacts, neighbours, roots_to_read
from orchestrator.membership.forecast.verdict import Forecast
from tests.fakes.head_maps import TRUTH, Act, HeadMaps

LONG_PERIOD = ReplayRules(block_period=timedelta(seconds=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How the driver acts; what differs from these defaults is a mistake that has to show.

    Attributes:
        window: Blocks from a lock to its addition.
        looks_again: Whether the forecast is asked again once the lock is mined.
        alone: Whether re-additions keep other additions of the node away.
        founder_sends: Whether the node that founded every group can be sent through.
        traffic: How likely a block can't be replayed.
        written: How likely a group is written to in a block.
    """

    window: int = 2
    looks_again: bool = True
    alone: bool = True
    founder_sends: bool = True
    traffic: float = 0.0
    written: float = 0.5


@dataclass(slots=True)
class Tally:
    """What happened in runs, so that a test can tell that something did."""

    added: int = 0
    added_again: int = 0
    refused: int = 0
    torn: int = 0
    whole: int = 0


@dataclass(slots=True)
class Run:
    """One run.

    Attributes:
        world: The nodes.
        groups: All groups.
        newcomers: The nodes beside ``T``.
        schedule: How the driver acts.
    """

    world: HeadMaps
    groups: tuple[str, ...]
    newcomers: tuple[str, ...]
    schedule: Schedule = field(default_factory=Schedule)
    tally: Tally = field(default_factory=Tally)
    replays: dict[str, list[tuple[str, int, frozenset[int]]]] = field(default_factory=dict)
    unreplayable: set[int] = field(default_factory=set)
    locked: dict[str, tuple[int, tuple[str, ...]]] = field(default_factory=dict)

    def found(self, founders: Callable[[str], tuple[str, ...]]) -> None:
        """Make all groups in the first block."""
        self.world.mine([Act(group=group, kind="create", keys=(TRUTH, *founders(group))) for group in self.groups])

    def history(self, group: str) -> GroupHistory:
        blocks = tuple(GroupBlock(number=n, block_hash=f"b{n}", state_root=r) for n, r in self.world.blocks(group))
        head = self.world.head
        return GroupHistory(privacy_group_id=group, blocks=blocks, through=head, through_hash=f"b{head}")

    def replays_of(self, node: str, asked: tuple[int, ...]) -> tuple[Replay, ...]:
        return tuple(
            Replay(privacy_group_id=group, at_block=at, blocks=blocks & frozenset(asked))
            for group, at, blocks in self.replays.get(node, [])
        )

    def sender(self, node: str, group: str) -> SenderFacts:
        history, head = self.history(group), self.world.head
        return SenderFacts(
            enclave_key=node,
            node=node,
            head=head,
            replays=self.replays_of(node, neighbours(history, head)),
            roots={number: self.world.root(node, group, number) for number in roots_to_read(history, head)},
        )

    def newcomer(self, node: str, group: str) -> NewcomerFacts:
        history, head = self.history(group), self.world.head
        ends_with = self.world.root(node, group, head)
        last = executed_last(history, ends_with) if ends_with else None
        since = range(head if last is None else last, head + 1)
        return NewcomerFacts(
            enclave_key=node,
            node=node,
            head=head,
            holds=bool(ends_with),
            roots={number: self.world.root(node, group, number) for number in since},
            replays=self.replays_of(node, (head if last is None else last,)),
        )

    def ask(self, group: str, newcomers: tuple[str, ...]) -> Forecast:
        """Ask for the forecast of an addition, at the head."""
        members = sorted(self.world.members(group))
        senders = [m for m in members if self.schedule.founder_sends or m != TRUTH or members == [TRUTH]]
        history = self.history(group)
        return forecast(
            ForecastFacts(
                history=history,
                complete=True,
                examinations={block.number: self.examined(block.number) for block in history.blocks},
                compared_at=self.world.head,
                member_roots={member: self.world.root(member, group, self.world.head) for member in members},
                senders=tuple(self.sender(node, group) for node in senders),
                newcomers=tuple(self.newcomer(node, group) for node in newcomers),
            )
        )

    def examined(self, number: int) -> Examination:
        twice = FlawedTransactions(flaw=Flaw.ACCOUNT_TWICE, account="0xa", transactions=(f"{number}a", f"{number}b"))
        return Examination(
            number=number, block_hash=f"b{number}", flaws=(twice,) if number in self.unreplayable else ()
        )

    def run(self, random: Random, blocks: int) -> str | None:
        """Let some blocks be made; returns what went wrong."""
        for _ in range(blocks):
            under_way: list[NodeAddition] = []
            acts = [act for group in self.groups for act in self._act(random, group, under_way)]
            random.shuffle(acts)
            replayable = random.random() >= self.schedule.traffic
            self.world.mine(acts, replayable=replayable)
            if not replayable:
                self.unreplayable.add(self.world.head)
            self._note(acts)
            if trouble := self.trouble():
                return trouble
        return None

    def _act(self, random: Random, group: str, under_way: list[NodeAddition]) -> list[Act]:
        members = self.world.members(group)
        if group in self.locked:
            return self._after_lock(random, group, under_way)
        joined = sorted(members - {TRUTH})
        outside = [node for node in self.newcomers if node not in members]
        if outside and random.random() < 0.3:
            chosen = tuple(random.sample(outside, random.randint(1, len(outside))))
            if self.ask(group, chosen).dangers:
                self.tally.refused += 1
                return []
            self.locked[group] = self.world.head + 1, chosen
            return [Act(group=group, kind="lock")]
        if joined and random.random() < 0.15:
            return [Act(group=group, kind="remove", keys=(random.choice(joined),))]
        return [Act(group=group, kind="tx")] if random.random() < self.schedule.written else []

    def _after_lock(self, random: Random, group: str, under_way: list[NodeAddition]) -> list[Act]:
        since, chosen = self.locked[group]
        if self.world.head + 1 - since < self.schedule.window or random.random() > 0.7:
            return []
        seen = self.ask(group, chosen)
        if self.schedule.looks_again and seen.dangers:
            self.tally.refused += 1
            del self.locked[group]
            return [Act(group=group, kind="unlock")]
        wanted = additions_of(group, group, seen.replays)
        if self.schedule.alone and any(addition_obstacle(one, under_way, LONG_PERIOD) for one in wanted):
            return []
        under_way += wanted
        del self.locked[group]
        self.tally.added += len(wanted)
        self.tally.added_again += sum(one.former for one in wanted)
        sender = seen.sender.node if seen.sender is not None else TRUTH
        return [Act(group=group, kind="add", keys=chosen, sender=sender)]

    def _note(self, acts: list[Act]) -> None:
        for act in acts:
            if act.kind == "add":
                blocks = frozenset(number for number, _ in self.world.blocks(act.group) if number < self.world.head)
                for node in act.keys:
                    self.replays.setdefault(node, []).append((act.group, self.world.head, blocks))

    def trouble(self) -> str | None:
        """Return who halted or lost something a member has."""
        head = self.world.head
        for node in self.newcomers:
            if self.world.stands(node):
                return f"node {node} halted at block {head}"
        return next(
            (f"{self.lost(group)} lost group {group} at block {head}" for group in self.groups if self.lost(group)),
            None,
        )

    def lost(self, group: str) -> list[str]:
        """Return the members of a group that do not show it as it is."""
        head, members = self.world.head, self.world.members(group)
        truth = self.world.root(TRUTH, group, head)
        return [node for node in self.newcomers if node in members and self.world.root(node, group, head) != truth]
