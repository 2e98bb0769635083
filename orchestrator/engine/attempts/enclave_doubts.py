"""Who is to blame when enclaves don't take a transaction: a member's enclave, the history's size, or a key.

The same words of an enclave may mean each of them (docs/besu.md#tessera); what tells them apart is what else is taken,
and what is known of the keys (docs/besu.md#enclaves-that-fail).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from orchestrator.engine.attempts.enclave_soundings import IN_DOUBT, UNKNOWN_RECIPIENT, Sounding
from orchestrator.engine.attempts.send_pace import SendPace
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import Contract, NodeError
from orchestrator.engine.ports.signers import Signers
from orchestrator.membership.attempt import Action
from orchestrator.membership.bundle_limits import BundleSize, size_note
from orchestrator.membership.facts import MemberSurvey, Surveyed
from orchestrator.membership.model import Change
from orchestrator.membership.reasons.table import Reason
from orchestrator.membership.repair import ADDING

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
        """Add what the enclaves of the members say now, where the try before failed for enclaves.

        Args:
            change: The change in preflight.
            seen: What was surveyed.

        Raises:
            NodeError: The node to send through can't be asked, or the enclave of an old member is away.
        """
        before = change.reason.slug if change.reason is not None else ""
        # A sounding is a signed transaction at every enclave: only where the try before gave reason to.
        if before not in IN_DOUBT or seen.forecast is None or change.kind not in ADDING:
            return seen
        watcher, present = self.fleet.named(seen.node), seen.view.participants
        newcomers = [key for key in change.members if key not in present]
        # All at once first: mostly all are back, and each sounding waits for a block.
        trouble = await self._sound(change, watcher, (seen.sender_key, *present, *newcomers))
        if trouble is None:
            return seen
        # One by one, so that of a batch only those wait whose enclave is away.
        found = {key: await self._sound(change, watcher, (seen.sender_key, key)) for key in newcomers}
        if not any(found.values()):
            raise NodeError(replace(trouble, slug="enclave_unreachable"))
        return replace(seen, members=tuple(_doubted(member, found.get(member.enclave_key)) for member in seen.members))

    async def measured(self, change: Change, seen: Surveyed) -> Surveyed:
        """Add how large the bundle would be, where somebody is to be added and it may matter."""
        if seen.forecast is None:
            return seen
        watcher = self.fleet.named(seen.node)
        hosts = (self.fleet.hosting(key) for key in dict.fromkeys((*change.members, seen.sender_key)))
        limits = [host.node.bundle_limit_bytes for host in hosts if host is not None]
        known = [limit for limit in limits if limit is not None]
        in_doubt = change.reason is not None and change.reason.slug == "bundle_not_taken"
        # Measuring reads a part of the history, and without a limit or a refusal there is nothing to compare it with.
        if not known and not in_doubt:
            return seen
        measured = await self._measured(watcher, change.privacy_group_id)
        return (
            seen if measured is None else replace(seen, bundle=replace(measured, limit_bytes=min(known, default=None)))
        )

    async def way(self, change: Change, watcher: ChainWatcher, action: Action) -> "Way":
        """Wait until the next transaction may be tried, and return its way to the enclaves.

        An addition that enclaves did not take is tried again only when they all take a small transaction: what they do
        not take then they would never take.

        Raises:
            NodeError: The node does not get on, or an enclave is away.
        """
        await self.pace.wait(change.privacy_group_id, watcher)
        plan, waited = change.plan, change.waits_for
        doubted = waited is not None and waited.slug in IN_DOUBT | UNKNOWN_RECIPIENT
        # Small transactions tell by themselves: they are what a sounding would send.
        if action is not Action.ADD or plan is None or not change.failures or not doubted:
            return Way(self, change, watcher, action)
        trouble = await self._sound(
            change,
            watcher,
            (sending_key(watcher.node.enclave_keys, plan.participants), *plan.participants, *plan.to_add),
        )
        if trouble is not None:
            raise self._explained_by_keys(NodeError(trouble), plan.to_add)
        await self.pace.wait(change.privacy_group_id, watcher)
        return Way(self, change, watcher, action, sounded=True)

    async def blamed(
        self, change: Change, watcher: ChainWatcher, action: Action, error: NodeError, *, sounded: bool
    ) -> NodeError:
        """Return an error of a distribution with what is known of its cause, and keep the next one a block away.

        Args:
            change: The change.
            watcher: The node that was sent through.
            action: What was sent.
            error: What came of it.
            sounded: Whether all enclaves took a small transaction just before.

        Raises:
            NodeError: The node can't be asked any more.
        """
        await self.pace.tried(change.privacy_group_id, watcher)
        plan, slug = change.plan, error.reason.slug
        newcomers = plan.to_add if plan is not None and action in (Action.ADD, Action.CREATE) else ()
        # They took a small one a block ago: what they refuse is this one for its size (docs/besu.md#tessera).
        if sounded and slug in IN_DOUBT | UNKNOWN_RECIPIENT:
            measured = await self._measured(watcher, change.privacy_group_id)
            return _of_kind(error, "bundle_not_taken", f"all enclaves took a small transaction{size_note(measured)}")
        # An enclave that was restarted knows nobody for some seconds, old members no more than the new one
        # (docs/besu.md#tessera).
        if action is Action.ADD and slug == "enclave_key_unknown" and await self._has_forgotten(change, watcher):
            return _of_kind(error, "enclave_unreachable", "the sender's enclave knows no other member either")
        return self._explained_by_keys(error, newcomers)

    def _explained_by_keys(self, error: NodeError, newcomers: tuple[str, ...]) -> NodeError:
        """Tell an enclave that is away from a key that nobody hosts, by what is known of the recipients' keys."""
        if error.reason.slug not in UNKNOWN_RECIPIENT:
            return error
        if not newcomers:
            return _of_kind(error, "enclave_unreachable", "all recipients are members, whose keys were known once")
        if all(self.fleet.hosting(key) is not None for key in newcomers):
            return _of_kind(error, "enclave_unreachable", "configured nodes host the new members' keys")
        return error

    async def _has_forgotten(self, change: Change, watcher: ChainWatcher) -> bool:
        """Whether a node's enclave knows none of the other members, as after its own restart."""
        plan = change.plan
        if plan is None:
            return False
        own = sending_key(watcher.node.enclave_keys, plan.participants)
        other = next((key for key in plan.participants if key not in watcher.node.enclave_keys), None)
        return other is not None and await self._sound(change, watcher, (own, other)) is not None

    async def _sound(self, change: Change, watcher: ChainWatcher, members: tuple[str, ...]) -> Reason | None:
        await self.pace.wait(change.privacy_group_id, watcher)
        try:
            return await self.sounding.trouble(watcher, change.account, tuple(dict.fromkeys(members)))
        finally:
            await self.pace.tried(change.privacy_group_id, watcher)

    async def _measured(self, watcher: ChainWatcher, privacy_group_id: str) -> BundleSize | None:
        try:
            return await self.measure(watcher, privacy_group_id)
        except NodeError:
            return None  # the size is told along; that it can't be read changes nothing


