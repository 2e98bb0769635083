"""``orchestrator rescue``: looks, says why the node stands, stands before its enclave, and proves what came of it."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp

from orchestrator.besu.adapter.port import BesuNode
from orchestrator.besu.client.node import Node
from orchestrator.besu.transport.http_client import HttpNode, open_session
from orchestrator.besu.transport.token_files import TokenFile
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.guard.chain_view import FactReader
from orchestrator.guard.diagnosis import Diagnosis, Physician, SeenNode
from orchestrator.guard.histories import MemoryHistories
from orchestrator.guard.listener import listening
from orchestrator.guard.payloads import PayloadReader
from orchestrator.guard.proxy import EnclaveProxy, Upstream
from orchestrator.guard.rescue import (
    GroupProof,
    KeyRefusal,
    afterwards,
    compared_groups,
    diagnosis_document,
    proof_document,
    steps_of,
    until_past,
)
from orchestrator.guard.witnesses import Witnesses

LARGEST_BUNDLE_BYTES: Final = 512 << 20
OWN: Final = "node"


class RescueError(Exception):
    """The rescue could not be brought to its end; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueAims:
    """What is to be rescued, and how.

    Attributes:
        node: JSON-RPC of the node that stands.
        enclave: Its enclave.
        neighbours: JSON-RPC of others.
        listen: Where the proxy answers.
        token_file: The node's JWT; None for none.
        wait_seconds: Until the node is past.
        look_seconds: In which a node that moves does not stand.
        dry_run: Whether only to look.
    """

    node: str
    enclave: str
    neighbours: tuple[str, ...]
    listen: str
    token_file: Path | None
    wait_seconds: float
    look_seconds: float
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RescueReport:
    """What came of it.

    Attributes:
        done: Whether the node is past and its other groups agree; with a dry run, whether there is something to do.
        document: All that was seen, as a JSON object.
    """

    done: bool
    document: dict[str, Any]


async def rescued(aims: RescueAims, tell: Callable[[str], None]) -> RescueReport:
    """Rescue a node.

    Args:
        aims: What, and how.
        tell: Told what is seen and what to do, line by line.

    Raises:
        RescueError: The node did not get past the block, or can't be asked any more.
        OSError: The proxy's address is taken.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        session = await stack.enter_async_context(open_session())
        token = TokenFile(aims.token_file) if aims.token_file is not None else None
        seen = [_seen(session, OWN, aims.node, clock, token)]
        seen += [_seen(session, f"neighbour {url}", url, clock, None) for url in aims.neighbours]
        node, neighbours = seen[0], seen[1:]
        upstream = Upstream(url=aims.enclave)
        fleet, https = Fleet([one.watcher for one in seen]), {one.watcher.node.name: one.http for one in seen}
        witnesses = Witnesses(fleet, node.watcher, https)
        facts = FactReader(fleet, node.watcher, node.http, MemoryHistories(), lambda _bundle: True, witnesses)
        diagnosis = await Physician(session, node, neighbours, upstream, facts).diagnose(aims.look_seconds)
        _tell_diagnosis(diagnosis, tell)
        document = diagnosis_document(diagnosis)
        if aims.dry_run or not diagnosis.culprits:
            steps = steps_of(diagnosis, f"http://{aims.listen}") if diagnosis.culprits else ()
            for step in steps:
                tell(f"to do: {step}")
            return RescueReport(done=bool(diagnosis.culprits), document=document | {"steps": list(steps)})
        # Bytes are passed on as they came: what is packed stays packed, and no proxy of the environment gets to see
        # payloads.
        enclave = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False, trust_env=False))
        refusal = KeyRefusal(
            [culprit.history_key for culprit in diagnosis.culprits if not culprit.misread],
            [culprit.history_key for culprit in diagnosis.culprits if culprit.misread],
            PayloadReader(fleet, node.watcher, facts.is_pending),
        )
        proxy = EnclaveProxy(enclave, upstream, refusal, largest_bundle_bytes=LARGEST_BUNDLE_BYTES)
        address = await stack.enter_async_context(listening(proxy.answer, aims.listen))
        tell(f"ready {address}")
        for step in steps_of(diagnosis, address):
            tell(f"to do: {step}")
        head = await until_past(node, neighbours, diagnosis.head or 0, aims.wait_seconds, clock)
        if head is None:
            asked = f"{proxy.counts.requests} requests came, {proxy.counts.refused} for the addition"
            raise RescueError(
                f"after {aims.wait_seconds:.0f} s the node is not past block {diagnosis.head} and with its neighbours "
                f"({asked}): was its Besu restarted with --privacy-url={address}?"
            )
        tell(f"the node is at block {head}, past it")
        try:
            proofs = await _proofs(node, neighbours, diagnosis)
        except NodeError as error:
            raise RescueError(f"the node is past the block, and its groups could not be compared: {error}") from error
        then = [afterwards(culprit) for culprit in diagnosis.culprits]
        _tell_proofs(proofs, tell)
        for line in then:
            tell(line)
        return RescueReport(
            # What nobody else shows can't be compared, which is no sign of damage.
            done=all(proof.agrees is not False for proof in proofs),
            document=document | {"head": head, "groups": proof_document(proofs), "afterwards": then},
        )


def _seen(
    session: aiohttp.ClientSession, name: str, url: str, clock: SystemClock, credential: TokenFile | None
) -> SeenNode:
    http = HttpNode(session, url, credential=credential)
    # Which enclave keys it hosts nobody says; the rules only need to tell the nodes apart.
    port = BesuNode(name, (name,), Node(http, name=name), None)
    return SeenNode(http=http, watcher=ChainWatcher(port, clock, timedelta(seconds=1)))


async def _proofs(node: SeenNode, neighbours: list[SeenNode], diagnosis: Diagnosis) -> tuple[GroupProof, ...]:
    left_out = {culprit.bundle.privacy_group_id for culprit in diagnosis.culprits}
    return await compared_groups(node, neighbours, left_out)


def _tell_diagnosis(diagnosis: Diagnosis, tell: Callable[[str], None]) -> None:
    where = "" if diagnosis.head is None else f" (head {diagnosis.head}, newest block seen {diagnosis.newest})"
    tell(f"{diagnosis.cause.value.replace('_', ' ')}{where}: {diagnosis.detail}")
    for name, why in diagnosis.unseen:
        tell(f"{name} could not be asked: {why}")
    for culprit in diagnosis.culprits:
        bundle = culprit.bundle
        tell(f"  group {bundle.privacy_group_id} of owner {bundle.owner}, {len(bundle.calls)} transactions")
        tell(f"  marker {culprit.transaction}, history key {culprit.history_key}")
        tell(f"  {culprit.reason.replace('_', ' ')}: {culprit.detail}")


def _tell_proofs(proofs: tuple[GroupProof, ...], tell: Callable[[str], None]) -> None:
    for proof in proofs:
        if proof.agrees is None:
            tell(f"group {proof.privacy_group_id}: no neighbour shows it")
        else:
            said = "agrees with" if proof.agrees else "DIFFERS from"
            tell(f"group {proof.privacy_group_id} {said} {', '.join(proof.compared)} at block {proof.block_number}")
