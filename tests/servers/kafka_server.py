"""A real Kafka server: one node that is broker and controller (KRaft), on loopback, from Maven's packages."""

import base64
import socket
import struct
import time
import uuid
from pathlib import Path

import trustme
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.patience import patient, within
from tests.servers import programs
from tests.servers.loopback_server import LoopbackServer
from tests.servers.ports import free_port

_PRODUCER_ID = struct.pack(">hhihhi", 22, 0, 1, -1, -1, 1000)
"""The question for an id of an idempotent producer, which a server answers last of all when it starts."""
_ANSWER = struct.Struct(">iiih")
_CALL_SECONDS = 20.0
_POLL_SECONDS = 0.01
_ITERATIONS = 4096
PLAIN_USER = "plain"
PLAIN_PASSWORD = "hush"


class KafkaServer(LoopbackServer):
    """Kafka on 127.0.0.1; topics survive ``kill`` and ``restart``.

    It listens four times: ``url`` asks for nothing, and whoever comes that way may do everything; ``scram_url`` wants
    user and password (SCRAM), ``tls_url`` the same over TLS, where PLAIN will do as well, and ``certificate_url`` a
    certificate of the client. Users that come that way may do what ``allow`` said.
    """

    name = "kafka"
    start_seconds = 60.0
    stop_seconds = 20.0

    def __init__(self) -> None:
        super().__init__()
        self._controller_port, self._scram_port = free_port(), free_port()
        self._tls_port, self._certificate_port = free_port(), free_port()
        self._admin: AdminClient | None = None
        data = self.directory / "data"
        data.mkdir()
        # What `kafka-storage.sh format` would write, which is another second of Java.
        (data / "meta.properties").write_text(
            f"version=1\ncluster.id=for-tests\nnode.id=1\ndirectory.id={_directory_id()}\n"
        )
        self._certify()
        (self.directory / "server.properties").write_text(self._settings(data))

    @property
    def url(self) -> str:
        """Where nothing is asked."""
        return f"kafka://127.0.0.1:{self.port}"

    @property
    def scram_url(self) -> str:
        """Where user and password are asked for, without TLS."""
        return f"kafka://127.0.0.1:{self._scram_port}"

    @property
    def tls_url(self) -> str:
        """Where user and password are asked for over TLS."""
        return f"kafkas://127.0.0.1:{self._tls_port}"

    @property
    def certificate_url(self) -> str:
        """Where a certificate is asked for; its common name is the user's."""
        return f"kafkas://127.0.0.1:{self._certificate_port}"

    @property
    def admin(self) -> AdminClient:
        """A client of somebody who may do everything."""
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{self.port}", "log_level": 2})
        return self._admin

    def create_user(self, password: str) -> str:
        """Create a user who may do nothing yet, and return its name."""
        name = f"user-{uuid.uuid4().hex[:12]}"
        mechanisms = (ScramMechanism.SCRAM_SHA_512, ScramMechanism.SCRAM_SHA_256)
        wanted = [
            UserScramCredentialUpsertion(name, ScramCredentialInfo(mechanism, _ITERATIONS), password.encode())
            for mechanism in mechanisms
        ]
        for upsertion in wanted:
            for future in self.admin.alter_user_scram_credentials([upsertion]).values():
                future.result(patient(_CALL_SECONDS))
        return name

    def create_topic(self, name: str, **config: str) -> None:
        """Create a topic of one partition, with settings, which the server has when this returns.

        The controller answers when the topic is in its log; the broker, which is asked, reads that log a moment later.
        """
        wanted = NewTopic(name, 1, 1, config={key.replace("_", "."): value for key, value in config.items()})
        self.admin.create_topics([wanted])[name].result(patient(_CALL_SECONDS))
        for _ in within(_CALL_SECONDS):
            if name in self.admin.list_topics(timeout=patient(_CALL_SECONDS)).topics:
                return
            time.sleep(_POLL_SECONDS)
        msg = f"the topic {name} is not there after {_CALL_SECONDS:g} s"
        raise TimeoutError(msg)

    def allow(
        self, user: str, kind: ResourceType, name: str, *operations: AclOperation, prefixed: bool = False
    ) -> None:
        """Let a user do things with a topic or group, or with all whose names begin so, from when this returns on.

        The controller answers when the grant is in its log; the broker, which decides, reads that log a moment later.
        """
        pattern = ResourcePatternType.PREFIXED if prefixed else ResourcePatternType.LITERAL
        bindings = [
            AclBinding(kind, name, pattern, f"User:{user}", "*", operation, AclPermissionType.ALLOW)
            for operation in operations
        ]
        for future in self.admin.create_acls(bindings).values():
            future.result(patient(_CALL_SECONDS))
        granted = AclBindingFilter(kind, name, pattern, f"User:{user}", "*", AclOperation.ANY, AclPermissionType.ALLOW)
        for _ in within(_CALL_SECONDS):
            if set(bindings) <= set(self.admin.describe_acls(granted).result(patient(_CALL_SECONDS))):
                return
            time.sleep(_POLL_SECONDS)
        msg = f"what {user} was allowed is not in force after {_CALL_SECONDS:g} s"
        raise TimeoutError(msg)

    def delete_topics(self, prefix: str) -> None:
        """Delete the topics whose names begin so."""
        names = [
            name for name in self.admin.list_topics(timeout=patient(_CALL_SECONDS)).topics if name.startswith(prefix)
        ]
        if names:
            for future in self.admin.delete_topics(names).values():
                try:
                    future.result(patient(_CALL_SECONDS))
                except KafkaException:
                    return  # it is gone already

    def command(self) -> list[str]:
        """See LoopbackServer."""
        jars = programs.kafka_jars()
        return [
            programs.find_program("java"),
            "-Xmx256m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",  # it lives for a minute: compiling well costs more than it brings
            "-XX:-UsePerfData",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-cp",
            f"{jars}/*",
            "kafka.Kafka",
            str(self.directory / "server.properties"),
        ]

    def is_ready(self) -> bool:
        """The server gives out ids to producers."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(struct.pack(">i", len(_PRODUCER_ID)) + _PRODUCER_ID)
                answer = connection.recv(_ANSWER.size, socket.MSG_WAITALL)
        except OSError:
            return False
        return len(answer) == _ANSWER.size and _ANSWER.unpack(answer)[3] == 0

    def _certify(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.directory / "ca.pem"))
        server = authority.issue_cert("127.0.0.1", "localhost")
        key = load_pem_private_key(server.private_key_pem.bytes(), None)
        # Java reads keys in PKCS #8 only, and wants key and certificates in one file.
        text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        chain = b"".join(pem.bytes() for pem in server.cert_chain_pems)
        (self.directory / "server.pem").write_bytes(text + chain)
        client = authority.issue_cert("orchestrator", common_name="orchestrator")
        client.private_key_pem.write_to_path(str(self.directory / "client.key"))
        for pem in client.cert_chain_pems:
            pem.write_to_path(str(self.directory / "client.pem"), append=True)
        trustme.CA().cert_pem.write_to_path(str(self.directory / "other-ca.pem"))

    def _settings(self, data: Path) -> str:
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
        return f"""
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{self._controller_port}
controller.listener.names=CONTROLLER
inter.broker.listener.name=OPEN
listeners=OPEN://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port},\
SCRAM://127.0.0.1:{self._scram_port},TLS://127.0.0.1:{self._tls_port},CERTIFICATE://127.0.0.1:{self._certificate_port}
listener.security.protocol.map=OPEN:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_PLAINTEXT,TLS:SASL_SSL,CERTIFICATE:SSL
log.dirs={data}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
auto.create.topics.enable=false
num.network.threads=1
num.io.threads=2
background.threads=2
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=4194304
ssl.keystore.type=PEM
ssl.keystore.location={self.directory}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={self.directory}/ca.pem
ssl.principal.mapping.rules=RULE:^.*CN=([^,]*).*$/$1/
listener.name.certificate.ssl.client.auth=required
listener.name.scram.sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256
listener.name.scram.scram-sha-512.sasl.jaas.config={scram} required;
listener.name.scram.scram-sha-256.sasl.jaas.config={scram} required;
listener.name.tls.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.tls.scram-sha-512.sasl.jaas.config={scram} required;
listener.name.tls.plain.sasl.jaas.config={plain} required user_{PLAIN_USER}="{PLAIN_PASSWORD}";
"""


def _directory_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