@dataclass(frozen=True, slots=True)
class Way:
    """The way of one transaction to the enclaves; `EnclaveDoubts.way` makes it.

    Attributes:
        doubts: Tells apart why they don't take it.
        change: Whose it is.
        watcher: The node that it goes through.
        action: Its intent.
        sounded: Whether all enclaves took a small transaction just before.
    """

    doubts: EnclaveDoubts
    change: Change
    watcher: ChainWatcher
    action: Action
    sounded: bool = False

    async def distribute(self, raw: bytes, from_block: int | None = None) -> bytes:
        """Hand a signed private transaction to a node's enclave and those of the recipients; return its payload key.

        Raises:
            NodeError: It was not distributed, with what is known of the cause.
        """
        try:
            return await self.watcher.node.distribute(raw, from_block)
        except NodeError as error:
            raise await self.blamed(error) from error

    async def blamed(self, error: NodeError) -> NodeError:
        """Return an error of the node's with what is known of its cause; see `EnclaveDoubts.blamed`."""
        return await self.doubts.blamed(self.change, self.watcher, self.action, error, sounded=self.sounded)


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


def sending_key(hosted: tuple[str, ...], members: tuple[str, ...]) -> str:
    """Return the enclave key that a node sends from: of those that it hosts one of the members'."""
    return next((key for key in hosted if key in members), hosted[0])


def _doubted(member: MemberSurvey, trouble: Reason | None) -> MemberSurvey:
    """What is known of a new member whose enclave was sounded."""
    if trouble is None:
        return member
    # Of a stranger's key nobody knows whether it is wrong: it is waited for, but not for ever. Orion, whose word would
    # count at other times, has just had an outage or another's, after which it knows who came back first.
    if trouble.slug in UNKNOWN_RECIPIENT and member.node is None:
        return replace(member, unheard=True)
    return replace(member, enclave_trouble=f"its enclave takes nothing ({trouble.detail})")


def _of_kind(error: NodeError, slug: str, detail: str) -> NodeError:
    return NodeError(replace(error.reason, slug=slug, detail=f"{error.reason.detail}; {detail}"), error.said)
