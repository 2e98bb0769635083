"""docs/servers.md: each block is run on the real server as it stands, but for ports, paths and names."""

import asyncio
import os
import re
import shlex
import ssl
import uuid
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import nats
import psycopg
import pytest
import trustme
import yaml  # type: ignore[import-untyped] # it has no types of its own
from confluent_kafka.admin import AclOperation, NewTopic, ResourceType

from orchestrator.broker.connection import connect
from orchestrator.broker.names import Access, Limits
from orchestrator.broker.port import Broker
from orchestrator.config import load_config
from orchestrator.membership.news.status import EventType
from orchestrator.store import Database, SqlChangeStore, SqlOutbox, migrate
from tests.fakes.changes import a_change
from tests.fakes.clock import START, JumpingClock
from tests.integration.servers.running import configured, daemon_on, status
from tests.patience import patient
from tests.servers.kafka_server import KafkaServer
from tests.servers.nats_server import NatsServer
from tests.servers.nginx_server import NginxServer
from tests.servers.pgbouncer_server import PgBouncerServer
from tests.servers.postgresql_server import PostgreSQLServer
from tests.servers.rabbitmq_server import RabbitMQServer

FOLDER = Path(__file__).parents[3]
DOCUMENT = (FOLDER / "docs" / "servers.md").read_text("utf-8")
LIMITS = Limits(call_seconds=20.0, connect_seconds=20.0, reconnect_seconds=0.2)
TYPE = EventType.CHANGE_ACCEPTED.value


def blocks(section: str, language: str) -> list[str]:
    """The fenced blocks of a language in a section of the document."""
    text = DOCUMENT.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


async def works(broker: Broker) -> None:
    """Make sure that triggers come in, dead letters are kept and put back, and events go out."""
    await broker.check()
    await broker.check_events()
    await broker.publish(TYPE, "1", b"{}")
    await broker.request(b"{}")
    triggers = broker.triggers()
    await (await anext(triggers)).bury("for a try")
    (letter,) = await broker.dead_letters()
    await broker.replay(letter.letter_id)
    await (await anext(triggers)).acknowledge()
    await triggers.aclose()


async def test_the_roles_of_postgresql_are_enough(
    postgresql_server: PostgreSQLServer, postgresql_database: str, postgresql_url: str
) -> None:
    """One role makes the tables, the other one works with them and may make none."""
    (block,) = blocks("PostgreSQL", "sql")
    name = f"o{uuid.uuid4().hex[:12]}"
    statements = block.replace("orchestrator", name)
    await asyncio.to_thread(postgresql_server.execute, statements, postgresql_database)
    try:
        await asyncio.to_thread(migrate, postgresql_url.replace("orchestrator@", f"{name}_owner@"))
        url = postgresql_url.replace("orchestrator@", f"{name}@")
        async with Database(url) as database:
            store, outbox = SqlChangeStore(database, JumpingClock()), SqlOutbox(database)
            await store.probe()
            await store.accept(a_change("1"), "hash", ())
            await store.announce([status("g", EventType.GROUP_LOCKED)])
            (lane,) = await store.claim(holder="one", lease=LIMITS.ack_wait, limit=9, now=START)
            await store.release(lane, now=START)
            await store.forget(name="one")
            (stored,) = await outbox.pending(9)
            await outbox.mark_published([stored.position], at=START)
            later = START + timedelta(days=9999)
            swept = await outbox.delete_published(before=later, now=later, after=0, through_position=9)
            assert swept.deleted == 1
        with psycopg.connect(url) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"CREATE TABLE {name}.other (a int)".encode())
    finally:
        drop = f"DROP OWNED BY {name}, {name}_owner CASCADE; DROP ROLE {name}, {name}_owner"
        await asyncio.to_thread(postgresql_server.execute, drop, postgresql_database)


async def test_pgbouncer_may_share_the_sessions_of_others(
    postgresql_server: PostgreSQLServer, postgresql_database: str
) -> None:
    """With `pool_mode=session` for its own database the daemon's store works, whatever the mode of the others."""
    (block,) = blocks("pgbouncer", "ini")
    databases, settings = re.fullmatch(r"\[databases\]\n(.*)\n\[pgbouncer\]\n(.*)", block, re.DOTALL).groups()  # type: ignore[union-attr] # it fails then
    databases = databases.replace("membership", postgresql_database).replace("5432", str(postgresql_server.port))
    with PgBouncerServer(postgresql_server, settings, databases) as pooler:
        url = pooler.url_of(postgresql_database)
        await asyncio.to_thread(migrate, url)
        async with Database(url) as database:
            await SqlChangeStore(database, JumpingClock()).probe()


