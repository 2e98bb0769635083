"""Judging the bundles that a node asks for: each once at a time, in bounded time, and again as it was judged before.

A node whose enclave takes long waits, asks again, and is none the worse for it (docs/besu.md#enclaves-that-fail, 1): so
a bundle is held back while it is judged, and the next request for it joins the judgement that is under way.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

import structlog

from orchestrator.besu.codec.bundles import InvalidBundleError
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import Head, NodeError
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.isolation import contained
from orchestrator.guard.chain_view import FactReader
from orchestrator.guard.judgements import Judgements
from orchestrator.guard.payloads import Payloads
from orchestrator.guard.wire import bundle_in
from orchestrator.membership.guard.judgement import Decision, GuardRules, Outcome, asked_again, held, judge
from orchestrator.membership.guard.received_bundles import ReceivedBundle
from orchestrator.store.guard.decisions import Decided, DecisionFile

ADDING: Final = timedelta(seconds=10)
"""How long after a node began to send an addition it may read, once, the bundle that it was itself added with."""
LOOKING: Final = timedelta(seconds=2)
"""How long after a node looked for a transaction that its enclave doesn't have it may read such bundles."""
MOST_REMEMBERED: Final = 1_000
ASKED_AGAIN_SECONDS: Final = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """How to judge.

    Attributes:
        rules: What is let through.
        within: What can't be judged in this time is dealt with as `undecided` says.
        undecided: What a bundle becomes that could not be judged.
    """

    rules: GuardRules
    within: timedelta = timedelta(seconds=20)
    undecided: Literal["pass", "refuse"] = "refuse"


@dataclass(slots=True)
class _Passing:
    """How often a bundle was let through at one head."""

    head: int
    since: datetime
    times: int = 0


