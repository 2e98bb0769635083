"""Telling other organisations' daemons, signed, what our own node shows of a group that it joined.

The block of the addition is found by bisection in the contract's members at the node's own past blocks; the state roots
there and at the further blocks of the proof are what the adder's daemon compares with its own.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from orchestrator.engine.fleet import Fleet
from orchestrator.engine.isolation import contained
from orchestrator.engine.node_ports import NodeError, NodePort
from orchestrator.engine.ports import BrokerError, Clock
from orchestrator.engine.verdict_messages import encode_verdict
from orchestrator.engine.watcher import ChainWatcher
from orchestrator.membership.joining import Join
from orchestrator.membership.verdicts import MemberVerdict, RootAt, SignedVerdict, statement

TICK_SECONDS: Final = 0.5
MOST_JOINS: Final = 256
GIVE_UP_BLOCKS: Final = 1_000
"""Whoever waited for a verdict has given up when the chain is so far beyond its blocks."""

MOST_CANDIDATES: Final = 64
"""Blocks that may be the addition's, where the node does not tell any more which it was."""

log = structlog.get_logger()


class StatementSigner(Protocol):
    """Signs statements as one of the configured accounts."""

    def sign_statement(self, account: str, text: bytes) -> bytes:
        """Return the signature; raises KeyError for an account that is not configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A join that is to be told of.

    Attributes:
        join: The join, as it was when its node first had the group.
        after_block: The member was not in the group at this block.
        span: First and last block whose state is to be told; None while the addition's block was not looked for.
        told_through: The newest block whose state was told; None before the first telling.
    """

    join: Join
    after_block: int
    span: tuple[int, int] | None = None
    told_through: int | None = None


class Attester:
    """Publishes signed verdicts about our own nodes.

    Args:
        fleet: The nodes.
        speakers: By a node's name the account, in the configuration's writing, that signs for it.
        signer: The accounts.
        publish: Gives a verdict's bytes to the message queue; may raise `BrokerError`.
        clock: Time.
        proof_blocks: Blocks after the addition's whose state is told.
    """

    def __init__(
        self,
        fleet: Fleet,
        speakers: Mapping[str, str],
        signer: StatementSigner,
        publish: Callable[[bytes], Awaitable[None]],
        clock: Clock,
        proof_blocks: int,
    ) -> None:
        self._fleet = fleet
        self._speakers = dict(speakers)
        self._signer = signer
        self._publish = publish
        self._clock = clock
        self._proof_blocks = proof_blocks
        self._pending: OrderedDict[tuple[str, str], Pending] = OrderedDict()

    def follow(self, join: Join, after_block: int) -> None:
        """Tell of a join whose node has the group by now; called again for the same one it does nothing new."""
        pair = (join.privacy_group_id, join.enclave_key)
        if join.node not in self._speakers or join.since_block is None or pair in self._pending:
            return
        self._pending[pair] = Pending(join=join, after_block=min(after_block, join.since_block - 1))
        while len(self._pending) > MOST_JOINS:
            self._pending.popitem(last=False)

    async def run(self) -> None:
        """Tell until cancelled."""
        while True:
            with contained("attesting"):
                await self.tell()
            await self._clock.sleep(TICK_SECONDS)

    async def tell(self) -> None:
        """Tell once what there is to be told."""
        for pair, pending in list(self._pending.items()):
            with contained("attestation", group=pair[0], node=pending.join.node):
                try:
                    after = await self._tell(pending)
                except (NodeError, BrokerError) as error:
                    log.debug("verdict not told yet", group=pair[0], node=pending.join.node, reason=str(error))
                    continue
                if after is None:
                    del self._pending[pair]
                else:
                    self._pending[pair] = after

    async def _tell(self, pending: Pending) -> Pending | None:
        """Tell of one join; returns what is left to be told, None for nothing."""
        join = pending.join
        watcher = self._fleet.named(join.node)
        head = (await watcher.current()).number
        first, last = pending.span or await self._span(watcher.node, join, pending.after_block)
        pending = replace(pending, span=(first, last))
        through = min(head, last)
        if head > last + GIVE_UP_BLOCKS:
            return None
        # Twice is enough: as soon as there is something to be told, and when there is nothing more to come.
        if through < first or (pending.told_through is not None and through < last):
            return pending
        roots = await _roots(watcher, join.privacy_group_id, first, through)
        account = self._speakers[join.node]
        verdict = MemberVerdict(
            privacy_group_id=join.privacy_group_id,
            enclave_key=join.enclave_key,
            chain_id=(await watcher.node.traits()).chain_id,
            roots=roots,
            head=head,
            issued_at=self._clock.now(),
        )
        signature = self._signer.sign_statement(account, statement(verdict))
        await self._publish(
            encode_verdict(SignedVerdict(verdict=verdict, account=account.lower(), signature=signature))
        )
        log.info("verdict told", group=join.privacy_group_id, node=join.node, through=through)
        return None if through == last else replace(pending, told_through=through)

    async def _span(self, node: NodePort, join: Join, after_block: int) -> tuple[int, int]:
        """Return the blocks whose state is told: the addition's, and the further ones of the proof.

        A node that has lost the group since does not tell when it came in: then all blocks that may be it are told.
        """
        low, high = after_block, max(join.since_block or 0, after_block + 1)
        if join.enclave_key not in (await node.view(join.privacy_group_id, high)).participants:
            return max(low + 1, high - MOST_CANDIDATES + 1), high + self._proof_blocks
        while high - low > 1:
            middle = (low + high) // 2
            view = await node.view(join.privacy_group_id, middle)
            low, high = (low, middle) if join.enclave_key in view.participants else (middle, high)
        return high, high + self._proof_blocks


async def _roots(watcher: ChainWatcher, privacy_group_id: str, first: int, last: int) -> tuple[RootAt, ...]:
    views = await watcher.node.roots(privacy_group_id, range(first, last + 1))
    found = []
    for view in views:
        try:
            block = await watcher.block(view.block_number)
        except NodeError:
            break  # told with the next look; what was read before is told now
        found.append(RootAt(block_number=view.block_number, block_hash=block.block_hash, state_root=view.state_root))
    return tuple(found)
