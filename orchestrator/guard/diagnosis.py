"""Why does a node stand still? From its own calls, its neighbours' and its enclave's, without a daemon."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import aiohttp

from orchestrator.besu.client.enclave_probe import upcheck
from orchestrator.besu.codec.answers import optional, read_quantity
from orchestrator.besu.codec.bundles import InvalidBundleError
from orchestrator.besu.credential_errors import CredentialError
from orchestrator.besu.errors import BesuError
from orchestrator.besu.transport.http_client import HttpNode
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.guard.chain_view import FactReader
from orchestrator.guard.pools import pooled
from orchestrator.guard.proxy import Upstream
from orchestrator.guard.wire import bundle_in
from orchestrator.membership.guard.judgement import GuardRules, judge
from orchestrator.membership.guard.received_bundles import ReceivedBundle

MOST_READ_TRANSACTIONS: Final = 1_000_000
ENCLAVE_SECONDS: Final = 20.0
MARKER_BYTES: Final = 64

# It is asked why the node stands, not whether the addition was welcome: no wish of the operator's, and any length.
_EXPLAINING: Final = GuardRules(most_transactions=MOST_READ_TRANSACTIONS, most_replay_seconds=float("inf"))
_NO_RULE: Final = (
    "no rule shows why: the history may be torn or made by hand, or private code reads public state that its block "
    "changed (docs/besu.md#what-a-replay-needs)"
)


class Cause(StrEnum):
    """What a node that stands looks like."""

    ADDITION = "addition"
    """The next block adds it to a group, and it can't replay that."""
    CHAIN = "chain_stands"
    """No block is made, and an addition that this node can't replay waits for one."""
    ENCLAVE = "enclave_away"
    PEERS = "no_peers"
    UNREACHABLE = "node_unreachable"
    OTHER = "not_an_addition"
    WELL = "not_standing"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenNode:
    """A node that can be asked.

    Attributes:
        http: Its JSON-RPC.
        watcher: Its chain.
    """

    http: HttpNode
    watcher: ChainWatcher

    @property
    def name(self) -> str:
        """How it is called."""
        return self.watcher.node.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Culprit:
    """An addition that a node can't get past.

    Attributes:
        history_key: The bundle's key, base64: what has to be not found.
        payload_key: The addition's, base64.
        transaction: The marker's hash.
        bundle: What the bundle says.
        reason: Why it can't be replayed, in a word.
        detail: The same for a person.
        misread: Whether what the marker names as a history is something else, such as a private transaction.
    """

    history_key: str
    payload_key: str
    transaction: str
    bundle: ReceivedBundle
    reason: str
    detail: str
    misread: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What was found.

    Attributes:
        cause: What it is.
        detail: What was seen, for a person.
        head: The node's head; None when it can't be asked.
        newest: The newest block that a neighbour has; None when none can be asked.
        culprits: Additions that stop it; only with `Cause.ADDITION` and `Cause.CHAIN`.
        unseen: By name, neighbours that could not be asked, and why.
    """

    cause: Cause
    detail: str
    head: int | None = None
    newest: int | None = None
    culprits: tuple[Culprit, ...] = ()
    unseen: tuple[tuple[str, str], ...] = ()


class Physician:
    """Looks at one node.

    Args:
        session: For the enclave.
        node: The node.
        neighbours: Other nodes of the chain.
        enclave: The node's enclave.
        facts: Reads what the rules need.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        node: SeenNode,
        neighbours: Sequence[SeenNode],
        enclave: Upstream,
        facts: FactReader,
    ) -> None:
        self._session = session
        self._node = node
        self._neighbours = neighbours
        self._enclave = enclave
        self._facts = facts

    async def diagnose(self, look_again_seconds: float) -> Diagnosis:
        """Return why the node stands.

        Args:
            look_again_seconds: A node or a chain that moves within this time doesn't stand.
        """
        first = await self._heads()
        if isinstance(first, Diagnosis):
            return first
        # One look does not tell a node that stands from one that is a block late.
        await asyncio.sleep(look_again_seconds)
        second = await self._heads()
        if isinstance(second, Diagnosis):
            return second
        head, newest, unseen = second
        # A node that is level with its neighbours stands only if they don't move either.
        if head > first[0] or (newest <= head and newest > first[1]):
            return Diagnosis(cause=Cause.WELL, detail="it imports blocks", head=head, newest=newest, unseen=unseen)
        stands_before = newest > head
        try:
            # An addition that the validators themselves refuse gets into no block: it waits in the pools.
            markers = await (self._in_block(head + 1) if stands_before else self._in_pool())
            found = await self._culprits(markers)
        except (NodeError, BesuError) as error:
            return Diagnosis(cause=Cause.OTHER, detail=str(error), head=head, newest=newest, unseen=unseen)
        except _EnclaveAwayError as error:
            return Diagnosis(cause=Cause.ENCLAVE, detail=str(error), head=head, newest=newest, unseen=unseen)
        cause = Cause.ADDITION if stands_before else Cause.CHAIN
        where = f"is in block {head + 1}" if stands_before else "waits to be mined"
        if found:
            groups = ", ".join(culprit.bundle.privacy_group_id for culprit in found)
            detail = f"an addition to group {groups} {where} and can't be replayed here: {found[0].detail}"
            return Diagnosis(cause=cause, detail=detail, head=head, newest=newest, culprits=found, unseen=unseen)
        cause, detail = await self._otherwise(head, newest)
        return Diagnosis(cause=cause, detail=detail, head=head, newest=newest, unseen=unseen)

    async def _heads(self) -> tuple[int, int, tuple[tuple[str, str], ...]] | Diagnosis:
        try:
            head = (await self._node.watcher.refresh()).number
        except NodeError as error:
            return Diagnosis(cause=Cause.UNREACHABLE, detail=str(error))
        said = await asyncio.gather(*(n.watcher.refresh() for n in self._neighbours), return_exceptions=True)
        newest, unseen = head, []
        for neighbour, answer in zip(self._neighbours, said, strict=True):
            if isinstance(answer, BaseException):
                if not isinstance(answer, NodeError):
                    raise answer
                unseen.append((neighbour.name, str(answer)))
            else:
                newest = max(newest, answer.number)
        # With all of them silent, "not behind" would be made up; with one left it is known.
        if len(unseen) == len(self._neighbours):
            detail = "no neighbour can be asked, so that nothing shows whether the node is behind"
            return Diagnosis(cause=Cause.OTHER, detail=detail, head=head, unseen=tuple(unseen))
        return head, newest, tuple(unseen)

    async def _in_block(self, number: int) -> list[tuple[str, bytes]]:
        for neighbour in self._neighbours:
            head = neighbour.watcher.head
            if head is not None and head.number >= number:
                # Asked of a neighbour: the node itself does not have the block, which is why it stands.
                (block,) = await neighbour.watcher.node.blocks([number])
                content = block.content.transactions if block.content is not None else ()
                return [
                    (item.transaction_hash, bytes.fromhex(item.addition.removeprefix("0x")))
                    for item in content
                    if item.addition
                ]
        return []

    async def _in_pool(self) -> list[tuple[str, bytes]]:
        """Additions' markers that wait in the node's pool, or in a neighbour's."""
        found: dict[str, bytes] = {}
        for one in (self._node, *self._neighbours):
            try:
                waiting = await pooled(one.http)
            except BesuError:
                continue
            for pmt_hash, transaction in waiting.items():
                payload = _payload(transaction)
                if payload is not None:
                    found[pmt_hash] = payload
        return list(found.items())

    async def _culprits(self, markers: Sequence[tuple[str, bytes]]) -> tuple[Culprit, ...]:
        found = []
        for pmt_hash, payload in markers:
            key = base64.b64encode(payload[32:]).decode()
            bundle = await self._bundle(key)
            if bundle is None:
                continue
            reason, detail = await self._explained(bundle)
            # The node sent it, or has it already, and replays nothing.
            if reason == "nothing_to_replay":
                continue
            found.append(
                Culprit(
                    history_key=key,
                    payload_key=base64.b64encode(payload[:32]).decode(),
                    transaction=pmt_hash,
                    bundle=bundle,
                    reason=reason,
                    detail=detail,
                    misread=not bundle.calls,
                )
            )
        return tuple(found)

    async def _bundle(self, key: str) -> ReceivedBundle | None:
        """Ask the enclave for a bundle; None when it is not for this node."""
        try:
            async with self._session.post(
                f"{self._enclave.url}/receive",
                json={"key": key, "to": None},
                headers={"Content-Type": "application/vnd.orion.v1+json", **await self._enclave.headers()},
                ssl=self._enclave.tls or True,
                timeout=aiohttp.ClientTimeout(total=ENCLAVE_SECONDS),
                allow_redirects=False,
            ) as response:
                if 400 <= response.status < 500:
                    return None
                body = await response.read()
                status = response.status
        except (aiohttp.ClientError, OSError, TimeoutError, CredentialError) as error:
            raise _EnclaveAwayError(f"its enclave does not answer ({type(error).__name__})") from error
        if status != 200:
            raise _EnclaveAwayError(f"its enclave answers with HTTP status {status}")
        try:
            return await asyncio.to_thread(bundle_in, body, MOST_READ_TRANSACTIONS)
        except InvalidBundleError as error:
            return ReceivedBundle(
                privacy_group_id="",
                calls=(),
                sent_by="",
                members=(),
                locked=None,
                trouble=f"it is no history: {error}",
            )

    async def _explained(self, bundle: ReceivedBundle) -> tuple[str, str]:
        if not bundle.calls:
            return "no_history", bundle.trouble or ""
        facts = await self._facts.facts(bundle, await self._facts.head(), ())
        decision = judge(facts, _EXPLAINING)
        # Every rule passes it and the node stands all the same: what is wrong only the replay itself shows.
        if decision.passed and decision.replays:
            return "replay_failed", _NO_RULE
        return decision.slug, decision.detail

    async def _otherwise(self, head: int, newest: int) -> tuple[Cause, str]:
        try:
            if await upcheck(self._session, self._enclave.url, self._enclave.tls, 5.0) != 200:
                return Cause.ENCLAVE, "its enclave says that it is not up"
        except (aiohttp.ClientError, OSError, TimeoutError, CredentialError) as error:
            return Cause.ENCLAVE, f"its enclave does not answer ({type(error).__name__})"
        try:
            if read_quantity(await self._node.http.call("net_peerCount")) == 0:
                return Cause.PEERS, "it has no peers: after an enclave was away a restart of Besu brings them back"
        # Without the NET methods peers are not known, which says nothing.
        except (BesuError, ValueError):
            pass
        if newest <= head:
            return (
                Cause.OTHER,
                "no block is made, and no addition waits that this node can't replay: see the validators",
            )
        return Cause.OTHER, f"block {head + 1} adds it to no group: look at its log, its disk and its clock"


class _EnclaveAwayError(Exception):
    """The enclave gives no answer; the message says how."""


def _payload(transaction: Any) -> bytes | None:
    """The input of a marker that waits and brings a history; None for all else."""
    if not isinstance(transaction, dict) or optional(read_quantity, transaction.get("blockNumber")) is not None:
        return None
    text = transaction.get("input")
    if not isinstance(text, str) or len(text) != 2 + 2 * MARKER_BYTES:
        return None
    try:
        return bytes.fromhex(text[2:])
    except ValueError:
        return None
