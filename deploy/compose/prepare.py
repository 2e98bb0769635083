"""Writes what the network of compose.yaml needs before it starts: keys, genesis block, configurations, passwords.

Run by the service `prepare`, once; what is there is left alone. Every key and password is made here, anew for each
network: nothing secret is in the repository. The owner of groups is an account that is made here, too.
"""

import base64
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import rlp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from eth_keys import keys
from eth_utils.address import to_canonical_address, to_checksum_address

MEMBERS: Final = ("member1", "member2", "member3")
CHAIN_ID: Final = 1337
SUBNET: Final = "172.28.33"
"""Besu finds its peers by address, not by name: compose.yaml gives the nodes .11, .12 and .13 of it."""
BESU_USER: Final = 1000
DAEMON_USER: Final = 10001
POSTGRES_USER: Final = 70
GRAFANA_USER: Final = 472
KAFKA_USER: Final = 1000
KAFKA_SETTINGS: Final = """\
# One server that is broker and controller. Only QUEUE is for others: with TLS, and a password for it.
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9094
controller.listener.names=CONTROLLER
inter.broker.listener.name=INTERNAL
listeners=INTERNAL://127.0.0.1:9092,QUEUE://:9093,CONTROLLER://127.0.0.1:9094
advertised.listeners=INTERNAL://127.0.0.1:9092,QUEUE://kafka:9093
listener.security.protocol.map=INTERNAL:PLAINTEXT,QUEUE:SASL_SSL,CONTROLLER:PLAINTEXT
log.dirs=/data
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
auto.create.topics.enable=false
listener.name.queue.ssl.keystore.type=PEM
listener.name.queue.ssl.keystore.location=/etc/kafka-network/server.pem
listener.name.queue.sasl.enabled.mechanisms=PLAIN
listener.name.queue.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeKey:
    """The key that a node signs blocks and talks to its peers with."""

    private: str
    public: str
    address: str


def node_key() -> NodeKey:
    """Make one."""
    private = keys.PrivateKey(secrets.token_bytes(32))
    public = private.public_key
    return NodeKey(private=private.to_bytes().hex(), public=public.to_bytes().hex(), address=public.to_address())


def enclave_key() -> tuple[str, str]:
    """Make an enclave's key pair, private and public, in base64."""
    key = X25519PrivateKey.generate()
    private = key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(private).decode(), base64.b64encode(public).decode()


def server_certificate(name: str) -> tuple[str, str]:
    """Make a server's key and certificate in one text, as Kafka reads them, and the certificate alone, for clients.

    Nobody signs for it: who has the certificate itself knows whom it talks to.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    public = certificate.public_bytes(Encoding.PEM).decode()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() + public, public


def kafka_settings(password: str) -> str:
    """Return Kafka's settings, with the password of the one user that the queue has."""
    return KAFKA_SETTINGS.rstrip() + f' user_orchestrator="{password}";\n'


def extra_data(validators: Sequence[str]) -> str:
    """Return the genesis block's extra data for QBFT: 32 bytes, the validators in order, no vote, round 0, no seals."""
    ordered = sorted(to_canonical_address(address) for address in validators)
    encoded: bytes = rlp.encode([bytes(32), ordered, [], b"", []])
    return "0x" + encoded.hex()


def genesis(validators: Sequence[str], owner: str) -> dict[str, Any]:
    """Return the genesis block: QBFT, a block every two seconds, gas for nothing."""
    return {
        "config": {
            "chainId": CHAIN_ID,
            "berlinBlock": 0,
            "contractSizeLimit": 2147483647,
            "qbft": {"blockperiodseconds": 2, "epochlength": 30000, "requesttimeoutseconds": 4},
        },
        "nonce": "0x0",
        "timestamp": "0x58ee40ba",
        "gasLimit": "0x1fffffffffffff",
        "difficulty": "0x1",
        # Which says that the header's rules are those of a Byzantine fault tolerant consensus.
        "mixHash": "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365",
        "coinbase": "0x0000000000000000000000000000000000000000",
        "alloc": {owner.removeprefix("0x"): {"balance": "0xad78ebc5ac6200000"}},
        "extraData": extra_data(validators),
    }


