"""Composition root: from a configuration to a running daemon. The only module that knows every adapter."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from random import SystemRandom

from orchestrator.app.configured.accounts import opened_accounts
from orchestrator.app.configured.callers import admission_rules, senders, shares
from orchestrator.app.configured.holder import holding
from orchestrator.app.configured.node_access import connect_nodes
from orchestrator.app.configured.secret_texts import store_url
from orchestrator.app.guard_words import GuardWords
from orchestrator.app.metrics import Metrics, NodeReading
from orchestrator.app.restoration import restoration_in
from orchestrator.app.tracing import tracing
from orchestrator.besu.adapter.port import BesuNode
from orchestrator.besu.adapter.signatures import Accounts, ManagementCodec
from orchestrator.besu.client.own_markers import OwnMarkers, one_time_account, pooled_keys
from orchestrator.besu.client.signers import read_seed
from orchestrator.besu.codec.statements import signer_of
from orchestrator.config import Config, MarkersConfig
from orchestrator.engine.attempts.additions_under_way import UNDER_WAY, AdditionsUnderWay
from orchestrator.engine.attempts.enclave_doubts import doubts_of
from orchestrator.engine.attempts.marker_accounts import AccountPool, OneTimeAccounts
from orchestrator.engine.attempts.submission import Sending
from orchestrator.engine.attestation.inquiries import AttestationBook, Inquirer, Policy
from orchestrator.engine.attestation.peer_statements import VerdictBook
from orchestrator.engine.history.forecaster import Forecaster
from orchestrator.engine.history.work import ReplayWork
from orchestrator.engine.intake.intake import Intake
from orchestrator.engine.lanes.executor import Executor
from orchestrator.engine.lanes.supervisor import LaneRules, Supervisor
from orchestrator.engine.lanes.worker import Worker
from orchestrator.engine.nodes.chain_guard import ChainGuard
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.records import newest_success
from orchestrator.engine.preflight.bundle_sizes import BundleSizes
from orchestrator.engine.preflight.durations import AdditionTimes
from orchestrator.engine.proof.bystanders import BystanderReader
from orchestrator.engine.proof.observation import Observer, ProofRules
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.engine.runtime.ids import new_ids
from orchestrator.engine.runtime.leases import Leases
from orchestrator.engine.runtime.tracing import Untraced
from orchestrator.engine.runtime.turns import Turns
from orchestrator.membership.forecast.schedule import ReplayRules
from orchestrator.membership.model import Change
from orchestrator.store.commits.database import Database
from orchestrator.store.stores.audit_store import SqlAuditLog
from orchestrator.store.stores.block_watch_store import SqlWatchRecord
from orchestrator.store.stores.chain_store import SqlNodeChains
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.history_store import SqlHistoryStore
from orchestrator.store.stores.name_store import SqlGroupNames
from orchestrator.store.stores.outbox_store import SqlOutbox
from orchestrator.store.stores.time_store import SqlAdditionTimes
from orchestrator.store.stores.token_store import SqlAccessTokens
from orchestrator.traces.recorder import TraceRecorder

MOST_ADDITIONS = 1_000
"""Additions under way that are looked at before another one begins: more than lanes are driven at a time."""


def keys_of_markers(markers: MarkersConfig) -> dict[str, bytes]:
    """Return the keys of the configured marker accounts by address; none where each marker has a fresh one.

    Raises:
        SignerError: The seed can't be read.
    """
    return {} if markers.seed_file is None else pooled_keys(read_seed(markers.seed_file), markers.accounts)


def speakers(config: Config) -> dict[str, str]:
    """Return by a node's name the account that signs what it shows, where one is configured."""
    return {node.name: node.speaker for node in config.nodes if node.speaker is not None}


@dataclass(frozen=True, slots=True)
class Engine:
    """The engine and what others talk to.

    Attributes:
        database: The open database under the three records.
        store: The durable record of changes.
        outbox: The durable status events.
        fleet: The nodes.
        intake: Takes requests.
        supervisor: Drives lanes.
        metrics: What is counted.
        clock: Time.
        holder: This replica's name.
        accounts: The accounts' keys.
        book: What other organisations' daemons said of their nodes.
        forecaster: Forecasts what new members' nodes make of a group's history.
        attestations: What other organisations' daemons answered about new members.
        inquirer: Asks them.
        watched: What the watch over new blocks found.
        names: What people call groups.
        chains: Notices a node that is on another chain than before.
        work: How much replays have to execute.
        times: What additions take.
        tokens: Tokens of callers.
        audit: The audit log.
        traces: Makes traces; None when nothing asks for them.
    """

    database: Database
    store: SqlChangeStore
    outbox: SqlOutbox
    fleet: Fleet
    intake: Intake
    supervisor: Supervisor
    metrics: Metrics
    clock: Clock
    holder: str
    accounts: Accounts
    book: VerdictBook
    forecaster: Forecaster
    attestations: AttestationBook
    inquirer: Inquirer
    watched: SqlWatchRecord
    names: SqlGroupNames
    chains: ChainGuard
    work: ReplayWork
    times: AdditionTimes
    tokens: SqlAccessTokens
    audit: SqlAuditLog
    traces: TraceRecorder | None = None


