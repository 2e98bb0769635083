"""Telling other organisations' daemons, signed, what our own node shows of a group that it joined, or would have joined
if its guard had not refused the group's history.

The block of the addition is found by bisection in the contract's members at the node's own past blocks; the state roots
there and at the further blocks of the proof are what the adder's daemon compares with its own.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from orchestrator.engine.attestation.verdict_messages import encode_verdict
from orchestrator.engine.nodes.bisection import first_block
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError, NodePort
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.engine.ports.signers import StatementSigner
from orchestrator.engine.runtime.isolation import contained, repeated
from orchestrator.membership.attestation.joined_groups import Join
from orchestrator.membership.attestation.verdicts import MemberVerdict, RootAt, SignedVerdict, statement
from orchestrator.membership.guard.judgement import Refusal

TICK_SECONDS: Final = 0.5
MOST_JOINS: Final = 256
GIVE_UP_BLOCKS: Final = 1_000
"""Whoever waited for a verdict has given up when the chain is so far beyond its blocks."""

MOST_CANDIDATES: Final = 64
"""Blocks that may be the addition's, where the node does not tell any more which it was."""

log = structlog.get_logger()


async def _none() -> Sequence[Refusal]:
    """No guard stands before any node."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A member of ours that is to be told of: it joined a group, or its guard refused that.

    Attributes:
        privacy_group_id: The group.
        enclave_key: The member.
        node: Name of its node.
        since_block: Its node's head when it was first seen to have the group; with a refusal the addition's block.
        after_block: The member was not in the group at this block.
        refused: By which rule the guard refused; empty for a join.
        span: First and last block whose state is to be told; None while the addition's block was not looked for.
        attested_through: The newest block whose state was told; None before the first telling.
    """

    privacy_group_id: str
    enclave_key: str
    node: str
    since_block: int
    after_block: int
    refused: str = ""
    span: tuple[int, int] | None = None
    attested_through: int | None = None

    @property
    def name(self) -> tuple[str, str, int]:
        """Tells it from others; a join of a member is told once at a time."""
        return self.privacy_group_id, self.enclave_key, self.since_block if self.refused else 0


