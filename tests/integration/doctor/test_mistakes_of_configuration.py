"""Each mistake of configuration, one by one, on one emulated network: the doctor names it and the line to write."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from orchestrator.besu import HttpNode, Node, open_session
from orchestrator.cli.verbs.doctor import examine
from orchestrator.config import load_config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.doctor.findings import Finding, Level
from tests.patience import patient

pytestmark = pytest.mark.asyncio(loop_scope="module")

NOBODYS_KEY = "KkOjNLmCI6r+mICrC6l+XuEDjFEzQllaMQMpWLl4y1s="
ANOTHER_KEY = "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo="

Settings = Mapping[str, str | list[str]]


@dataclass
class Network:
    """A devnet whose enclaves have ports, and a configuration file for it."""

    devnet: Devnet
    file: Path

    def right(self, number: int) -> dict[str, str | list[str]]:
        """What is right for a node, from 1."""
        node = self.devnet.nodes[number - 1]
        return {
            "http": node.http_url,
            "ws": node.ws_url,
            "enclave": node.enclave_url,
            "enclave_keys": [node.enclave_key],
        }

    def configure(self, mistakes: Mapping[int, Settings]) -> None:
        text = ""
        for node in self.devnet.nodes:
            text += f'[[nodes]]\nname = "m{node.number}"\n'
            for name, value in {**self.right(node.number), **mistakes.get(node.number, {})}.items():
                text += f"{name} = {value!r}\n"
        self.file.write_text(text)

    async def found(self, mistakes: Mapping[int, Settings], head_within_seconds: float = 5.0) -> list[Finding]:
        """The warnings and errors about nodes; there is no account, and blocks faster than a second lead the clock."""
        self.configure(mistakes)
        findings = await examine(load_config(self.file, {}), head_within_seconds=patient(head_within_seconds))
        told = [f for f in findings if f.level in (Level.WARNING, Level.ERROR)]
        return [f for f in told if f.check not in {"account-key", "clock-skew"}]

    async def blocks(self) -> int:
        """How many transactions the chain has."""
        async with open_session() as session:
            node = Node(HttpNode(session, self.devnet.nodes[0].http_url))
            return sum(len(block.transactions) for block in await node.blocks(0, await node.head_number()))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def network(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Network]:
    config = DevnetConfig(base_port=0, block_period_seconds=0.2, history=3, enclave_http=True, validators=1)
    async with running_devnet(config) as devnet:
        yield Network(devnet, tmp_path_factory.mktemp("doctor") / "orchestrator.toml")


async def test_nothing_is_wrong_with_what_is_right(network: Network) -> None:
    """Without a mistake nothing is warned of, and looking puts no transaction on the chain."""
    before = await network.blocks()
    assert await network.found({}) == []
    assert await network.blocks() == before


async def test_enclave_keys_that_were_exchanged(network: Network) -> None:
    """Both nodes are named, each with the line to write, though both are members of the same groups."""
    first, second = (network.devnet.nodes[n].enclave_key for n in (0, 1))
    found = await network.found({1: {"enclave_keys": [second]}, 2: {"enclave_keys": [first]}})
    keys = {f.node: f for f in found if f.check == "enclave-key"}
    assert {f.level for f in keys.values()} == {Level.ERROR}
    assert keys["m1"].copy == (f'enclave_keys = ["{first}"]',)
    assert keys["m2"].copy == (f'enclave_keys = ["{second}"]',)
    assert {f.check for f in found} == {"enclave-key"}  # one remedy for one mistake
    assert "which the configuration gives to m2" in keys["m1"].what


async def test_an_enclave_key_that_nobody_hosts(network: Network) -> None:
    """A key that the node does not know is an error; the right one is found among the members of its groups."""
    found = await network.found({1: {"enclave_keys": [NOBODYS_KEY]}, 3: {"enclave_keys": [ANOTHER_KEY]}})
    assert {(f.node, f.check, f.level) for f in found} == {
        ("m1", "enclave-key", Level.ERROR),
        ("m3", "enclave-key", Level.ERROR),
    }
    member, stranger = found
    assert member.copy == (f'enclave_keys = ["{network.devnet.nodes[0].enclave_key}"]',)
    assert "--privacy-public-key-file" in stranger.remedy


async def test_a_key_too_many(network: Network) -> None:
    """A node acts as one key; a second one in its configuration is taken out."""
    own = network.devnet.nodes[2].enclave_key
    found = await network.found({3: {"enclave_keys": [own, NOBODYS_KEY]}})
    (warned,) = [f for f in found if f.check == "enclave-key"]
    assert warned.level is Level.WARNING
    assert warned.copy == (f'enclave_keys = ["{own}"]',)


async def test_the_websocket_of_another_node(network: Network) -> None:
    """A ws address that leads to another configured node is an error that names that node."""
    found = await network.found({1: {"ws": network.devnet.nodes[1].ws_url}})
    (wrong,) = found
    assert (wrong.node, wrong.check, wrong.level) == ("m1", "websocket-node", Level.ERROR)
    assert "leads to node m2" in wrong.what


async def test_websockets_that_were_exchanged(network: Network) -> None:
    """Two that were mixed up are told as such, with both lines to write."""
    first, second = (network.devnet.nodes[n].ws_url for n in (0, 1))
    found = await network.found({1: {"ws": second}, 2: {"ws": first}})
    assert [(f.node, f.check) for f in found] == [("m1", "websocket-node"), ("m2", "websocket-node")]
    assert found[0].copy == (f'ws = "{first}"  # of m1', f'ws = "{second}"  # of m2')


async def test_the_enclave_of_another_member(network: Network) -> None:
    """An enclave that is up and is another member's hosts another key."""
    found = await network.found({1: {"enclave": network.devnet.nodes[1].enclave_url}})
    (wrong,) = found
    assert (wrong.node, wrong.check, wrong.level) == ("m1", "enclave-host", Level.ERROR)
    assert "it hosts" in wrong.what
    assert "to m2" in wrong.what


