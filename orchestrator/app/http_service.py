"""The HTTP interface around one engine: who may use it, and where it listens."""

import asyncio
import resource
import ssl
import time
from contextlib import AsyncExitStack
from functools import partial
from typing import Any, Final

import aiohttp
import structlog
from aiohttp import web

from orchestrator import __version__
from orchestrator.api.application import make_api
from orchestrator.api.callers.authentication import Authentication
from orchestrator.api.callers.key_sets import KeySet, fetching, reading_file
from orchestrator.api.callers.web_tokens import WebTokenRules, WebTokens
from orchestrator.api.ports.changes import ApiServices, EventFeed
from orchestrator.api.resources.forecasts import FleetForecasts
from orchestrator.api.resources.group_reads import FleetGroups
from orchestrator.api.resources.overview_reads import Overview
from orchestrator.api.web.connections import Connections, most_connections
from orchestrator.app.assembly import Engine
from orchestrator.app.configured.callers import access_rules
from orchestrator.app.configured.node_access import tls_context
from orchestrator.app.configured.webhook_endpoints import endpoints
from orchestrator.app.group_names import GroupNames
from orchestrator.app.readiness import Readiness
from orchestrator.app.unix_sockets import bound_to
from orchestrator.besu.versions import notes_of
from orchestrator.broker.names import Names
from orchestrator.broker.port import Broker
from orchestrator.config import Config
from orchestrator.config.access_section import JwtConfig
from orchestrator.config.values import is_loopback_listen
from orchestrator.engine.runtime.news import NewsReader
from orchestrator.events.documents.asyncapi import asyncapi_document
from orchestrator.events.webhooks.control import WebhookControl

_BACKLOG: Final = 128

log = structlog.get_logger()


async def serve_http(
    stack: AsyncExitStack,
    config: Config,
    engine: Engine,
    broker: Broker,
    feed: EventFeed,
    readiness: Readiness,
    names: Names,
) -> str:
    """Serve until the stack ends; returns the address.

    Raises:
        OSError: It can't listen there.
    """
    news = NewsReader(engine.outbox)
    services = ApiServices(
        intake=engine.intake,
        changes=engine.store,
        groups=FleetGroups(engine.store, engine.fleet, news),
        names=GroupNames(config.groups, engine.names),
        nodes={node.name: node.enclave_keys for node in config.nodes},
        forecasts=FleetForecasts(engine.fleet, engine.forecaster, engine.times, engine.accounts.accounts),
        overview=Overview(engine.store, engine.fleet, news, readiness, engine.clock.now, notes_of),
        feed=feed,
        readiness=readiness,
        dead_letters=broker,
        webhooks=WebhookControl(engine.outbox, endpoints(config), engine.clock),
        tokens=engine.tokens,
        audit=engine.audit,
        metrics=engine.metrics.registry,
        now=engine.clock.now,
        origins=config.api.origins,
        documents={"/asyncapi.json": partial(_asyncapi, names)},
    )
    authentication = Authentication(
        access_rules(config),
        engine.tokens,
        engine.audit,
        None if config.access.jwt is None else await _web_tokens(stack, config.access.jwt, config.groups),
        engine.clock.now,
        time.monotonic,
    )
    engine.metrics.watch_callers(lambda: authentication.failures)
    # The library's own sites would make connections without our bounds: the runner is set up for its server alone.
    runner = web.AppRunner(make_api(services, authentication), access_log=None, shutdown_timeout=2.0)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    if runner.server is None:
        raise AssertionError("a runner that is set up has a server")
    most = most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    connections = Connections(runner.server, most=most)
    # So many are taken in at once before the first is counted.
    backlog = min(_BACKLOG, most // 4)
    loop = asyncio.get_running_loop()
    if config.api.socket is not None:
        # Where callers are known the kernel says who connects, and the rules what that user may do; else whoever can
        # open the socket is an operator.
        bound = bound_to(config.api.socket, 0o666 if authentication.rules.required else 0o600)
        local = await loop.create_unix_server(connections, sock=bound, backlog=backlog)
        stack.callback(local.close)
    host, _, port = config.api.listen.rpartition(":")
    tls = _tls(config)
    # No mistake: what ends TLS may stand on another machine.
    if tls is None and not is_loopback_listen(config.api.listen):
        log.warning(
            "tokens go over the network as they are",
            listen=config.api.listen,
            remedy="give api.certificate_file and api.key_file, or let only a proxy with TLS reach it",
        )
    listening = await loop.create_server(partial(connections, tls), host.strip("[]"), int(port), backlog=backlog)
    stack.callback(listening.close)
    return f"{'http' if tls is None else 'https'}://{host}:{listening.sockets[0].getsockname()[1]}"


async def _web_tokens(stack: AsyncExitStack, config: JwtConfig, names: dict[str, str]) -> WebTokens:
    if config.jwks_file is not None:
        read = reading_file(config.jwks_file)
    else:
        tls = tls_context(None if config.ca_file is None else str(config.ca_file))
        connector = aiohttp.TCPConnector(ssl=True if tls is None else tls, limit=2)
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=connector, trust_env=False))
        read = fetching(session, config.jwks_url or "")
    rules = WebTokenRules(
        issuer=config.issuer,
        audience=config.audience,
        algorithms=config.algorithms,
        role_claim=config.role_claim,
        roles=config.roles,
        groups_claim=config.groups_claim,
        group_names=names,
    )
    return WebTokens(rules, KeySet(read, time.monotonic))


def _tls(config: Config) -> ssl.SSLContext | None:
    if config.api.certificate_file is None or config.api.key_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(config.api.certificate_file, config.api.key_file)
    return context


def _asyncapi(names: Names) -> dict[str, Any]:
    return asyncapi_document(
        version=__version__, requests=names.requests, dead=names.dead, events=names.events, verdicts=names.verdicts
    )
