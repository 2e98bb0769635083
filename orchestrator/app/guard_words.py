"""What the guard before one of our nodes makes of groups' histories: for those who ask before they add to it, and for
those whose addition it refused."""

import asyncio
from datetime import timedelta
from typing import Final

from orchestrator.config import Config
from orchestrator.engine.ports.clock import Clock
from orchestrator.membership.damage.misread_payloads import SLUG as NO_HISTORY
from orchestrator.membership.guard.judgement import Refusal
from orchestrator.store.guard.approvals import ApprovalFile
from orchestrator.store.guard.decisions import Decided, DecisionFile, newest_decisions

SHOWN_FOR: Final = timedelta(hours=1)
"""How long a refusal that the next addition may not meet is told."""

_PASSING: Final = frozenset({"newcomer_busy", "other_group_rolled_back", "held_beyond"})
"""Refusals that were of their block."""

_TRUSTED: Final = frozenset({"not_agreed_to", "roots_not_confirmed"})
"""Refusals that an approval is the answer to."""


class GuardWords:
    """Reads what a guard decided, where the daemon's configuration is the guard's as well.

    Args:
        config: The configuration.
        clock: Time.
    """

    def __init__(self, config: Config, clock: Clock) -> None:
        self._guard = config.guard
        self._node = config.guard.node or config.nodes[0].name
        self._approvals = ApprovalFile(config.guard.approvals_file)
        self._clock = clock

    async def recent(self) -> tuple[Refusal, ...]:
        """Return the additions that were refused of late."""
        return await asyncio.to_thread(self._recent)

    async def refused(self, node: str, privacy_group_id: str, block_number: int) -> str:
        """Return the rule by which the guard refused an addition; empty text when nothing says that it did.

        Args:
            node: Name of the new member's node.
            privacy_group_id: The group.
            block_number: The addition's block.
        """
        asked = (node, privacy_group_id, block_number)
        found = await self.recent() if node == self._node else ()
        return next((r.rule for r in found if (r.node, r.privacy_group_id, r.block_number) == asked), "")

    def _recent(self) -> tuple[Refusal, ...]:
        since = self._clock.now() - SHOWN_FOR
        kept = newest_decisions(self._guard.decisions_file)
        # The node may ask several times for one history; what it was answered last is what it imported the block with.
        newest = {d.key: d for d in kept if d.privacy_group_id and d.decision.slug != NO_HISTORY}
        return tuple(
            Refusal(
                node=self._node,
                privacy_group_id=decided.privacy_group_id,
                # It was judged as the block came in, with the one before it as the node's head
                # (docs/besu.md#enclave-interface, 4).
                block_number=decided.head + 1,
                rule=decided.decision.slug,
            )
            for decided in newest.values()
            if not decided.decision.passed and decided.at >= since
        )

    async def why(self, node: str, privacy_group_id: str) -> str | None:
        """Return why the guard would refuse the history of a group; None when nothing says that it would.

        Args:
            node: Name of the new member's node.
            privacy_group_id: The group.
        """
        if node != self._node:
            return None
        return await asyncio.to_thread(self._looked_up, privacy_group_id)

    def _looked_up(self, group: str) -> str | None:
        approved = any(approval.privacy_group_id == group for approval in self._approvals.approvals())
        if self._guard.accept == "asked" and not approved:
            return "nobody there has agreed to this addition"
        kept = DecisionFile(self._guard.decisions_file).all()
        found = [d for d in kept if d.privacy_group_id == group and d.decision.slug != NO_HISTORY]
        if not found or found[-1].decision.passed:
            return None
        return self._of(found[-1], approved=approved)

    def _of(self, newest: Decided, *, approved: bool) -> str | None:
        said = newest.decision
        if said.slug == "owner_not_known":
            known = self._guard.accept != "known-owners" or newest.owner in self._guard.known_owners
            return None if known else "the group's owner is none of those that are known there"
        if said.slug in _PASSING or (said.slug in _TRUSTED and approved and self._guard.unconfirmed != "refuse"):
            return None
        if said.slug == "not_agreed_to" and (approved or self._guard.accept != "asked"):
            return None
        recent = self._clock.now() - newest.at <= SHOWN_FOR
        # The guard's own words may name other groups of its node: the rule alone tells who asks enough.
        return f"at block {newest.head} it refused the history: {said.slug.replace('_', ' ')}" if recent else None
