"""The daemon: intake, lanes, relay and HTTP around one engine, and an orderly stop."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from orchestrator.app.assembly import Engine, assembled, speakers
from orchestrator.app.configured.secret_texts import secret_text, store_url
from orchestrator.app.configured.signer_checks import SignerTrial
from orchestrator.app.configured.webhook_endpoints import endpoints
from orchestrator.app.guard_words import GuardWords
from orchestrator.app.http_service import serve_http
from orchestrator.app.interpreter import settle_interpreter
from orchestrator.app.loop_lag import LoopLag
from orchestrator.app.readiness import Readiness
from orchestrator.app.store_growth import growth_parts
from orchestrator.app.surroundings import examine
from orchestrator.besu.codec.statements import signer_of
from orchestrator.broker.connection import connect
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.port import Broker, Inlet
from orchestrator.config import BrokerConfig, Config
from orchestrator.doctor.findings import Level
from orchestrator.engine.attestation.attestation_messages import ATTESTATION_TYPE, INQUIRY_TYPE
from orchestrator.engine.attestation.attester import Attester
from orchestrator.engine.attestation.joined_groups import Joiner
from orchestrator.engine.attestation.peer_statements import Taker, VerdictReader
from orchestrator.engine.attestation.verdict_messages import VERDICT_TYPE
from orchestrator.engine.attestation.vouchers import Voucher
from orchestrator.engine.audit.auditor import Auditor, AuditRules
from orchestrator.engine.blocks.block_watch import BlockWatch, WatchRules
from orchestrator.engine.lanes.repair_requests import Repairer
from orchestrator.engine.nodes.standstill import StandstillWatch
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.proof.replay_tracker import ReplayTracker
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.engine.runtime.isolation import cancelled, contained, kept_running
from orchestrator.events.backlog import Backlog
from orchestrator.events.feed import EventFeed
from orchestrator.events.neighbours import Neighbours
from orchestrator.events.relay import Relay
from orchestrator.events.retention import Retention
from orchestrator.events.webhooks.poster import Webhooks
from orchestrator.store.commits.schema_version import until_migrated

DRAIN_SECONDS = 5.0
"""What publishing the last status events may take when the daemon stops."""


log = structlog.get_logger()


def _secret(path: Path | None) -> str | None:
    return None if path is None else secret_text(path)


def broker_names(config: BrokerConfig) -> Names:
    """Return the names of subjects and queues."""
    names = config.names
    return Names(
        requests=names.requests,
        dead=names.dead,
        events=names.events,
        consumer=names.consumer,
        verdicts=names.verdicts,
        sources=tuple(source.subject for source in config.sources),
    )


def broker_access(config: BrokerConfig) -> Access:
    """Return the credentials and certificates; secrets are read from their files."""
    return Access(
        token=_secret(config.token_file),
        user=config.user,
        password=_secret(config.password_file),
        credentials_file=config.credentials_file,
        sasl_mechanism=config.sasl_mechanism,
        ca_file=config.ca_file,
        certificate_file=config.certificate_file,
        key_file=config.key_file,
    )


@contextmanager
def stopping_on_signals(stopping: asyncio.Event) -> Iterator[None]:
    """Set an event on SIGTERM and SIGINT while the context lasts."""
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        log.info("stop asked for", signal=name)
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number.name)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def run_daemon(
    config: Config, stopping: asyncio.Event, on_ready: Callable[[str], None], clock: Clock | None = None
) -> None:
    """Run until `stopping` is set, then finish the lock windows, publish what is committed, and return.

    Args:
        config: The configuration.
        stopping: Set when the daemon is to stop.
        on_ready: Told the address of the HTTP interface once requests are taken.
        clock: Time; None for the operating system's.

    Raises:
        SignerError, AccountError: An account's key can't be had.
        StoreError: The store can't be opened or has another schema.
        BrokerError: The embedded message queue did not start.
        OSError: The HTTP interface can't listen.
        OtherChainError: A node is on another chain than the store knows it on.
    """
    patience = timedelta(seconds=config.store.migration_wait_seconds)
    await until_migrated(store_url(config), patience, clock or SystemClock())
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(assembled(config, stopping, clock))
        # Before anything is taken: on another chain nothing of what the store says of locks and attempts holds.
        await engine.chains.check()
        broker = await stack.enter_async_context(
            connect(
                config.broker.url,
                directory=config.broker.data_dir,
                names=broker_names(config.broker),
                limits=Limits(in_flight=config.broker.max_in_flight, replicas=config.broker.copies),
                access=broker_access(config.broker),
            )
        )
        await _tell_of_surroundings(config, engine, broker)
        feed = EventFeed(engine.outbox, engine.clock, poll_seconds=engine.database.poll_seconds)
        relay = Relay(engine.outbox, broker, engine.clock, engine.holder)
        backlog = Backlog(engine.outbox, engine.clock)
        neighbours = Neighbours(broker, partial(_own_source, engine), engine.clock)
        engine.metrics.watch_neighbours(lambda: len(neighbours.sources))
        readiness = Readiness(engine.store, broker, engine.fleet, engine.clock, backlog, relay, neighbours)
        engine.metrics.watch_surroundings(lambda: readiness.working, lambda: backlog.seconds)
        address = await serve_http(stack, config, engine, broker, feed, readiness, broker_names(config.broker))
        async with asyncio.TaskGroup() as tasks:
            taking = [
                tasks.create_task(kept_running("intake", partial(engine.intake.run, Inlet(broker, name)), engine.clock))
                for name in broker_names(config.broker).inlets
            ]
            driving = tasks.create_task(engine.supervisor.run())
            lag = LoopLag()
            engine.metrics.watch_loop(lambda: lag.seconds)
            reporting = [
                tasks.create_task(kept_running(type(part).__name__, part.run, engine.clock))
                for part in (
                    *_parts(config, engine, broker, relay, feed),
                    *_self_watch(backlog, readiness, lag),
                    neighbours,
                )
            ]
            # Last: what is alive by now stays out of all later collections.
            settle_interpreter()
            log.info("ready", api=address, nodes=len(config.nodes), accounts=len(config.accounts))
            on_ready(address)
            guarding = tasks.create_task(engine.chains.watch(stopping))
            await stopping.wait()
            # From the source to the sink: nothing is taken any more, the lanes close their lock windows while heads
            # still come and events still go, and then what they committed last is published. What is left over is the
            # store's.
            guarding.cancel()
            for intake in taking:
                intake.cancel()
            await driving
            await cancelled([*taking, *reporting])
            await relay.drain(DRAIN_SECONDS)
    log.info("stopped")
    if guarding.done() and not guarding.cancelled() and (trouble := guarding.result()) is not None:
        raise trouble


async def _tell_of_surroundings(config: Config, engine: Engine, broker: Broker) -> None:
    """Log what is not as it should be around the daemon, before it takes anything; none of it keeps it from starting.

    What is away at the start comes back by itself, and is told again while it is away.
    """
    with contained("surroundings"):
        for finding in await examine(config, engine.database, broker):
            if finding.level is not Level.OK:
                log.warning("surroundings", check=finding.check, what=finding.what, remedy=finding.remedy)


class _Part(Protocol):
    async def run(self) -> None:
        """Run until cancelled."""


def _parts(config: Config, engine: Engine, broker: Broker, relay: Relay, feed: EventFeed) -> tuple[_Part, ...]:
    """Return what runs beside intake and lanes."""
    attester = _attester(config, engine, broker)
    parts: list[_Part] = [
        relay,
        feed,
        *_upkeep(config, engine),
        *growth_parts(config, engine),
        *([] if engine.traces is None else [engine.traces]),
        *_watch(config, engine, attester),
    ]
    if attester is not None:
        parts.append(attester)
    away = [account.address for account in config.accounts if account.is_elsewhere]
    return (*parts, SignerTrial(away, engine.accounts, engine.clock), *_peers(config, engine, broker))


def _self_watch(backlog: Backlog, readiness: Readiness, lag: LoopLag) -> tuple[_Part, ...]:
    """Return what looks whether store, queue and event loop work while nobody asks."""
    return (backlog, readiness, lag)


def _peers(config: Config, engine: Engine, broker: Broker) -> tuple[_Part, ...]:
    """Return what listens to other organisations' daemons, asks them and answers them."""
    if not config.peers:
        return ()
    # Whoever may publish may send these: only what a configured peer's account signed is believed.
    takers: dict[str, Taker] = {VERDICT_TYPE: engine.book.take, ATTESTATION_TYPE: engine.attestations.take}
    engine.inquirer.ask_by(broker.publish_verdict)
    if not speakers(config):
        return (VerdictReader(broker, takers, engine.clock),)
    voucher = Voucher(
        engine.fleet,
        engine.forecaster,
        speakers(config),
        [peer.account for peer in config.peers],
        engine.accounts,
        signer_of,
        broker.publish_verdict,
        engine.clock,
        GuardWords(config, engine.clock).why,
    )
    takers[INQUIRY_TYPE] = voucher.take
    return (VerdictReader(broker, takers, engine.clock), voucher)


