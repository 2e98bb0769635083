import base64
import importlib.util
import json
import sys
import tomllib
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import rlp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from jsonschema import Draft202012Validator

from orchestrator.besu.client.signers import signer_from_key
from orchestrator.config import load_config
from orchestrator.devnet.encoding import to_base64
from tests.contract.deploy.places import COMPOSE, DEPLOY, yaml_of

OPTIONS = json.loads((Path(__file__).parent / "options.json").read_text())
SERVICES: dict[str, dict[str, Any]] = yaml_of(COMPOSE / "compose.yaml")["services"]
KAFKA = "4.3.1"
BESU = "25.4.1"
LINES = ["20.10.4", "21.1.7", "22.4.4", "23.10.3", "24.12.2", "25.4.1", "25.5.0"]


def with_kafka() -> dict[str, Any]:
    """What Compose makes of the two files: lists of volumes grow, mappings are laid over each other."""
    whole, over = yaml_of(COMPOSE / "compose.yaml"), yaml_of(COMPOSE / "kafka.yaml")
    for name, service in over["services"].items():
        below = whole["services"].setdefault(name, {})
        for key, value in service.items():
            if key == "volumes":
                below[key] = [*below.get(key, []), *value]
            elif key in {"environment", "depends_on"}:
                below[key] = below.get(key, {}) | value
            else:
                below[key] = value
    whole["volumes"] |= over["volumes"]
    return whole


NETWORKS = [yaml_of(COMPOSE / "compose.yaml"), with_kafka()]