async def test_the_users_of_nats_are_enough() -> None:
    """The administrator's connection makes the streams, the daemon's uses them, an application subscribes and asks."""
    (block,) = blocks("NATS", "")
    with NatsServer(settings=block) as server:

        async def as_user(name: str, number: int, use: Any) -> None:
            access = Access(user=name, password=f"replace-me-{number}")
            async with connect(server.url, directory=FOLDER, limits=LIMITS, access=access) as broker:
                async with asyncio.timeout(patient(30)):
                    await use(broker)

        await as_user("admin", 1, prepared)
        await as_user("orchestrator", 2, works)
        client = await nats.connect(server.url, user="application", password="replace-me-3")
        subscription = await client.jetstream().subscribe("membership.events.>")
        message = await subscription.next_msg(timeout=patient(10))
        await message.ack()
        await client.jetstream().publish("membership.requests", b"{}")
        await client.close()


async def prepared(broker: Broker) -> None:
    await broker.check()
    await broker.check_events()


@pytest.mark.parametrize("convenient", [False, True])
async def test_the_rights_of_rabbitmq_are_enough(
    rabbitmq_server: RabbitMQServer, rabbitmq_url: str, rabbitmq_virtual_host: str, convenient: bool
) -> None:
    """With what an administrator declared the least rights do; with the others the daemon declares it, verdicts too."""
    (definitions,) = blocks("RabbitMQ", "json")
    least, more = (shlex.split(block.strip().splitlines()[-1])[-3:] for block in blocks("RabbitMQ", "sh"))
    if not convenient:
        here = definitions.replace('"vhost": "membership"', f'"vhost": "{rabbitmq_virtual_host}"')
        await asyncio.to_thread(rabbitmq_server.import_definitions, here)
    configure, write, read = more if convenient else least
    user = await asyncio.to_thread(
        lambda: rabbitmq_server.create_user(rabbitmq_virtual_host, configure=configure, write=write, read=read)
    )
    url = rabbitmq_url.replace("guest:guest", f"{user}:{user}")
    async with connect(url, directory=FOLDER, limits=LIMITS) as broker, asyncio.timeout(patient(30)):
        await works(broker)
        if convenient:
            verdicts = broker.verdicts()
            hearing = asyncio.ensure_future(anext(verdicts))
            while not hearing.done():  # what is published before it listens is lost
                await broker.publish_verdict(b"{}")
                await asyncio.wait({hearing}, timeout=0.2)
            assert hearing.result() == b"{}"
            await verdicts.aclose()


def as_administrator(server: KafkaServer, user: str, commands: str) -> None:
    """Do what lines of Kafka's command line do."""
    kinds = {"--topic": ResourceType.TOPIC, "--group": ResourceType.GROUP}
    for line in commands.strip().splitlines():
        program, *words = shlex.split(line)
        given = [(word, words[place + 1]) for place, word in enumerate(words[:-1]) if word.startswith("--")]
        options = dict(given)
        if program == "kafka-topics.sh":
            config = dict(value.split("=") for name, value in given if name == "--config")
            topic = NewTopic(options["--topic"], int(options["--partitions"]), 1, config=config)
            server.admin.create_topics([topic])[topic.topic].result(20)
        else:
            operations = [AclOperation[value.upper()] for name, value in given if name == "--operation"]
            (resource,) = kinds.keys() & options.keys()
            prefixed = options.get("--resource-pattern-type") == "prefixed"
            server.allow(user, kinds[resource], options[resource], *operations, prefixed=prefixed)


@pytest.mark.parametrize("convenient", [False, True])
async def test_the_rights_of_kafka_are_enough(kafka_server: KafkaServer, convenient: bool) -> None:
    """With the topics that an administrator made the least rights do; with the others the daemon makes them all."""
    least, more = blocks("Kafka", "sh")
    user = await asyncio.to_thread(kafka_server.create_user, "hush")
    await asyncio.to_thread(as_administrator, kafka_server, user, more if convenient else least)
    access = Access(user=user, password="hush")
    try:
        async with (
            connect(kafka_server.scram_url, directory=FOLDER, limits=LIMITS, access=access) as broker,
            asyncio.timeout(patient(60)),
        ):
            await works(broker)
            await broker.check_rights()
            assert await broker.newest_event() == b"{}"
            if convenient:
                await broker.publish_verdict(b"{}")
                async with aclosing(broker.verdicts()) as verdicts:
                    assert await anext(verdicts) == b"{}"
    finally:
        await asyncio.to_thread(kafka_server.delete_topics, "membership.")