class Attester:
    """Publishes signed verdicts about our own nodes.

    Args:
        fleet: The nodes.
        speakers: By a node's name the account, in the configuration's writing, that signs for it.
        signer: The accounts.
        publish: Gives a verdict's bytes to the message queue; may raise `BrokerError`.
        clock: Time.
        proof_blocks: Blocks after the addition's whose state is told.
        refusals: Tells the additions that guards before our nodes refused of late.
    """

    def __init__(
        self,
        fleet: Fleet,
        speakers: Mapping[str, str],
        signer: StatementSigner,
        publish: Callable[[bytes], Awaitable[None]],
        clock: Clock,
        proof_blocks: int,
        refusals: Callable[[], Awaitable[Sequence[Refusal]]] = _none,
    ) -> None:
        self._refusals = refusals
        self._refused: OrderedDict[Refusal, None] = OrderedDict()
        self._fleet = fleet
        self._speakers = dict(speakers)
        self._signer = signer
        self._publish = publish
        self._clock = clock
        self._proof_blocks = proof_blocks
        self._pending: OrderedDict[tuple[str, str, int], Pending] = OrderedDict()

    def follow(self, join: Join, after_block: int) -> None:
        """Tell of a join whose node has the group by now; called again for the same one it does nothing new."""
        if join.node not in self._speakers or join.since_block is None:
            return
        self._remember(
            Pending(
                privacy_group_id=join.privacy_group_id,
                enclave_key=join.enclave_key,
                node=join.node,
                since_block=join.since_block,
                after_block=min(after_block, join.since_block - 1),
            )
        )

    def _remember(self, pending: Pending) -> None:
        self._pending.setdefault(pending.name, pending)
        while len(self._pending) > MOST_JOINS:
            self._pending.popitem(last=False)

    async def run(self) -> None:
        """Tell until cancelled."""
        await repeated("attesting", self.tell, self._clock, TICK_SECONDS)

    async def tell(self) -> None:
        """Tell once what there is to be told."""
        for refusal in await self._refusals():
            self._follow_refusal(refusal)
        away: set[str] = set()
        for name, pending in list(self._pending.items()):
            if self._speakers[pending.node] in away:
                continue  # each of its verdicts would be waited for as long as the first one, and others' behind it
            with contained("attestation", group=name[0], node=pending.node):
                try:
                    after = await self._tell(pending)
                except (NodeError, BrokerError) as error:
                    if isinstance(error, NodeError) and error.reason.slug == "signer_away":
                        away.add(self._speakers[pending.node])
                    log.debug("verdict not told yet", group=name[0], node=pending.node, reason=str(error))
                    continue
                if after is None:
                    del self._pending[name]
                else:
                    self._pending[name] = after

    def _follow_refusal(self, refusal: Refusal) -> None:
        """Whoever added the member learns why it has nothing, instead of finding its addition lost."""
        if refusal.node not in self._speakers or refusal in self._refused:
            return
        self._refused[refusal] = None
        while len(self._refused) > MOST_JOINS:
            self._refused.popitem(last=False)
        first = refusal.block_number
        for key in self._fleet.named(refusal.node).node.enclave_keys:
            self._remember(
                Pending(
                    privacy_group_id=refusal.privacy_group_id,
                    enclave_key=key,
                    node=refusal.node,
                    since_block=first,
                    after_block=first - 1,
                    refused=refusal.rule,
                    span=(first, first + self._proof_blocks),
                )
            )

    async def _tell(self, pending: Pending) -> Pending | None:
        """Tell of one join; returns what is left to be told, None for nothing."""
        watcher = self._fleet.named(pending.node)
        head = (await watcher.current()).number
        first, last = pending.span or await self._span(watcher.node, pending)
        pending = replace(pending, span=(first, last))
        through = min(head, last)
        if head > last + GIVE_UP_BLOCKS:
            return None
        # Twice is enough: as soon as there is something to be told, and when there is nothing more to come.
        if through < first or (pending.attested_through is not None and through < last):
            return pending
        roots = await _roots(watcher, pending.privacy_group_id, first, through)
        account = self._speakers[pending.node]
        verdict = MemberVerdict(
            privacy_group_id=pending.privacy_group_id,
            enclave_key=pending.enclave_key,
            chain_id=(await watcher.node.traits()).chain_id,
            roots=roots,
            head=head,
            issued_at=self._clock.now(),
            refused=pending.refused,
        )
        signature = await self._signer.sign_statement(account, statement(verdict))
        await self._publish(
            encode_verdict(SignedVerdict(verdict=verdict, account=account.lower(), signature=signature))
        )
        log.info("verdict told", group=pending.privacy_group_id, node=pending.node, through=through)
        return None if through == last else replace(pending, attested_through=through)

    async def _span(self, node: NodePort, pending: Pending) -> tuple[int, int]:
        """Return the blocks whose state is told: the addition's, and the further ones of the proof.

        A node that has lost the group since does not tell when it came in: then all blocks that may be it are told.
        """
        group = pending.privacy_group_id
        low, high = pending.after_block, max(pending.since_block, pending.after_block + 1)
        if pending.enclave_key not in (await node.view(group, high)).participants:
            return max(low + 1, high - MOST_CANDIDATES + 1), high + self._proof_blocks

        async def is_member(block: int) -> bool:
            return pending.enclave_key in (await node.view(group, block)).participants

        # By members, not by roots: these may alternate, and a bisection over them proves nothing
        # (docs/besu.md#how-replay-damages-other-groups, 4).
        added = await first_block(low, high, is_member)
        return added, added + self._proof_blocks


async def _roots(watcher: ChainWatcher, privacy_group_id: str, first: int, last: int) -> tuple[RootAt, ...]:
    views = await watcher.node.roots(privacy_group_id, range(first, last + 1))
    found = []
    for view in views:
        try:
            # With the block's hash: of another branch a root says nothing.
            block = await watcher.block(view.block_number)
        except NodeError:
            break  # told with the next look; what was read before is told now
        found.append(RootAt(block_number=view.block_number, block_hash=block.block_hash, state_root=view.state_root))
    return tuple(found)