@pytest.fixture(scope="module")
def prepare() -> ModuleType:
    spec = importlib.util.spec_from_file_location("prepare_network", COMPOSE / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def network(prepare: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    assert prepare.write(folder, (COMPOSE / "orchestrator.toml").read_text(), own=False)
    return folder


@pytest.mark.parametrize("name", ["compose.yaml", "kafka.yaml"])
def test_the_compose_file_is_one(name: str) -> None:
    """It follows the Compose specification's schema."""
    place = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(place.read_text())
    mistakes = Draft202012Validator(schema).iter_errors(yaml_of(COMPOSE / name))
    assert [f"{mistake.json_path}: {mistake.message}" for mistake in mistakes] == []


@pytest.mark.parametrize("whole", NETWORKS, ids=["nats", "kafka"])
def test_services_know_each_other(whole: dict[str, Any]) -> None:
    """Whatever a service waits for, shares a network with, or mounts is in the file or beside it."""
    services = whole["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        assert set(service.get("networks", {})) <= set(whole["networks"]), name
        shared = service.get("network_mode", "none")
        assert shared == "none" or shared.removeprefix("service:") in services, name
        for mount in service.get("volumes", []):
            source = mount["source"] if isinstance(mount, dict) else mount.split(":")[0]
            there = (COMPOSE / source).exists() if source.startswith(".") else source in whole["volumes"]
            assert there, f"{name}: {source}"


def test_no_service_can_write_where_it_need_not() -> None:
    """Every service has a read-only root and no capabilities, and none but those that own files is root."""
    for name, service in with_kafka()["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "0:0" not in service.get("user", "") or name in {"prepare", "own-volumes"}, name


def test_nothing_is_published_beyond_this_machine() -> None:
    """Ports that are opened are opened on loopback."""
    ports = [port for service in with_kafka()["services"].values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_besu_knows_its_options() -> None:
    """Every option that the members' nodes are started with is one of the release that they run."""
    given = set(tomllib.loads((COMPOSE / "besu.toml").read_text()))
    for service in SERVICES.values():
        if "besu" in service["image"]:
            assert service["image"].endswith(f":{BESU}")
            given |= {argument.partition("=")[0].removeprefix("--") for argument in service["command"]}
    known = OPTIONS["besu"]
    assert given == set(known)
    for option in given:
        since, until = (LINES.index(known[option][end]) for end in ("since", "until"))
        assert since <= LINES.index(BESU) <= until, option


def test_tessera_knows_its_keys(network: Path) -> None:
    """Every key of the enclaves' configurations is one that Tessera's configuration has, and the files are there."""
    known = {place: set(keys) for place, keys in OPTIONS["tessera"].items()}
    for member in ("member1", "member2", "member3"):
        written = json.loads((network / member / "tessera.json").read_text())
        assert set(written) <= known[""]
        for place in ("jdbc", "keys"):
            assert set(written[place]) <= known[place]
        entries = [("serverConfigs", entry) for entry in written["serverConfigs"]]
        entries += [("peer", entry) for entry in written["peer"]]
        entries += [("keys.keyData", entry) for entry in written["keys"]["keyData"]]
        assert all(set(entry) <= known[place] for place, entry in entries)
        assert {entry["app"] for entry in written["serverConfigs"]} == {"Q2T", "P2P", "ThirdParty"}
        (pair,) = written["keys"]["keyData"]
        assert all((network / member / Path(path).name).exists() for path in pair.values())


def test_the_enclaves_keys_are_pairs(network: Path) -> None:
    """The public key beside each enclave's private one is its own."""
    for member in ("member1", "member2", "member3"):
        private = json.loads((network / member / "tessera.key").read_text())["data"]["bytes"]
        public = X25519PrivateKey.from_private_bytes(base64.b64decode(private)).public_key().public_bytes_raw()
        assert (network / member / "tessera.pub").read_text() == to_base64(public)


def test_the_genesis_block_names_the_members_nodes(network: Path) -> None:
    """The first block's validators are the accounts of the three nodes' keys, in QBFT's order and form."""
    blocks = {(network / member / "genesis.json").read_text() for member in ("member1", "member2", "member3")}
    (block,) = blocks
    vanity, validators, vote, round_number, seals = rlp.decode(bytes.fromhex(json.loads(block)["extraData"][2:]))
    keys = [(network / member / "node.key").read_text() for member in ("member1", "member2", "member3")]
    accounts = sorted(bytes.fromhex(signer_from_key(key).address[2:]) for key in keys)
    assert (vanity, list(validators), list(vote), round_number, list(seals)) == (bytes(32), accounts, [], b"", [])


def test_nodes_find_each_other(network: Path) -> None:
    """Each node knows the two others by key and by the address that the compose file gives them."""
    for number in (1, 2, 3):
        member = f"member{number}"
        peers = json.loads((network / member / "static-nodes.json").read_text())
        addresses = {enode.split("@")[1].split(":")[0] for enode in peers}
        others = {f"member{other}-besu" for other in (1, 2, 3) if other != number}
        assert addresses == {SERVICES[other]["networks"]["consortium"]["ipv4_address"] for other in others}


def test_the_daemons_configuration_is_valid(network: Path) -> None:
    """What is written for the daemons is a configuration that they take, with secrets that nobody else can read."""
    config = load_config(network / "daemon" / "orchestrator.toml", {})
    assert [node.name for node in config.nodes] == ["member1", "member2", "member3"]
    hosts = {node.http.split("//")[1].split(":")[0] for node in config.nodes}
    assert hosts <= set(SERVICES)
    key = (network / "daemon" / "owner.key").read_text()
    assert signer_from_key(key).address == config.accounts[0].address
    assert all(path.stat().st_mode & 0o077 == 0 for path in network.rglob("*") if path.name != "done")


def test_kafka_knows_its_settings(network: Path) -> None:
    """Every setting is one that the release of the image has, and only the listener with TLS is for other machines."""
    kafka = with_kafka()["services"]["kafka"]
    assert kafka["image"].endswith(f":{KAFKA}")
    pom = (Path(__file__).parents[2] / "servers" / "kafka" / "pom.xml").read_text()
    assert f"<version>{KAFKA}</version>" in pom, "what the tests run is what is deployed"
    lines = (network / "kafka" / "server.properties").read_text().splitlines()
    settings = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert set(settings) == set(OPTIONS["kafka"])
    protocols = dict(part.split(":") for part in settings["listener.security.protocol.map"].split(","))
    listeners = dict(part.split("://") for part in settings["listeners"].split(","))
    reachable = {name for name, address in listeners.items() if not address.startswith("127.0.0.1:")}
    assert {protocols[name] for name in reachable} == {"SASL_SSL"}
    mounted = {f"{mount['target']}/server.pem" for mount in kafka["volumes"] if isinstance(mount, dict)}
    assert settings["listener.name.queue.ssl.keystore.location"] in mounted


def test_the_daemons_reach_kafka(network: Path) -> None:
    """With the second file the daemons' configuration is one for Kafka, by its certificate's name and its password; and
    nothing waits for NATS, which is left out.
    """
    services = with_kafka()["services"]
    settings = (network / "kafka" / "server.properties").read_text()
    certificate = x509.load_pem_x509_certificate((network / "daemon" / "kafka.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    for name in ("orchestrator1", "orchestrator2"):
        given = {
            key: value.replace("/etc/orchestrator", str(network / "daemon"))
            for key, value in services[name]["environment"].items()
        }
        config = load_config(network / "daemon" / "orchestrator.toml", given)
        host, port = config.broker.url.removeprefix("kafkas://").split(":")
        assert (host, names.get_values_for_type(x509.DNSName)) == ("kafka", ["kafka"])
        assert f"advertised.listeners=INTERNAL://127.0.0.1:9092,QUEUE://{host}:{port}\n" in settings
        assert config.broker.password_file is not None
        assert f'user_{config.broker.user}="{config.broker.password_file.read_text()}";' in settings
        assert config.broker.ca_file is not None
        assert config.broker.sasl_mechanism == "PLAIN"
        assert services[name]["depends_on"]["nats"]["required"] is False
    assert services["nats"]["profiles"]


def test_a_network_is_made_once(prepare: ModuleType, network: Path) -> None:
    """A second start makes no new keys: the first network would be gone."""
    before = {path: path.read_bytes() for path in network.rglob("*") if path.is_file()}
    assert not prepare.write(network, "[store]", own=False)
    assert {path: path.read_bytes() for path in network.rglob("*") if path.is_file()} == before


def test_no_secret_is_in_the_repository() -> None:
    """The files of deploy/ hold no private key, neither as Besu writes them nor as Tessera does."""
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            text = path.read_text()
            assert "PRIVATE KEY" not in text
            assert '"unlocked", "data": {"bytes": "' not in text
