"""The guard as a service: from a configuration to a proxy before a node's enclave, until it is stopped."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import aiohttp
import structlog

from orchestrator.app.configured.node_access import NodeLines, connect_nodes, tls_context
from orchestrator.app.configured.secret_texts import store_url
from orchestrator.besu.transport.token_files import TokenFile
from orchestrator.config import Config, GuardConfig, NodeConfig
from orchestrator.engine.attempts.additions_under_way import UNDER_WAY
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.store import StoreError
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.guard.chain_view import FactReader
from orchestrator.guard.histories import MemoryHistories
from orchestrator.guard.judge import Judge, JudgeSettings
from orchestrator.guard.listener import listening
from orchestrator.guard.payloads import PayloadReader, Payloads
from orchestrator.guard.proxy import EnclaveProxy, Upstream
from orchestrator.guard.reports import GuardMetrics, decision_event, notify, status_answer
from orchestrator.guard.settled_heads import SettledHeads
from orchestrator.guard.witnesses import Witnesses
from orchestrator.membership.guard.judgement import Accept, GuardRules
from orchestrator.membership.guard.received_bundles import ReceivedBundle
from orchestrator.store.commits.database import Database
from orchestrator.store.guard.approvals import ApprovalFile
from orchestrator.store.guard.decisions import Decided, DecisionFile
from orchestrator.store.stores.change_store import SqlChangeStore

MOST_UNPUBLISHED: Final = 1_000
PUBLISHED_AGAIN_SECONDS: Final = 5.0
MOST_CONNECTIONS: Final = 200

log = structlog.get_logger()


class GuardError(Exception):
    """The guard can't be set up; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningGuard:
    """A guard that answers.

    Attributes:
        address: Where the node finds its enclave.
        status: Where operators look; None when nothing is served.
        node: Name of the guarded node.
    """

    address: str
    status: str | None
    node: str


def guarded_node(config: Config) -> NodeConfig:
    """Return the node that a configuration has guarded.

    Raises:
        GuardError: Its enclave's address is not configured.
    """
    # One guard has one node: no request tells who asks, so that two nodes behind one could not be told apart.
    node = next((one for one in config.nodes if one.name == config.guard.node), config.nodes[0])
    if node.enclave is None:
        raise GuardError(f"nodes: {node.name} has no enclave; give the address at which its enclave answers Besu")
    return node


def upstream_of(node: NodeConfig, guard: GuardConfig) -> Upstream:
    """Return where a node's enclave is.

    Raises:
        GuardError: A file for TLS can't be used.
    """
    try:
        tls = tls_context(str(guard.enclave_ca_file)) if guard.enclave_ca_file is not None else None
        if guard.enclave_certificate_file is not None and guard.enclave_key_file is not None:
            tls = tls or ssl.create_default_context()
            tls.load_cert_chain(guard.enclave_certificate_file, guard.enclave_key_file)
    except (OSError, ssl.SSLError) as error:
        raise GuardError(f"guard: the files for TLS with the enclave can't be used: {error}") from error
    token = TokenFile(guard.enclave_token_file) if guard.enclave_token_file is not None else None
    return Upstream(url=(node.enclave or "").rstrip("/"), tls=tls, credential=token)


def rules_of(guard: GuardConfig) -> GuardRules:
    """Return what a configuration lets through."""
    return GuardRules(
        accept=Accept(guard.accept),
        known_owners=frozenset(guard.known_owners),
        most_transactions=guard.most_transactions,
        most_replay_seconds=guard.most_replay_seconds,
        transactions_per_second=guard.transactions_per_second,
        nonces_always_increment=guard.nonces_always_increment,
        # Whoever is known, or was agreed to, is not suspected of bending what private code reads.
        refuse_risks=guard.risks == "refuse" and guard.accept == "all-safe",
        refuse_unconfirmed=guard.unconfirmed != "pass",
        trust_known=guard.unconfirmed == "known",
    )


def _server_tls(guard: GuardConfig) -> ssl.SSLContext | None:
    if guard.certificate_file is None or guard.key_file is None:
        return None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(guard.certificate_file, guard.key_file)
        if guard.client_ca_file is not None:
            context.load_verify_locations(guard.client_ca_file)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise GuardError(f"guard: the files for TLS with the node can't be used: {error}") from error
    return context