@asynccontextmanager
async def assembled(config: Config, stopping: asyncio.Event, clock: Clock | None = None) -> AsyncIterator[Engine]:
    """Put the engine together on the configured nodes, accounts and store, and take it apart at the end.

    Args:
        config: The configuration.
        stopping: Set when the daemon is to stop.
        clock: Time; None for the operating system's.

    Raises:
        SignerError, AccountError: An account's key can't be had.
        StoreError: The store can't be opened, or another process has the configured name.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        signers = await opened_accounts(stack, config.accounts)
        # What counts is needed by what is counted: it asks for supervisor and nodes when somebody asks for the metrics.
        metrics = Metrics(lambda: supervisor.running_lanes, lambda: _node_readings(nodes, fleet))
        gas_limit, gas_price = config.chain.gas_limit, config.chain.gas_price
        heard = metrics.signatures.on_signature
        accounts = Accounts(signers, gas_limit=gas_limit, gas_price=gas_price, on_signature=heard)
        marker_keys = keys_of_markers(config.markers)
        database = await stack.enter_async_context(Database(store_url(config)))
        store = SqlChangeStore(database, clock, lambda change: tracer.committed([change]))
        nodes = await connect_nodes(stack, config.nodes)
        fleet = Fleet([ChainWatcher(node, clock, timedelta(seconds=config.chain.poll_seconds)) for node in nodes])
        rules = ProofRules(
            proof_blocks=config.chain.proof_blocks,
            confirmations=config.chain.confirmations,
            stalled_after_seconds=config.chain.stalled_after_seconds,
            verdict_blocks=config.chain.verdict_blocks,
        )
        book = VerdictBook({peer.enclave_key: peer.account for peer in config.peers}, signer_of)
        new_id = new_ids(clock.now)
        attestations = AttestationBook({peer.enclave_key: peer.account for peer in config.peers}, signer_of)
        policy = Policy(config.chain.attestations)
        inquirer = Inquirer(fleet, attestations, speakers(config), accounts, clock, policy)
        histories = SqlHistoryStore(database)
        forecaster = Forecaster(fleet, histories, inquirer, store)
        work = ReplayWork(histories, forecaster.work)
        tracker = ReplayTracker(work=work.of_group)
        # One for those who renew and those who send: right before it leaves, each transaction is held against the lease
        # as this process knows it, since a process that was stopped asks nobody when it wakes up.
        leases, words = Leases(clock), GuardWords(config, clock)
        executor = Executor(
            sending=Sending(
                fleet=fleet,
                signers=accounts,
                markers=OwnMarkers(gas_limit=gas_limit, gas_price=gas_price, keys=marker_keys),
                marker_accounts=AccountPool(marker_keys, store, fleet.watchers)
                if marker_keys
                else OneTimeAccounts(one_time_account),
                contract=ManagementCodec(),
                forecaster=forecaster,
                additions=AdditionsUnderWay(
                    partial(store.changes, UNDER_WAY, limit=MOST_ADDITIONS),
                    ReplayRules(
                        block_period=timedelta(seconds=config.chain.block_period_seconds),
                        apart=config.engine.replays_apart,
                    ),
                    fleet,
                    clock,
                    config.chain.confirmations,
                ),
                doubts=doubts_of(fleet, accounts, ManagementCodec(), new_id, BundleSizes(work.of_group).of_group),
                clock=clock,
                new_id=new_id,
                confirmations=config.chain.confirmations,
            ),
            observer=Observer(fleet, tracker, rules, clock, BystanderReader(fleet, store.groups), book, words.refused),
            locks=store.locks,
            succeeded=partial(newest_success, store),
            # Read before any lane is claimed: a change of before a restore is not to be driven as if nothing had
            # happened.
            restoration=await restoration_in(database),
        )
        lanes = LaneRules(
            holder=await stack.enter_async_context(holding(config, database, store)),
            lease=timedelta(seconds=config.engine.lease_seconds),
            most_lanes=config.engine.lanes,
            stop_within=timedelta(seconds=config.engine.shutdown_seconds),
        )
        traces = await tracing(stack, config, store, clock, metrics)
        tracer = traces or Untraced()
        turns = Turns(shares=shares(config))
        times = AdditionTimes(
            SqlAdditionTimes(database),
            fleet,
            work.of_group,
            executor.sending.bundling,
            clock,
            config.chain.block_period_seconds,
            metrics.on_forecast,
        )

        def on_step(before: Change, after: Change) -> None:
            metrics.on_step(before, after)
            times.on_step(before, after)

        worker = Worker(store, executor, leases, clock, stopping, on_step, turns, tracer)
        supervisor = Supervisor(store, worker, fleet, clock, lanes, stopping, leases, SystemRandom().random)
        intake = Intake(store, fleet, accounts, clock, new_id, admission_rules(config), turns, senders(config), tracer)
        metrics.watch_shares(lambda: supervisor.largest_share, lambda: turns.waiting)
        metrics.watch_locks(lambda: supervisor.driven)
        metrics.watch_admission(intake.admission)
        yield Engine(
            database=database,
            store=store,
            outbox=SqlOutbox(database, config.events.source),
            fleet=fleet,
            intake=intake,
            supervisor=supervisor,
            metrics=metrics,
            clock=clock,
            holder=lanes.holder,
            accounts=accounts,
            book=book,
            forecaster=forecaster,
            attestations=attestations,
            inquirer=inquirer,
            watched=SqlWatchRecord(database),
            names=SqlGroupNames(database),
            chains=ChainGuard(fleet, SqlNodeChains(database), clock),
            work=work,
            times=times,
            tokens=SqlAccessTokens(database),
            audit=SqlAuditLog(database),
            traces=traces,
        )


def _node_readings(nodes: list[BesuNode], fleet: Fleet) -> Iterator[NodeReading]:
    for node, watcher in zip(nodes, fleet.watchers, strict=True):
        head = watcher.head.number if watcher.head is not None else None
        yield NodeReading(
            name=node.name,
            counts=node.counts,
            head=head,
            behind=fleet.newest_head() - head if head is not None else 0,
            subscribed=watcher.subscribed,
            reorganisations=watcher.reorganisations,
            gaps=watcher.gaps,
        )
