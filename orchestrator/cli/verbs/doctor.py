"""``orchestrator doctor``: is everything as the daemon needs it? Asks nodes, store and queue; changes no group."""

import asyncio
import sys
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Annotated, Final

import typer
from rich.console import Console

from orchestrator.app import broker_access, broker_names, store_url
from orchestrator.app.configured.node_access import NodeLines
from orchestrator.app.configured.signer_checks import signing_troubles
from orchestrator.app.surroundings import (
    disk,
    examine_neighbours,
    examine_queue,
    examine_store,
    queue_trouble,
    secrets,
    store_trouble,
)
from orchestrator.besu.client.node import Node
from orchestrator.broker.connection import MissingClientError, connect
from orchestrator.broker.port import Broker
from orchestrator.cli.display.findings import as_document, show
from orchestrator.cli.display.output import Exit, fail, quieten
from orchestrator.cli.known_groups import is_unmade, kept_chains, kept_watch, known_groups
from orchestrator.config import Config, ConfigError, NodeConfig, load_config
from orchestrator.doctor.before import chain_findings
from orchestrator.doctor.enclave import member_sets
from orchestrator.doctor.findings import Expected, Finding, Level, in_order, is_healthy
from orchestrator.doctor.network import judge
from orchestrator.doctor.node_answers import Inspector, Target, owned_groups, standing
from orchestrator.doctor.watch import watch_findings
from orchestrator.engine.nodes.chain_guard import NodeChain
from orchestrator.engine.ports.store import StoreError
from orchestrator.membership.forecast.blocks import flaws_in_words
from orchestrator.store.commits.database import Database

MEMBER_KEYS: Final = 6
"""Enclave keys whose sets are tried at the enclaves: two and more of six are 57 sets."""

ConfigFile = Annotated[Path, typer.Option("--config", help="The configuration file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for monitoring.")]
HeadWithin = Annotated[
    float, typer.Option("--head-within", min=1, max=120, help="Seconds in which a WebSocket must deliver a head.")
]


def doctor(
    config: ConfigFile = Path("orchestrator.toml"), as_json: AsJson = False, head_within: HeadWithin = 15.0
) -> None:
    """Check nodes, enclaves, accounts and store; exit code 0 when nothing is worse than a warning."""
    try:
        loaded = load_config(config)
    except ConfigError as error:
        raise fail(str(error), Exit.USAGE) from None
    quieten()
    try:
        findings = asyncio.run(examine(loaded, head_within_seconds=head_within))
    except ConfigError as error:
        raise fail(str(error), Exit.USAGE) from None
    if as_json:
        typer.echo(as_document(findings))
    else:
        show(findings, Console(file=sys.stdout))
    raise typer.Exit(0 if is_healthy(findings) else 1)


async def examine(config: Config, *, head_within_seconds: float = 15.0) -> tuple[Finding, ...]:
    """Return all findings about what a configuration names, in the order in which they are shown.

    Args:
        config: The configuration.
        head_within_seconds: How long a WebSocket may take to deliver a head.
    """
    expected = Expected(gas_price=config.chain.gas_price, head_within_seconds=head_within_seconds)
    keys = [key for node in config.nodes for key in node.enclave_keys]
    async with AsyncExitStack() as stack:
        lines = NodeLines(stack)
        targets = [await _target(lines, node) for node in config.nodes]
        inspector = Inspector(
            session=await lines.shared(),
            random=SystemRandom(),
            now=time.time,
            expected=expected,
            member_sets=member_sets(keys[:MEMBER_KEYS]),
        )
        async with asyncio.TaskGroup() as asking:
            seeing = asking.create_task(inspector.inspect(targets))
            signing = asking.create_task(signing_troubles(config.accounts))
            listing = asking.create_task(_stored(config))
            looking_around = asking.create_task(_surroundings(config))
        seen = seeing.result()
        accounts = signing.result()
        stored = listing.result()
        # Behind the rest on purpose: whether a node stands still shows by a second look at its head.
        nodes = {target.node.name: target.node for target in targets}
        still = await standing(seen, nodes)
        # Who can't sign can own nothing that matters here; a call for each group is spared.
        loading = [address for address, bad in accounts.items() if bad is None]
        owned = await owned_groups(seen, nodes, loading, stored.groups)
    judged = judge(seen, expected, accounts, owned, still, stored.closed)
    return in_order((*judged, *chain_findings(seen, stored.chains), *stored.findings, *looking_around.result()))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What the store knows.

    Attributes:
        groups: Ids of known groups.
        chains: Which chain each node was on, by name.
        closed: By group that can't be extended, the block that closed it and why.
        findings: What was seen of the store, and found in it.
    """

    groups: tuple[str, ...] = ()
    chains: Mapping[str, NodeChain] = field(default_factory=dict)
    closed: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()


async def _target(lines: NodeLines, node: NodeConfig) -> Target:
    line = await lines.reach(node)
    return Target(
        node=Node(line.http, name=node.name, version=node.version),
        enclave_keys=node.enclave_keys,
        ws_url=node.ws,
        enclave_url=node.enclave,
        credential=line.credential,
        tls=line.tls,
    )


async def _stored(config: Config) -> _Stored:
    try:
        groups = await known_groups(config)
        watched = await kept_watch(config)
        chains = await kept_chains(config)
    except (StoreError, ConfigError) as error:
        return _Stored(findings=(store_trouble(str(error)),))
    if groups is None or watched is None:
        note = Finding(
            check="store",
            level=Level.NOTE,
            what="there is no store yet",
            why="Only groups that nodes list could be looked at.",
            remedy="`orchestrator migrate` makes it.",
        )
        return _Stored(findings=(note,))
    well = Finding(check="store", level=Level.OK, what=f"the store answers and knows {len(groups)} group(s)")
    return _Stored(
        groups=groups,
        chains=chains,
        closed={one.privacy_group_id: flaws_in_words(one.examination) for one in watched[1]},
        findings=(well, *watch_findings(*watched)),
    )


async def _surroundings(config: Config) -> tuple[Finding, ...]:
    """Return what is around the daemon itself; what makes the store unreadable is told by `_stored`."""
    return (*await _writable_store(config), *await _queue(config), *secrets(config), *disk(config))


async def _writable_store(config: Config) -> tuple[Finding, ...]:
    try:
        url = store_url(config)
        if is_unmade(url):
            return ()
        async with Database(url) as database:
            return await examine_store(config, database)
    except (StoreError, ConfigError):
        return ()


async def _queue(config: Config) -> tuple[Finding, ...]:
    broker = config.broker
    if broker.url == "embedded:":
        note = Finding(check="queue", level=Level.NOTE, what="`orchestrator run` starts a message queue of its own")
        return (note,)
    try:
        access = broker_access(broker)
    except ConfigError:
        return ()  # told by its file's own check
    try:
        async with connect(broker.url, directory=broker.data_dir, names=broker_names(broker), access=access) as queue:
            return (*await examine_queue(queue), *await _neighbours(config, queue))
    except MissingClientError as error:
        return (queue_trouble(str(error)),)


async def _neighbours(config: Config, queue: Broker) -> tuple[Finding, ...]:
    try:
        url = store_url(config)
        # Its name is in the store: without one there is nothing to tell others from.
        if is_unmade(url):
            return ()
        async with Database(url) as database:
            return await examine_neighbours(config, database, queue)
    except (StoreError, ConfigError):
        return ()  # told by the store's own check
