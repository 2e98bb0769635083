"""Who is to blame when enclaves don't take a transaction: a member's enclave, the history's size, or a key.

The same words of an enclave may mean each of them (docs/besu.md#tessera); what tells them apart is what else is taken,
and what is known of the keys (docs/besu.md#enclaves-that-fail).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from orchestrator.engine.fleet import Fleet
from orchestrator.engine.node_ports import Contract, NodeError, Signers
from orchestrator.engine.send_pace import SendPace
from orchestrator.engine.sounding import IN_DOUBT, UNKNOWN_RECIPIENT, Sounding
from orchestrator.engine.watcher import ChainWatcher
from orchestrator.membership.attempt import Action
from orchestrator.membership.bundle_limits import BundleSize, told_size
from orchestrator.membership.facts import MemberSurvey, Surveyed
from orchestrator.membership.model import Change, Kind
from orchestrator.membership.reasons import Reason

BundleMeasure = Callable[[ChainWatcher, str], Awaitable[BundleSize | None]]
"""Tells how large the bundle of a group would be, read from a node."""


@dataclass(frozen=True, slots=True)
class EnclaveDoubts:
    """Tells apart why enclaves don't take something.

    Attributes:
        fleet: The nodes.
        pace: Keeps signed transactions a block apart.
        sounding: Sounds enclaves.
        measure: Tells how large a group's bundle is.
    """

    fleet: Fleet
    pace: SendPace
    sounding: Sounding
    measure: BundleMeasure

    async def look(self, change: Change, seen: Surveyed) -> Surveyed:
        """Add what the enclaves of the new members say now, where the turn before failed for enclaves.

        Args:
            change: The change in preflight.
            seen: What was surveyed.

        Raises:
            NodeError: The node to send through can't be asked.
        """
        before = change.reason.slug if change.reason is not None else ""
        if before not in IN_DOUBT or seen.forecast is None or change.kind not in (Kind.ADD_MEMBERS, Kind.SET_MEMBERS):
            return seen
        watcher = self.fleet.named(seen.node)
        members = []
        for member in seen.members:
            joins = member.enclave_key in change.members and member.enclave_key not in seen.view.participants
            members.append(await self._sounded(change, seen, watcher, member) if joins else member)
        return replace(seen, members=tuple(members))

    async def measured(self, change: Change, seen: Surveyed) -> Surveyed:
        """Add how large the bundle would be, where somebody is to be added and it may matter."""
        if seen.forecast is None:
            return seen
        watcher = self.fleet.named(seen.node)
        hosts = (self.fleet.hosting(key) for key in dict.fromkeys((*change.members, seen.sender_key)))
        limits = [host.node.bundle_limit_bytes for host in hosts if host is not None]
        known = [limit for limit in limits if limit is not None]
        in_doubt = change.reason is not None and change.reason.slug == "bundle_not_taken"
        if not known and not in_doubt:
            return seen
        measured = await self._measured(watcher, change.privacy_group_id)
        return (
            seen if measured is None else replace(seen, bundle=replace(measured, limit_bytes=min(known, default=None)))
        )

    async def distributed(self, change: Change, watcher: ChainWatcher, action: Action, raw: bytes) -> bytes:
        """Hand a signed private transaction to a node's enclave and those of the recipients; return its payload key.

        Raises:
            NodeError: It was not distributed, with what is known of the cause.
        """
        try:
            return await watcher.node.distribute(raw)
        except NodeError as error:
            raise await self.blamed(change, watcher, action, error) from error

    async def blamed(self, change: Change, watcher: ChainWatcher, action: Action, error: NodeError) -> NodeError:
        """Return an error of a distribution with what is known of its cause, and keep the next one a block away.

        Args:
            change: The change.
            watcher: The node that was sent through.
            action: What was sent.
            error: What came of it.

        Raises:
            NodeError: The node can't be asked any more.
        """
        await self.pace.tried(change.privacy_group_id, watcher)
        plan, slug = change.plan, error.reason.slug
        newcomers = plan.to_add if plan is not None and action in (Action.ADD, Action.CREATE) else ()
        if slug in UNKNOWN_RECIPIENT and not newcomers:
            return _of_kind(error, "enclave_unreachable", "all recipients are members, whose keys were known once")
        if slug in UNKNOWN_RECIPIENT and all(self.fleet.hosting(key) is not None for key in newcomers):
            error = _of_kind(error, "enclave_unreachable", "a configured node hosts the key")
        elif action is Action.ADD and slug == "enclave_key_unknown" and await self._has_forgotten(change, watcher):
            error = _of_kind(error, "enclave_unreachable", "the sender's enclave knows no other member either")
        if action is Action.ADD and error.reason.slug == "enclave_unreachable" and change.failures:
            return await self._of_bundle(change, watcher, error)
        return error

    async def _of_bundle(self, change: Change, watcher: ChainWatcher, error: NodeError) -> NodeError:
        """Tell an addition that is not taken for its size from an enclave that is away, once it failed twice."""
        plan = change.plan
        for key in plan.to_add if plan is not None else ():
            trouble = await self._sound(change, watcher, key)
            if trouble is not None:
                return error
        measured = await self._measured(watcher, change.privacy_group_id)
        detail = f"{error.reason.detail}; all enclaves took a small transaction{told_size(measured)}"
        return NodeError(replace(error.reason, slug="bundle_not_taken", detail=detail), error.said)

    async def _has_forgotten(self, change: Change, watcher: ChainWatcher) -> bool:
        """Whether a node's enclave knows none of the other members, as after its own restart."""
        plan = change.plan
        own = watcher.node.enclave_keys
        other = next((key for key in plan.participants if key not in own), None) if plan is not None else None
        return other is not None and await self._sound(change, watcher, other) is not None

    async def _sounded(
        self, change: Change, seen: Surveyed, watcher: ChainWatcher, member: MemberSurvey
    ) -> MemberSurvey:
        trouble = await self._sound(change, watcher, member.enclave_key, seen.sender_key)
        if trouble is None:
            return member
        if trouble.slug == "enclave_recipient_away" and member.node is None:
            return replace(member, unheard=True)
        return replace(member, enclave_trouble=f"its enclave takes nothing from node {seen.node}'s ({trouble.detail})")

    async def _sound(self, change: Change, watcher: ChainWatcher, key: str, sender_key: str = "") -> Reason | None:
        await self.pace.wait(change.privacy_group_id, watcher)
        members = change.plan.participants if change.plan is not None else ()
        own = sender_key or next((k for k in watcher.node.enclave_keys if k in members), watcher.node.enclave_keys[0])
        try:
            return await self.sounding.trouble(watcher, change.account, own, key)
        finally:
            await self.pace.tried(change.privacy_group_id, watcher)

    async def _measured(self, watcher: ChainWatcher, privacy_group_id: str) -> BundleSize | None:
        try:
            return await self.measure(watcher, privacy_group_id)
        except NodeError:
            return None  # the size is told along; that it can't be read changes nothing


def doubts_of(
    fleet: Fleet, signers: Signers, contract: Contract, new_id: Callable[[], str], measure: BundleMeasure
) -> EnclaveDoubts:
    """Return what tells doubts apart; the parameters are as those of `EnclaveDoubts` and `Sounding`."""
    return EnclaveDoubts(
        fleet=fleet,
        pace=SendPace(fleet),
        sounding=Sounding(signers=signers, contract=contract, new_id=new_id),
        measure=measure,
    )


def _of_kind(error: NodeError, slug: str, detail: str) -> NodeError:
    return NodeError(replace(error.reason, slug=slug, detail=f"{error.reason.detail}; {detail}"), error.said)