def tessera(member: str) -> dict[str, Any]:
    """Return an enclave's configuration: Besu reaches it as Q2T, other enclaves as P2P, the daemon as ThirdParty."""
    return {
        "mode": "orion",
        "useWhiteList": False,
        "jdbc": {
            "username": "sa",
            "password": "",
            "url": "jdbc:h2:/data/tessera;MODE=Oracle;TRACE_LEVEL_SYSTEM_OUT=0",
            "autoCreateTables": True,
        },
        "serverConfigs": [
            {
                "app": app,
                "serverAddress": f"http://{member}-tessera:{port}",
                "bindingAddress": f"http://0.0.0.0:{port}",
                "communicationType": "REST",
            }
            for app, port in (("ThirdParty", 9080), ("Q2T", 9101), ("P2P", 9000))
        ],
        "peer": [{"url": f"http://{other}-tessera:9000"} for other in MEMBERS],
        "keys": {
            "passwords": [],
            "keyData": [{"privateKeyPath": "/network/tessera.key", "publicKeyPath": "/network/tessera.pub"}],
        },
        "alwaysSendTo": [],
    }


def configuration(template: str, owner: str, enclave_keys: Sequence[str]) -> str:
    """Return the daemon's configuration: the template, and below it the nodes and the owner."""
    parts = [template.rstrip()]
    for member, key in zip(MEMBERS, enclave_keys, strict=True):
        parts.append(
            f'[[nodes]]\nname = "{member}"\nhttp = "http://{member}-besu:8545"\nws = "ws://{member}-besu:8546"\n'
            f'enclave_keys = ["{key}"]\nenclave = "http://{member}-tessera:9080"'
        )
    parts.append(f'[[accounts]]\naddress = "{owner}"\nkey_file = "owner.key"')
    return "\n\n".join(parts) + "\n"


def files(template: str) -> dict[str, tuple[str, int, int]]:
    """Return everything that is written: text, mode and owner by its path."""
    nodes = [node_key() for _ in MEMBERS]
    enclaves = [enclave_key() for _ in MEMBERS]
    owner = node_key()
    toml = configuration(template, to_checksum_address(owner.address), [public for _, public in enclaves])
    store_password, queue_password = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    enodes = [f"enode://{key.public}@{SUBNET}.{11 + number}:30303" for number, key in enumerate(nodes)]
    block = json.dumps(genesis([key.address for key in nodes], owner.address), indent=2)
    written: dict[str, tuple[str, int, int]] = {}
    for member, key, (private, public), enode in zip(MEMBERS, nodes, enclaves, enodes, strict=True):
        others = [other for other in enodes if other != enode]
        locked = json.dumps({"type": "unlocked", "data": {"bytes": private}})
        written |= {
            f"{member}/genesis.json": (block, 0o400, BESU_USER),
            f"{member}/static-nodes.json": (json.dumps(others), 0o400, BESU_USER),
            f"{member}/node.key": (key.private, 0o400, BESU_USER),
            f"{member}/tessera.pub": (public, 0o400, BESU_USER),
            f"{member}/tessera.key": (locked, 0o400, BESU_USER),
            f"{member}/tessera.json": (json.dumps(tessera(member), indent=2), 0o400, BESU_USER),
        }
    kafka, kafka_certificate = server_certificate("kafka")
    queue = "authorization {\n  user: orchestrator\n  password: " + json.dumps(queue_password) + "\n}\n"
    return written | {
        "daemon/orchestrator.toml": (toml, 0o400, DAEMON_USER),
        "daemon/owner.key": (owner.private, 0o400, DAEMON_USER),
        "daemon/store.password": (store_password, 0o400, DAEMON_USER),
        "daemon/queue.password": (queue_password, 0o400, DAEMON_USER),
        "daemon/kafka.pem": (kafka_certificate, 0o400, DAEMON_USER),
        "postgres/password": (store_password, 0o400, POSTGRES_USER),
        "nats/nats.conf": ("port: 4222\njetstream { store_dir: /data }\n" + queue, 0o400, BESU_USER),
        "kafka/server.pem": (kafka, 0o400, KAFKA_USER),
        "kafka/server.properties": (kafka_settings(queue_password), 0o400, KAFKA_USER),
        "grafana/password": (secrets.token_urlsafe(24), 0o400, GRAFANA_USER),
    }


def write(folder: Path, template: str, *, own: bool = True) -> bool:
    """Write everything below a folder, unless it was done before; returns whether it was written.

    Args:
        folder: Where; each part of the network gets a folder of its own, which only its user can enter.
        template: The daemon's configuration without nodes and accounts.
        own: Whether files are given to the users of the containers, which only root can do.
    """
    done = folder / "done"
    if done.exists():
        return False
    for name, (text, mode, user) in files(template).items():
        path = folder / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.unlink(missing_ok=True)  # of a run that was cut off
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        if own:
            os.chown(path, user, user)
            os.chown(path.parent, user, user)
    done.touch()
    return True


if __name__ == "__main__":
    made = write(Path(sys.argv[1]), Path(sys.argv[2]).read_text())
    sys.stdout.write("the network's keys are made\n" if made else "the network's keys are there\n")