class Judge:
    """Judges bundles.

    Attributes:
        payloads: Looks at private transactions; None while nothing does.

    Args:
        facts: Reads what the rules need.
        decisions: Keeps what was decided.
        settings: How.
        clock: Time.
        on_decision: Told each decision that is new.
    """

    def __init__(
        self,
        facts: FactReader,
        decisions: DecisionFile,
        settings: JudgeSettings,
        clock: Clock,
        on_decision: Callable[[Decided], None] = lambda _decided: None,
    ) -> None:
        self.payloads: Payloads | None = None
        self._facts = facts
        self._decisions = decisions
        self._settings = settings
        self._clock = clock
        self._on_decision = on_decision
        self._judgements = Judgements(self._decided)
        self._passing: OrderedDict[str, _Passing] = OrderedDict()
        self._adding: OrderedDict[str, datetime] = OrderedDict()
        self._looking_since: datetime | None = None
        self._silence: dict[str, str] = {}
        self._newest = 0

    def refused(self, key: str) -> bool:
        """Return whether a key is refused without looking: it was, and a decision is given again."""
        decided = self._decisions.newest(key)
        return decided is not None and decided.decision.lasting

    def adds(self, privacy_group_id: str) -> None:
        """The node is about to add members to a group: it may read the bundle that it was itself added with."""
        # Besu reads its own bundle only after the enclave took the addition (docs/besu.md#enclave-interface, 5).
        self._adding[privacy_group_id] = self._clock.now()
        while len(self._adding) > MOST_REMEMBERED:
            self._adding.popitem(last=False)

    def looks(self) -> None:
        """The node looked for a transaction of before it came into a group: it may read that bundle, too."""
        # Of no one group: the request that was not found names a key, and a key that is not there does not tell its
        # group.
        self._looking_since = self._clock.now()

    async def passes(self, key: str, body: Callable[[], Awaitable[bytes | None]]) -> bool:
        """Return whether a node gets a bundle.

        Args:
            key: What it asked for, base64.
            body: Reads the enclave's answer; None when it is larger than is read.
        """
        return (await self._judgements.of(key, body)).passed

    async def gives(self, key: str, body: Callable[[], Awaitable[bytes | None]]) -> bool:
        """Return whether a node gets a private transaction; see `orchestrator.guard.payloads`."""
        return self.payloads is None or await self.payloads.gives(key, body)

    def keep(self, decided: Decided) -> None:
        """Keep a decision that was made elsewhere, and tell it."""
        self._tell(decided, self._decisions.newest(decided.key))

    async def close(self) -> None:
        """End what is under way."""
        if self.payloads is not None:
            await self.payloads.close()
        await self._judgements.close()

    async def _decided(self, key: str, body: bytes | None) -> Decision:
        bundle, head = None, 0
        try:
            bundle = await self._bundle(body)
            head, decision = await self._clock.wait_for(
                self._judged_patiently(key, bundle), self._settings.within.total_seconds()
            )
        except InvalidBundleError as error:
            # For good: the bytes under a key never change, and a node that can't read them either would stand before
            # the block (docs/besu.md#what-a-replay-needs, 13).
            decision = Decision(outcome=Outcome.REFUSED, slug="bundle_unreadable", detail=str(error), lasting=True)
        except TimeoutError:
            why = self._silence.pop(key, "")
            within = f"{self._settings.within.total_seconds():g} s"
            decision = self._undecided(f"it was not judged within {within}" + (f": {why}" if why else ""))
        # Never out to the proxy: the node would take it for an enclave in trouble and ask for the block for ever.
        except Exception as error:
            log.exception("bundle not judged", key=key)
            decision = self._undecided(f"a defect of the guard, {type(error).__name__}: its log has the traceback")
        earlier = self._decisions.newest(key)
        # A node asks several times for one block; only what is new is written and told.
        if earlier is None or earlier.decision != decision or earlier.head != head:
            decided = Decided(
                key=key,
                decision=decision,
                head=head,
                at=self._clock.now(),
                privacy_group_id=bundle.privacy_group_id if bundle is not None else "",
                owner=bundle.owner if bundle is not None else "",
                sent_by=bundle.sent_by if bundle is not None else "",
            )
            self._tell(decided, earlier)
        return decision

    def _tell(self, decided: Decided, earlier: Decided | None) -> None:
        decision = decided.decision
        # That a node sends an addition, or reads the bundle that brought it a group, is no decision about one.
        if decision.passed and not decision.replays:
            log.debug("history passed", group=decided.privacy_group_id, reason=decision.slug, key=decided.key)
            return
        # Before the node is answered: a guard that dies in between must not decide otherwise about a block that the
        # node has checked once already and is about to import.
        self._decisions.keep(decided)
        say = log.info if decision.passed else log.warning
        say(
            "history passed" if decision.passed else "history refused",
            group=decided.privacy_group_id,
            reason=decision.slug,
            detail=decision.detail,
            key=decided.key,
            owner=decided.owner,
            sent_by=decided.sent_by,
            head=decided.head,
        )
        if earlier is None or earlier.decision.outcome is not decision.outcome:
            with contained("decision told"):
                self._on_decision(decided)

    async def _bundle(self, body: bytes | None) -> ReceivedBundle:
        if body is None:
            raise InvalidBundleError("it is larger than is read")
        # Thousands of signatures are recovered: not on the event loop, where everything else passes through.
        return await asyncio.to_thread(bundle_in, body, self._settings.rules.most_transactions)

    async def _judged_patiently(self, key: str, bundle: ReceivedBundle) -> tuple[int, Decision]:
        """Judge as soon as the node tells what is needed: while it imports a block it may be slow to."""
        while True:
            try:
                judged = await self._judged(key, bundle)
            except (NodeError, StoreError) as error:
                self._silence[key] = str(error)
                await self._clock.sleep(ASKED_AGAIN_SECONDS)
            else:
                self._silence.pop(key, None)
                return judged

    async def _judged(self, key: str, bundle: ReceivedBundle) -> tuple[int, Decision]:
        # The parent of the block, on which a replay would build. Asked anew: what was seen last may be a block old.
        head = await self._facts.head()
        self._newest = max(self._newest, head.number)
        own_root = await self._facts.own_root(bundle.privacy_group_id, head.number)
        found = held(bundle, own_root)
        if found is not None and not found.passed and await self._reads_own_past(key, bundle):
            return head.number, Decision(outcome=Outcome.PASSED, slug="own_past")
        earlier = self._decisions.newest(key)
        # Passed once at this head, and still lacking: a block that is processed twice, or a replay that failed.
        if found is None and earlier is not None and earlier.decision.passed and earlier.head == head.number:
            return head.number, self._again(key, earlier, head)
        if found is not None:
            return head.number, found
        # Two replays in one block are judged one after the other, and depend on each other
        # (docs/besu.md#former-members, 2).
        others = [d.privacy_group_id for d in self._decisions.all() if d.head == head.number and d.decision.replays]
        decision = judge(await self._facts.facts(bundle, head, others), self._settings.rules)
        self._passed(key, decision, head)
        return head.number, decision

    def _again(self, key: str, earlier: Decided, head: Head) -> Decision:
        passing = self._passing.get(key)
        # A node that was further on and synchronises anew is not one that stands.
        if passing is None or passing.head != head.number or head.number < self._newest:
            passing = _Passing(head=head.number, since=earlier.at, times=1)
            self._passing[key] = passing
        seconds = (self._clock.now() - passing.since).total_seconds()
        again = asked_again(earlier.decision, times=passing.times, seconds=seconds, rules=self._settings.rules)
        passing.times += 1
        return earlier.decision if again is None else again

    def _passed(self, key: str, decision: Decision, head: Head) -> None:
        if not decision.replays:
            return
        self._passing[key] = _Passing(head=head.number, since=self._clock.now(), times=1)
        while len(self._passing) > MOST_REMEMBERED:
            self._passing.popitem(last=False)

    async def _reads_own_past(self, key: str, bundle: ReceivedBundle) -> bool:
        """Whether the node asks for a bundle to read it, not to replay it: nothing in the request itself tells.

        What it sent itself it was not added with. A copied marker that goes through a pool that nobody here sees, and
        is mined while the node reads, passes for the node's own reading.
        """
        if bundle.sent_by in self._facts.own_keys:
            return False
        now = self._clock.now()
        # Once: an addition reads its bundle once, so that a second request in these seconds is taken for a copied
        # marker's.
        began = self._adding.pop(bundle.privacy_group_id, None)
        adding = began is not None and now - began <= ADDING
        looking = self._looking_since is not None and now - self._looking_since <= LOOKING
        return (adding or looking) and not await self._facts.is_pending(key)

    def _undecided(self, detail: str) -> Decision:
        # A refusal lasts: refused, the node imports the block as a stranger, and would replay at another head later.
        outcome = Outcome.PASSED if self._settings.undecided == "pass" else Outcome.REFUSED
        passed = outcome is Outcome.PASSED
        return Decision(outcome=outcome, slug="not_judged", detail=detail, replays=passed, lasting=not passed)
