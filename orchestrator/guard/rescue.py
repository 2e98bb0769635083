"""Bringing a node back that stands before an addition: its enclave does not find the one bundle, until it is past."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.guard.diagnosis import Cause, Culprit, Diagnosis, SeenNode
from orchestrator.guard.payloads import PayloadReader
from orchestrator.guard.wire import transaction_in
from orchestrator.membership.damage.misread_payloads import misread

POLL_SECONDS = 1.0
NEAR_BLOCKS = 2
"""So few blocks behind its neighbours a node has caught up."""
_RESTART = (
    "Restart Besu with its enclave's own address now: this proxy ends, and the node waits for an enclave until then"
)


class KeyRefusal:
    """Finds no bundle of some keys, and passes everything else.

    Args:
        keys: The bundles' keys, base64.
        misread: Keys of what is none, and may be a private transaction that the node has to execute yet.
        payloads: Tells whether it has to; a node that was restarted works on nothing but the next block.
    """

    def __init__(
        self, keys: Collection[str], misread: Collection[str] = (), payloads: PayloadReader | None = None
    ) -> None:
        self._keys = frozenset(keys)
        self._misread = frozenset(misread)
        self._payloads = payloads

    def refused(self, key: str) -> bool:
        """Return whether it is one of the keys."""
        # By name: a rescue gets one node past one block, and a rule would be a guess about all other bundles.
        return key in self._keys

    async def passes(self, key: str, _body: Callable[[], Awaitable[bytes | None]]) -> bool:
        """Return whether it is another key: no other bundle is looked at."""
        return not self.refused(key)

    async def gives(self, key: str, body: Callable[[], Awaitable[bytes | None]]) -> bool:
        """Return whether it is no key that is misread, or one that the node has to execute yet."""
        read = await body() if key in self._misread else None
        found = transaction_in(read) if read is not None else None
        if found is None or self._payloads is None:
            return True
        if not found.executable:
            return False
        try:
            _, facts = await self._payloads.facts(found, key, await self._payloads.head())
        except NodeError:
            return True
        return misread(facts).passed

    def adds(self, privacy_group_id: str) -> None:
        """Nothing follows from it here."""

    def looks(self) -> None:
        """Nothing follows from it here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupProof:
    """What a group of the node looks like beside its members.

    Attributes:
        privacy_group_id: The group.
        agrees: Whether all that could be compared are equal; None when nobody else shows the group.
        compared: Names of the nodes that it was compared with.
        block_number: The block.
    """

    privacy_group_id: str
    agrees: bool | None
    compared: tuple[str, ...]
    block_number: int


async def until_past(
    node: SeenNode, neighbours: Sequence[SeenNode], head: int, seconds: float, clock: Clock
) -> int | None:
    """Wait until a node is past the block that it stood before and has caught up; return its head.

    Args:
        node: The node.
        neighbours: Other nodes of the chain.
        head: The head at which it stood.
        seconds: Wait at most so long.
        clock: Time.

    Returns:
        The head; None when the time is up.
    """

    async def past() -> int:
        while True:
            try:
                own = (await node.watcher.refresh()).number
            except NodeError:
                own = head  # it is being restarted
            # Past the block is not enough: on its way up the node may meet another addition that it can't replay.
            if own > head and own + NEAR_BLOCKS >= await _newest(neighbours):
                return own
            await clock.sleep(POLL_SECONDS)

    try:
        return await clock.wait_for(past(), seconds)
    except TimeoutError:
        return None