async def test_enclaves_that_were_exchanged(network: Network) -> None:
    """Two that were mixed up are told as such, with both lines to write."""
    first, second = (network.devnet.nodes[n].enclave_url for n in (0, 1))
    found = await network.found({1: {"enclave": second}, 2: {"enclave": first}})
    assert [(f.node, f.check) for f in found] == [("m1", "enclave-host"), ("m2", "enclave-host")]
    assert found[0].copy == (f'enclave = "{first}"  # of m1', f'enclave = "{second}"  # of m2')


@pytest.mark.parametrize("which", ["http_url", "ws_url"])
async def test_a_nodes_port_in_place_of_the_enclave(network: Network, which: str) -> None:
    """The address of a Besu node's port at nodes.enclave is an error of the enclave's check."""
    url = getattr(network.devnet.nodes[0], which).replace("ws://", "http://")
    found = await network.found({1: {"enclave": url}})
    assert {(f.node, f.check, f.level) for f in found} == {("m1", "enclave", Level.ERROR)}
    if which == "http_url":
        assert "is a node's JSON-RPC, not an enclave" in found[0].what


async def test_a_node_whose_enclave_lacks_its_key(network: Network) -> None:
    """Besu with the address of another enclave: the configuration says the same, and the key is not hosted there."""
    other = network.devnet.nodes[1].enclave_url
    await network.devnet.call(1, "devnet_setEnclaveUrl", [3, other])
    found = await network.found({3: {"enclave": other}})
    await network.devnet.call(1, "devnet_setEnclaveUrl", [3, None])
    (wrong,) = found
    assert (wrong.node, wrong.check) == ("m3", "enclave-host")
    assert "give the enclave that key" in wrong.remedy


async def test_a_node_without_peers_stands_still(network: Network) -> None:
    """A node that lost its peers is told from one that is late, and the remedy is a restart of its Besu."""
    await network.devnet.call(1, "devnet_setPropagation", [3, False, False])
    await network.devnet.call(1, "devnet_mine", [8])
    found = await network.found({}, head_within_seconds=1.5)
    await network.devnet.call(1, "devnet_setPropagation", [3, True, True])
    still = next(f for f in found if f.check == "stands-still")
    assert (still.node, still.level) == ("m3", Level.ERROR)
    assert "it has no peers" in still.what
    assert still.remedy.startswith("Restart this node's Besu")
    assert {f.check for f in found if f.level is Level.ERROR} == {"stands-still"}  # one cause, one error
    assert "peers" in {f.check for f in found}