async def test_nginx_and_the_probes_of_kubernetes_reach_the_daemon(tmp_path: Path, nats_url: str) -> None:
    """Through nginx, with a password, events come as they happen; the probes tell what is not ready."""
    (block,) = blocks("nginx", "nginx")
    (container,) = pod()["containers"]
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "membership.key"))
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "membership.pem"))
    (tmp_path / "membership.users").write_text("me:{PLAIN}hush\n")
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    store_url = f"sqlite:///{tmp_path}/store.db"
    await asyncio.to_thread(migrate, store_url)
    nginx = NginxServer()
    async with daemon_on(configured(tmp_path, store_url, nats_url)) as daemon, Database(store_url) as database:
        api = daemon.url.removeprefix("http://")
        block = (
            block.replace("127.0.0.1:8080", api).replace("8443", str(nginx.port)).replace("/etc/nginx", str(tmp_path))
        )
        nginx.configure(block)
        with nginx:
            through = f"https://127.0.0.1:{nginx.port}"
            async with daemon.session.get(f"{through}/livez", ssl=trust) as answer:
                assert answer.status == 401
            me = {"Authorization": aiohttp.encode_basic_auth("me", "hush")}
            async with daemon.session.get(f"{through}/v1/events", ssl=trust, headers=me) as answer:
                assert answer.status == 200
                await SqlChangeStore(database, JumpingClock()).announce([status("g", EventType.GROUP_LOCKED)])
                async with asyncio.timeout(patient(20)):
                    while b"membership.group.locked.v1" not in await answer.content.readline():
                        pass
        for probe, code in (("livenessProbe", 0), ("readinessProbe", 1)):  # its one node is down
            command = [part.replace("127.0.0.1:8080", api) for part in container[probe]["exec"]["command"]]
            ran = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
            _, said = await asyncio.wait_for(ran.communicate(), patient(30))
            assert ran.returncode == code, said


def pod() -> dict[str, Any]:
    (block,) = blocks("Kubernetes", "yaml")
    found: dict[str, Any] = yaml.safe_load(block)["spec"]["template"]["spec"]
    return found


def test_the_pod_hands_secrets_over_as_the_daemon_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of the secret's volume, root's with its mode, are taken by the pod's user, and name what there is."""
    specification = pod()
    (volume,) = [volume for volume in specification["volumes"] if "secret" in volume]
    mode = int(volume["secret"]["defaultMode"]) if isinstance(volume["secret"]["defaultMode"], int) else 0
    assert mode == 0o440
    (container,) = specification["containers"]
    environment = {entry["name"]: entry.get("value", "orchestrator-0") for entry in container["env"]}
    volumes = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert volumes["/run/secrets/orchestrator"] == "secrets"
    shown = {name: value.replace("/run/secrets/orchestrator", str(tmp_path)) for name, value in environment.items()}
    write_secrets(tmp_path, mode)
    user, stat = specification["securityContext"]["runAsUser"], Path.stat
    monkeypatch.setattr("os.getuid", lambda: user)
    monkeypatch.setattr(Path, "stat", lambda path, **more: of_root(stat(path, **more)))
    config = load_config(tmp_path / "orchestrator.toml", shown)
    assert config.engine.replica == "orchestrator-0"
    assert config.store.password_file == tmp_path / "store.password"
    assert specification["terminationGracePeriodSeconds"] > config.engine.shutdown_seconds + 5


def of_root(found: os.stat_result) -> os.stat_result:
    return os.stat_result((*found[:4], 0, *found[5:]))


def write_secrets(folder: Path, mode: int) -> None:
    for name in ("owner.key", "store.password", "nats.creds"):
        (folder / name).write_text("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
        (folder / name).chmod(mode)
    (folder / "orchestrator.toml").write_text((FOLDER / "deploy" / "orchestrator.toml").read_text())


def test_the_unit_hands_secrets_over_as_the_daemon_takes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines to copy are the unit's, and the example's configuration finds its secrets by them, mode 0440."""
    (block,) = blocks("systemd", "ini")
    unit = (FOLDER / "deploy" / "systemd" / "orchestrator.service").read_text()
    lines = block.strip().splitlines()
    assert set(lines) <= set(unit.splitlines())
    handed = [line.partition("=")[2].partition(":")[0] for line in lines if line.startswith("LoadCredential=")]
    write_secrets(tmp_path, 0o440)
    assert {path.name for path in tmp_path.iterdir()} == {*handed, "orchestrator.toml"}
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assignments = (
        line.removeprefix("Environment=").partition("=") for line in lines if line.startswith("Environment=")
    )
    environment = {name: value.replace("%d", str(tmp_path)) for name, _, value in assignments}
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "orchestrator.toml").write_text((tmp_path / "orchestrator.toml").read_text())
    assert load_config(folder / "orchestrator.toml", environment).accounts
