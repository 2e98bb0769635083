"""Fixtures that give tests real servers, started when first asked for and ended with the test run.

``tests/conftest.py`` loads this module, so every test can use them; ``docs/development.md`` shows how.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers import programs
from tests.servers.kafka_server import KafkaServer
from tests.servers.loopback_server import guard
from tests.servers.nats_server import NatsServer
from tests.servers.postgresql_server import PostgreSQLServer
from tests.servers.rabbitmq_server import RabbitMQServer


@pytest.fixture(scope="session")
def _guarded() -> Iterator[None]:
    yield
    guard.close()


@pytest.fixture(scope="session")
def _postgresql(_guarded: None) -> Iterator[PostgreSQLServer]:
    with PostgreSQLServer() as server:
        yield server


@pytest.fixture(scope="session")
def _rabbitmq(_guarded: None) -> Iterator[RabbitMQServer]:
    with RabbitMQServer() as server:
        yield server


@pytest.fixture(scope="session")
def _kafka(_guarded: None) -> Iterator[KafkaServer]:
    with KafkaServer() as server:
        yield server


@pytest.fixture
def nats_server(_guarded: None) -> Iterator[NatsServer]:
    """A NATS server of this test's own, with JetStream and nothing stored."""
    with NatsServer() as server:
        yield server


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    """Address of ``nats_server``."""
    return nats_server.url


@pytest.fixture
def postgresql_server(_postgresql: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """The PostgreSQL server of the test run; running again after the test, whatever the test did to it."""
    yield _postgresql
    _postgresql.start()


@pytest.fixture
def postgresql_database(postgresql_server: PostgreSQLServer) -> Iterator[str]:
    """Name of an empty database of this test's own, dropped after it."""
    name = postgresql_server.create_database()
    yield name
    postgresql_server.start()
    postgresql_server.drop_database(name)


@pytest.fixture
def postgresql_url(postgresql_server: PostgreSQLServer, postgresql_database: str) -> str:
    """Address of ``postgresql_database``."""
    return postgresql_server.url_of(postgresql_database)


@pytest.fixture
def rabbitmq_server(_rabbitmq: RabbitMQServer) -> Iterator[RabbitMQServer]:
    """The RabbitMQ server of the test run; running again after the test, whatever the test did to it."""
    yield _rabbitmq
    _rabbitmq.start()


@pytest.fixture
def rabbitmq_virtual_host(rabbitmq_server: RabbitMQServer) -> Iterator[str]:
    """Name of an empty virtual host of this test's own, deleted after it."""
    name = rabbitmq_server.create_virtual_host()
    yield name
    rabbitmq_server.start()
    rabbitmq_server.delete_virtual_host(name)


@pytest.fixture
def rabbitmq_url(rabbitmq_server: RabbitMQServer, rabbitmq_virtual_host: str) -> str:
    """Address of ``rabbitmq_virtual_host``."""
    return rabbitmq_server.url_of(rabbitmq_virtual_host)


@pytest.fixture
def kafka_server(_kafka: KafkaServer) -> Iterator[KafkaServer]:
    """The Kafka server of the test run; running again after the test, whatever the test did to it."""
    yield _kafka
    _kafka.start()


@pytest.fixture
def kafka_prefix(kafka_server: KafkaServer) -> Iterator[str]:
    """What the names of this test's topics begin with; those topics are deleted after it."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield prefix
    kafka_server.start()
    kafka_server.delete_topics(prefix)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    """Path of the Chromium for Playwright's ``executable_path``."""
    return programs.chromium()


@pytest.fixture(scope="session")
def node_path() -> str:
    """Path of Node.js."""
    return programs.find_program("node")


@pytest.fixture(scope="session")
def web3js_quorum_folder() -> Path:
    """Working directory in which Node.js finds ``web3js-quorum`` and ``web3``."""
    return programs.web3js_quorum()