def _attester(config: Config, engine: Engine, broker: Broker) -> Attester | None:
    spoken = speakers(config)
    if not spoken:
        return None
    blocks, words = config.chain.proof_blocks, GuardWords(config, engine.clock)
    return Attester(engine.fleet, spoken, engine.accounts, broker.publish_verdict, engine.clock, blocks, words.recent)


def _watch(config: Config, engine: Engine, attester: Attester | None) -> tuple[_Part, ...]:
    """Return what looks after groups that no change is about now: joins, blocks, audits, and repairs where on."""
    stalled_after = timedelta(seconds=config.chain.stalled_after_seconds)
    found: list[_Part] = [
        engine.times,
        Joiner(
            engine.fleet,
            engine.store,
            engine.outbox,
            ReplayTracker(work=engine.work.of_group),
            engine.clock,
            engine.holder,
            stalled_after,
            attester=attester,
        ),
    ]
    still = StandstillWatch(engine.fleet, engine.store, engine.outbox, engine.clock, engine.holder, stalled_after)
    names = [watcher.node.name for watcher in engine.fleet.watchers]
    engine.metrics.watch_standstills(lambda: {name: name in still.standing for name in names})
    found.append(still)
    watch_rules = WatchRules(holder=engine.holder, confirmations=config.chain.confirmations)
    found.append(
        BlockWatch(
            engine.fleet,
            engine.store,
            engine.outbox,
            engine.watched,
            engine.clock,
            watch_rules,
            engine.metrics.on_look,
        )
    )
    if config.chain.audit_blocks:
        rules = AuditRules(
            holder=engine.holder,
            every_blocks=config.chain.audit_blocks,
            confirmations=config.chain.confirmations,
            most_calls=config.chain.audit_calls,
        )
        auditor = Auditor(engine.fleet, engine.store, engine.outbox, engine.clock, rules)
        engine.metrics.watch_groups(lambda: len(auditor.diverged))
        found.append(auditor)
    if config.engine.repair == "once":
        found.append(Repairer(engine.store, engine.fleet, engine.clock))
    return tuple(found)


def _upkeep(config: Config, engine: Engine) -> tuple[Webhooks | Retention, ...]:
    """Return what else is done with status events: webhooks, and deleting old ones."""
    keep = timedelta(days=config.engine.events_kept_days)
    return (
        Webhooks(engine.outbox, endpoints(config), engine.clock, engine.holder),
        Retention(engine.outbox, engine.clock, engine.holder, keep),
    )


async def _own_source(engine: Engine) -> str:
    return (await engine.outbox.identity()).source
