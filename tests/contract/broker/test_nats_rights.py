"""NATS as administrators of others run it: operator mode, few rights, streams made beforehand, limits."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import nats
import pytest
from nats.js.api import StreamConfig

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Access, Limits, Names
from orchestrator.broker.port import Broker
from orchestrator.engine.ports.queues import BrokerError, UnfitMessageError
from tests.contract.broker.trying import TYPE, until_it_fails, works
from tests.patience import patient
from tests.servers.nats_operator import make_nkey, make_operator
from tests.servers.nats_server import NatsServer

NAMES = Names()
LIMITS = Limits(call_seconds=20.0, connect_seconds=20.0, reconnect_seconds=0.2)
UNHEARD = replace(LIMITS, call_seconds=2.0)
"""For a user whose questions the server does not answer."""


@asynccontextmanager
async def opened(server: NatsServer, access: Access | None = None, limits: Limits = LIMITS) -> AsyncIterator[Broker]:
    async with (
        connect(server.url, directory=Path("/unused"), limits=limits, access=access) as broker,
        asyncio.timeout(patient(30)),
    ):
        yield broker


async def test_credentials_open_a_server_in_operator_mode(tmp_path: Path) -> None:
    """With a file of credentials as `nsc` makes them everything works; a damaged file is told and stops nothing.

    The file may be replaced while the daemon runs.
    """
    operator = make_operator()
    path = operator.write_credentials(tmp_path / "nats.creds")
    with NatsServer(settings=operator.settings) as server:
        async with opened(server, Access(credentials_file=path)) as broker:
            await works(broker)
        for damaged, said in (
            ("", "no part BEGIN"),
            (operator.credentials.replace("NATS USER", "USER"), "no part BEGIN NATS USER JWT"),
            (operator.credentials.replace("-----\nSU", "-----\nXX"), "no seed of a user's key"),
            (make_operator().credentials, "(?i)authorization violation"),
        ):
            path.write_text(damaged)
            async with opened(server, Access(credentials_file=path)) as broker:
                with pytest.raises(BrokerError, match=said):
                    await broker.check()
                operator.write_credentials(path)
                await broker.check()


async def test_a_seed_alone_opens_a_server_that_names_users_by_their_keys(tmp_path: Path) -> None:
    """Where users are named by `nkey` the file holds the seed and no JWT; another key's is refused."""
    user, seed = make_nkey()
    path = tmp_path / "user.nk"
    path.touch(mode=0o600)
    with NatsServer(settings=f"authorization {{ users: [ {{ nkey: {user} }} ] }}") as server:
        for content, well in ((seed + "\n", True), (make_nkey()[1], False)):
            path.write_text(content)
            async with opened(server, Access(credentials_file=path)) as broker:
                if well:
                    await works(broker)
                else:
                    with pytest.raises(BrokerError, match=r"(?i)authorization violation"):
                        await broker.check()


async def test_a_user_who_may_make_no_streams_uses_what_is_there() -> None:
    """With streams and consumer made by an administrator, these rights are enough; without them, what lacks is said."""
    least = [
        "$JS.API.STREAM.NAMES",
        "$JS.API.CONSUMER.INFO.membership-requests.orchestrator",
        "$JS.API.CONSUMER.MSG.NEXT.membership-requests.orchestrator",
        "$JS.API.STREAM.MSG.GET.membership-requests-dead",
        "$JS.ACK.membership-requests.orchestrator.>",
        "membership.requests",
        "membership.requests.dead",
        "membership.events.>",
    ]
    users = f"""
    authorization {{ users: [
        {{ user: admin, password: a }}
        {{ user: least, password: l, permissions: {{ publish: {json.dumps(least)}, subscribe: "_INBOX.>" }} }}
        {{ user: deaf, password: d, permissions: {{ publish: {json.dumps(least[:2])}, subscribe: "_INBOX.>" }} }}
        {{ user: none, password: n, permissions: {{ publish: "membership.>", subscribe: "_INBOX.>" }} }}
    ] }}
    """
    with NatsServer(settings=users) as server:
        async with opened(server, Access(user="none", password="n"), UNHEARD) as broker:
            with pytest.raises(BrokerError, match=r"(?i)permissions violation for publish to .\$js\.api\.stream"):
                await broker.check()
        async with opened(server, Access(user="admin", password="a")) as broker:
            await broker.check()
            await broker.check_events()
        async with opened(server, Access(user="least", password="l")) as broker:
            await works(broker)
        async with opened(server, Access(user="deaf", password="d"), UNHEARD) as broker:
            await broker.check()
            said = r"(?i)permissions violation for publish to .\$js\.api\.consumer\.msg\.next"
            with pytest.raises(BrokerError, match=said):
                await broker.check_rights()
            taking = asyncio.ensure_future(anext(broker.triggers()))
            with pytest.raises(BrokerError, match=said):
                await until_it_fails(broker)
            taking.cancel()
            await asyncio.wait({taking})


async def test_a_stream_for_some_of_the_events_is_found_and_said(nats_server: NatsServer) -> None:
    """Events whose subject no stream has are told by name; requests come in; an added subject mends it."""
    client = await nats.connect(nats_server.url)
    config = StreamConfig(name="events", subjects=[f"{NAMES.events}.*"])
    await client.jetstream().add_stream(config)
    async with opened(nats_server) as broker:
        await broker.request(b"{}")
        async for trigger in broker.triggers():
            await trigger.acknowledge()
            break
        await broker.check()
    config = config.evolve(subjects=[f"{NAMES.events}.membership.change.*.v1"])
    await client.jetstream().update_stream(config)
    async with opened(nats_server) as broker:
        await broker.publish(TYPE, "1", b"{}")
        with pytest.raises(BrokerError, match=r"no stream has this subject"):
            await broker.publish("membership.group.locked.v1", "2", b"{}")
        with pytest.raises(BrokerError, match=r"of status events have no stream, such as membership\.events\.member"):
            await broker.check_events()
        await client.jetstream().update_stream(config.evolve(subjects=[f"{NAMES.events}.>"]))
        await broker.check_events()
        await broker.publish("membership.group.locked.v1", "2", b"{}")
    await client.close()


async def test_an_event_that_is_too_large_is_told_from_a_queue_that_is_away() -> None:
    """What is larger than the stream's or the server's limit is unfit; the next event goes through."""
    with NatsServer(settings="max_payload: 20000") as server:
        client = await nats.connect(server.url)
        config = StreamConfig(name="events", subjects=[f"{NAMES.events}.>"], max_msg_size=10_000)
        await client.jetstream().add_stream(config)
        await client.close()
        async with opened(server) as broker:
            with pytest.raises(UnfitMessageError, match="message size exceeds maximum"):
                await broker.publish(TYPE, "1", b"x" * 15_000)
            with pytest.raises(UnfitMessageError, match="maximum payload"):
                await broker.publish(TYPE, "1", b"x" * 25_000)
            await broker.publish(TYPE, "2", b"x")


async def test_a_server_without_jetstream_is_told_as_such() -> None:
    """That JetStream is off, for the server or the account, is what the message says."""
    with NatsServer(jetstream=False) as server:
        async with opened(server) as broker:
            with pytest.raises(BrokerError, match="JetStream is off"):
                await broker.check()
    accounts = """
    accounts { bare { users: [{ user: u, password: p }] }, stored { jetstream: enabled } }
    """
    with NatsServer(settings=accounts) as server:
        async with opened(server, Access(user="u", password="p")) as broker:
            with pytest.raises(BrokerError, match="JetStream is off"):
                await broker.check()