async def compared_groups(
    node: SeenNode, neighbours: Sequence[SeenNode], without: Collection[str]
) -> tuple[GroupProof, ...]:
    """Compare all groups that a node holds with whoever else shows them.

    Args:
        node: The node.
        neighbours: Other nodes; those that are no members show nothing.
        without: Groups to leave out.

    Raises:
        NodeError: The node does not answer.
    """
    own = node.watcher.node
    groups = sorted(set(await own.groups([])) - set(without))
    said = await asyncio.gather(*(n.watcher.refresh() for n in neighbours), return_exceptions=True)
    seen = [n for n, answer in zip(neighbours, said, strict=True) if not isinstance(answer, BaseException)]
    # At a block that all of them have: one that is behind would look as if it differed.
    at = min([(await node.watcher.refresh()).number, *(n.watcher.head.number for n in seen if n.watcher.head)])
    if not groups:
        return ()
    roots = [view.state_root for view in await own.roots_of(groups, at)]
    equal: dict[str, dict[str, bool]] = {group: {} for group in groups}
    for neighbour in seen:
        try:
            members = await neighbour.watcher.node.groups([])
            shared = [group for group in groups if group in members]
            views = await neighbour.watcher.node.roots_of(shared, at) if shared else ()
        except NodeError:
            continue
        for group, view in zip(shared, views, strict=True):
            if view.exists:
                equal[group][neighbour.name] = view.state_root == roots[groups.index(group)]
    return tuple(
        GroupProof(
            privacy_group_id=group,
            agrees=all(found.values()) if found else None,
            compared=tuple(found),
            block_number=at,
        )
        for group, found in equal.items()
    )


async def _newest(neighbours: Sequence[SeenNode]) -> int:
    said = await asyncio.gather(*(n.watcher.refresh() for n in neighbours), return_exceptions=True)
    return max((answer.number for answer in said if not isinstance(answer, BaseException)), default=0)


def steps_of(diagnosis: Diagnosis, address: str) -> tuple[str, ...]:
    """Return what a person does now, in order.

    Args:
        diagnosis: What was found.
        address: Where the proxy answers, or will.
    """
    if diagnosis.cause is Cause.ADDITION:
        return (f"Restart this node's Besu with --privacy-url={address}, all other options as they are.",)
    if diagnosis.cause is Cause.CHAIN:
        return (
            f"Restart this node's Besu alone with --privacy-url={address}; blocks come again with its vote, after "
            "the validators' round time-outs.",
            "Or restart the Besu of all nodes together: their pools forget the marker, and the group stays locked. One "
            "restarted alone gets it back from its peers.",
            *(
                f"Then group {c.bundle.privacy_group_id} is unlocked by its owner {c.bundle.owner}."
                for c in diagnosis.culprits
            ),
        )
    return ()


def afterwards(culprit: Culprit) -> str:
    """Return what is to be done with the group of an addition that a node was brought past."""
    if culprit.misread:
        return (
            f"Marker {culprit.transaction} added nobody: it named something else as a history. {_RESTART}; another "
            "such marker would stop it again, which `orchestrator guard` prevents."
        )
    others = ", ".join(culprit.bundle.members)
    through = f" through the node of one of {others}" if others else ""
    return (
        f"Group {culprit.bundle.privacy_group_id} is unknown on this node, and its other members take it for one: have "
        f"its owner {culprit.bundle.owner} remove it{through}. Never add it again to this node while the cause "
        f"is there ({culprit.reason}). {_RESTART}; a copy of the marker would stop it again, which `orchestrator "
        "guard` prevents."
    )


def diagnosis_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis as a JSON object."""
    return {
        "cause": diagnosis.cause.value,
        "detail": diagnosis.detail,
        "head": diagnosis.head,
        "newest": diagnosis.newest,
        "additions": [
            {
                "history_key": culprit.history_key,
                "payload_key": culprit.payload_key,
                "transaction": culprit.transaction,
                "privacy_group_id": culprit.bundle.privacy_group_id,
                "owner": culprit.bundle.owner or None,
                "members": list(culprit.bundle.members),
                "sent_by": culprit.bundle.sent_by or None,
                "transactions": len(culprit.bundle.calls),
                "reason": culprit.reason,
                "detail": culprit.detail,
            }
            for culprit in diagnosis.culprits
        ],
        "unseen_neighbours": dict(diagnosis.unseen),
    }


def proof_document(proofs: Sequence[GroupProof]) -> list[dict[str, Any]]:
    """Return proofs as JSON objects."""
    return [
        {
            "privacy_group_id": proof.privacy_group_id,
            "agrees": proof.agrees,
            "compared": list(proof.compared),
            "block_number": proof.block_number,
        }
        for proof in proofs
    ]