@asynccontextmanager
async def running_guard(config: Config, clock: Clock | None = None) -> AsyncIterator[RunningGuard]:
    """Guard a node as long as the block is in.

    Args:
        config: The configuration.
        clock: Time; None for the operating system's.

    Raises:
        GuardError: It can't be set up.
        OSError: An address is taken.
        StoreError: The daemon's database can't be opened, with `guard.use_store`.
    """
    clock = clock or SystemClock()
    guard, configured = config.guard, guarded_node(config)
    upstream, tls = upstream_of(configured, guard), _server_tls(guard)
    async with AsyncExitStack() as stack:
        # No subscriptions: a head is asked for when a bundle is judged, and the one that was delivered last may be too
        # old.
        by_http = tuple(one.model_copy(update={"ws": None}) for one in config.nodes)
        nodes = await connect_nodes(stack, by_http)
        fleet = Fleet([ChainWatcher(node, clock, timedelta(seconds=1)) for node in nodes])
        store: SqlChangeStore | None = None
        if guard.use_store:
            store = SqlChangeStore(await stack.enter_async_context(Database(store_url(config))), clock)
        lines = NodeLines(stack)
        https = {one.name: (await lines.reach(one)).http for one in config.nodes}
        approves = _Approving(ApprovalFile(guard.approvals_file), store, configured.enclave_keys)
        guarded = fleet.named(configured.name)
        rules = rules_of(guard)

        # Only where a witness decides is a silent one waited for; elsewhere a node that is down would hold up the
        # guarded one.
        def needed(bundle: ReceivedBundle) -> bool:
            return rules.needs_witness(bundle, approved=approves.approves(bundle))

        witnesses = Witnesses(fleet, guarded, https, needed)
        reader = FactReader(fleet, guarded, https[configured.name], MemoryHistories(), approves.approves, witnesses)
        decisions = DecisionFile(guard.decisions_file)
        settings = JudgeSettings(
            rules=rules, within=timedelta(seconds=guard.judged_within_seconds), undecided=guard.undecided
        )
        telling = _Telling(store, configured)
        judge = Judge(reader, decisions, settings, clock, telling.on_decision)
        # The same file of decisions: whichever of the two refused a key, a restart must not forget it.
        judge.payloads = Payloads(
            PayloadReader(fleet, guarded, reader.is_pending, config.chain.confirmations),
            SettledHeads(),
            decisions.newest,
            judge.keep,
            clock,
            settings.within,
        )
        stack.push_async_callback(judge.close)
        connector = aiohttp.TCPConnector(limit=MOST_CONNECTIONS)
        # Nothing of ours on the way: no proxy of the environment, no cookies, and compressed bodies as they are.
        enclave = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=connector, auto_decompress=False, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        )
        proxy = EnclaveProxy(enclave, upstream, judge, largest_bundle_bytes=guard.largest_bundle_mb << 20)
        metrics = telling.metrics = GuardMetrics(proxy.counts)
        await stack.enter_async_context(_tasks(telling.run(clock), approves.run(clock), judge.payloads.run()))
        # Last: a node that meets a guard which can't judge yet gets what `undecided` says, and that stays.
        address = await stack.enter_async_context(listening(proxy.answer, guard.listen, tls, shared=guard.shared_port))
        status = None
        if guard.status is not None:
            shown = status_answer(metrics, decisions)
            status = await stack.enter_async_context(listening(shown, guard.status))
        notify("READY=1")
        log.info("guarding", node=configured.name, listen=address, enclave=upstream.url, accept=guard.accept)
        try:
            yield RunningGuard(address=address, status=status, node=configured.name)
        finally:
            notify("STOPPING=1")


class _Approving:
    """Tells what was agreed to: by the file, or because the daemon itself is adding a member here."""

    def __init__(self, file: ApprovalFile, store: SqlChangeStore | None, keys: tuple[str, ...]) -> None:
        self._file = file
        self._store = store
        self._keys = frozenset(keys)
        self._own: frozenset[str] = frozenset()

    def approves(self, bundle: ReceivedBundle) -> bool:
        return bundle.privacy_group_id in self._own or any(one.covers(bundle) for one in self._file.approvals())

    async def run(self, clock: Clock) -> None:
        """Follow the daemon's own changes; nothing is asked while a bundle is judged."""
        while self._store is not None:
            try:
                changes = await self._store.changes(UNDER_WAY, limit=MOST_UNPUBLISHED)
            except StoreError as error:
                log.warning("the daemon's changes are not known now", reason=str(error))
            else:
                # That the daemon adds somebody else to a group does not agree to this node's coming in.
                ours = (change for change in changes if not self._keys.isdisjoint(change.members))
                self._own = frozenset(change.privacy_group_id for change in ours)
            await clock.sleep(1.0)


class _Telling:
    """Tells decisions to subscribers, one after the other, until they are stored."""

    def __init__(self, store: SqlChangeStore | None, node: NodeConfig) -> None:
        self.metrics: GuardMetrics | None = None
        self._store = store
        self._node = node
        self._unpublished: asyncio.Queue[Decided] = asyncio.Queue(MOST_UNPUBLISHED)

    def on_decision(self, decided: Decided) -> None:
        if self.metrics is not None:
            self.metrics.on_decision(decided)
        if self._store is not None and decided.privacy_group_id:
            try:
                self._unpublished.put_nowait(decided)
            # The node's block goes on whatever becomes of the news; without a bound it would pile up while the store is
            # away.
            except asyncio.QueueFull:
                log.warning("decision not told: it stands in the file of decisions", key=decided.key)

    async def run(self, clock: Clock) -> None:
        while self._store is not None:
            decided = await self._unpublished.get()
            while True:
                try:
                    await self._store.announce([decision_event(decided, self._node.name, self._node.enclave_keys[0])])
                    break
                except StoreError as error:
                    log.warning("decision not told yet", key=decided.key, reason=str(error))
                    await clock.sleep(PUBLISHED_AGAIN_SECONDS)


@asynccontextmanager
async def _tasks(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(one) for one in coroutines]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
