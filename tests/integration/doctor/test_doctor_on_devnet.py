"""The doctor against emulated nodes of each version, and with each trouble that can be made there."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from aiohttp import web
from rich.console import Console
from typer.testing import CliRunner, Result

from orchestrator.besu import FlexiblePrivacyGroups, HttpNode, Node, open_session, signer_from_key
from orchestrator.besu.codec.management_contract import Method
from orchestrator.cli.display.findings import show
from orchestrator.cli.verbs.doctor import doctor, examine
from orchestrator.config import load_config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.doctor.findings import Finding, Level, is_healthy
from tests.integration.doctor.applications import OWNER, OWNER_KEY, apply
from tests.patience import patient
from tests.servers.local_application import served


@dataclass
class Examined:
    """A devnet and its configuration file."""

    devnet: Devnet
    file: Path

    def configure(self, *, node_lines: str = "", chain: str = "", key: str = OWNER_KEY, nodes: int = 3) -> None:
        key_file = self.file.parent / "owner.key"
        key_file.write_text(key)
        key_file.chmod(0o600)
        text = f"[chain]\n{chain}\n"
        for node in self.devnet.nodes[:nodes]:
            text += f'[[nodes]]\nname = "m{node.number}"\nhttp = "{node.http_url}"\nws = "{node.ws_url}"\n'
            text += f'enclave_keys = ["{node.enclave_key}"]\n{node_lines}\n'
        text += f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "owner.key"\n'
        self.file.write_text(text)

    async def examine(self, head_within_seconds: float = 5.0) -> tuple[Finding, ...]:
        return await examine(load_config(self.file, {}), head_within_seconds=patient(head_within_seconds))

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[FlexiblePrivacyGroups]:
        """The client of the owner's account at the first node."""
        node = self.devnet.nodes[0]
        async with open_session() as session:
            http = HttpNode(session, node.http_url)
            yield FlexiblePrivacyGroups(Node(http), signer_from_key(OWNER_KEY), node.enclave_key, poll_seconds=0.02)

    async def command(self, *arguments: str) -> Result:
        """Run the command in a thread of its own, as it has an event loop of its own."""
        app = typer.Typer()
        app.command()(doctor)
        return await asyncio.to_thread(CliRunner().invoke, app, ["--config", str(self.file), *arguments])


Starting = Callable[..., AbstractAsyncContextManager[Examined]]


@pytest.fixture
def examined(tmp_path: Path) -> Starting:
    """Start a devnet with one group of its first two nodes, and write a configuration for it."""

    @asynccontextmanager
    async def start(**settings: object) -> AsyncIterator[Examined]:
        given = {"base_port": 0, "block_period_seconds": 0.2, "history": 3, **settings}
        async with running_devnet(DevnetConfig(**given)) as devnet:  # type: ignore[arg-type] # keywords of the test
            made = Examined(devnet, tmp_path / "orchestrator.toml")
            made.configure()
            yield made

    return start


def levels(findings: tuple[Finding, ...], check: str) -> list[Level]:
    return [finding.level for finding in findings if finding.check == check]


@pytest.mark.parametrize("version", ["21.1.7", "22.4.4", "23.10.3", "25.4.1"])
async def test_a_network_of_each_version_is_healthy(examined: Starting, version: str) -> None:
    """A well-set network has nothing worse than the note that it is an old version."""
    # Blocks that are made faster than their times go on lead the clock, by the more the longer the doctor looks.
    async with examined(besu_version=version, block_period_seconds=1.0) as network:
        findings = await network.examine()
    assert is_healthy(findings)
    assert {f.check for f in findings if f.level is Level.WARNING} == ({"version"} if version == "21.1.7" else set())
    (owned,) = [f for f in findings if f.check == "owned-groups"]
    assert "owns 1 known group" in owned.what
    assert levels(findings, "subscriptions") == [Level.OK] * 3
    assert levels(findings, "pmt-key") == [Level.OK, Level.NOTE, Level.NOTE]


async def test_25_5_0_is_an_error_where_no_blocks_are_made(examined: Starting) -> None:
    """On Besu 25.5.0 a validator is a warning and any other node an error."""
    async with examined(besu_version="25.5.0", validators=2) as network:
        findings = await network.examine()
    assert levels(findings, "receives-groups") == [Level.WARNING, Level.WARNING, Level.ERROR]
    assert not is_healthy(findings)


async def test_groups_of_another_dialect_are_found(examined: Starting) -> None:
    """After an upgrade across 22.10.0 the groups that can't be extended any more are named."""
    async with examined(besu_version="22.4.4") as network:
        await network.devnet.call(1, "devnet_setBesuVersion", ["23.10.3"])
        findings = await network.examine()
    assert levels(findings, "group-dialect") == [Level.WARNING, Level.WARNING]


async def test_a_node_that_is_down_is_an_error_and_the_rest_is_examined(examined: Starting) -> None:
    """One node that does not answer is one error."""
    async with examined(validators=1) as network:
        await network.devnet.call(1, "devnet_setNode", [3, False])
        findings = await network.examine()
    assert [(f.node, f.check) for f in findings if f.level is Level.ERROR] == [("m3", "reachable")]
    assert levels(findings, "subscriptions") == [Level.OK] * 2


async def test_a_chain_that_stands_still_delivers_no_head(examined: Starting) -> None:
    """When no block is made, the WebSocket check says that nothing came; it does not wait for ever."""
    async with examined(block_period_seconds=0) as network:
        findings = await network.examine(head_within_seconds=1.0)
    assert levels(findings, "subscriptions") == [Level.ERROR] * 3
    (remedy,) = {f.remedy for f in findings if f.check == "subscriptions"}
    assert "restart all nodes together" in remedy


async def test_a_websocket_address_that_nobody_listens_on_is_found(examined: Starting) -> None:
    """A wrong WebSocket address is told as a connection that can't be made."""
    async with examined() as network:
        wrong = network.file.read_text().replace(network.devnet.nodes[0].ws_url, "ws://127.0.0.1:9")
        network.file.write_text(wrong)
        findings = await network.examine(head_within_seconds=2.0)
    (finding,) = [f for f in findings if f.level is Level.ERROR]
    assert (finding.node, finding.check) == ("m1", "subscriptions")


async def test_gas_prices_are_compared_with_the_configuration(examined: Starting) -> None:
    """A node with a minimum price warns while the configuration offers less."""
    async with examined(min_gas_price_wei=1000, history=0) as network:
        poor = await network.examine()
        network.configure(chain="gas_price = 1000")
        paying = await network.examine()
    assert levels(poor, "gas-price") == [Level.WARNING] * 3
    assert levels(paying, "gas-price") == [Level.NOTE] * 3


async def test_a_fixed_marker_key_is_seen(examined: Starting) -> None:
    """A node that signs its PMTs with one key is told from one with random keys."""
    async with examined(fixed_marker_key=True, history=0) as network:
        async with network.owner() as owner:
            created = await owner.create([node.enclave_key for node in network.devnet.nodes])
        await apply(network.devnet, created.privacy_group_id, [Method.LOCK, Method.UNLOCK])
        findings = await network.examine()
    (warned,) = [f for f in findings if f.check == "pmt-key" and f.node == "m1"]
    assert warned.level is Level.WARNING
    assert "fixed key" in warned.what
    assert "close every group with a transaction in that block" in warned.why
    assert "--privacy-marker-transaction-signing-key-file" in warned.remedy


async def test_a_node_that_replays_is_behind(examined: Starting) -> None:
    """A node that stands still while the others go on is told for the network, with what may hold it."""
    async with examined(validators=1, history=20, replay_ms_per_transaction=patient(500)) as network:
        async with network.owner() as owner:
            (group,) = await owner.find([network.devnet.nodes[0].enclave_key])
            await owner.add(group.privacy_group_id, [network.devnet.nodes[2].enclave_key])
        await network.devnet.call(1, "devnet_mine", [7])
        findings = await network.examine(head_within_seconds=1.5)
    (spread,) = [f for f in findings if f.check == "head-spread"]
    assert spread.level is Level.WARNING
    assert "m3 at" in spread.what
    assert levels(findings, "sync") == [Level.OK, Level.OK, Level.WARNING]
    (still,) = [f for f in findings if f.check == "stands-still" and f.level is not Level.OK]
    assert (still.node, still.level) == ("m3", Level.WARNING)
    assert f"adds it or another node to {group.privacy_group_id}" in still.what
    assert still.copy[0].startswith(f"orchestrator rescue --node {network.devnet.nodes[2].http_url}")


async def test_a_node_without_its_enclave_is_told_why_it_stands(examined: Starting) -> None:
    """A node whose enclave is down stands before the next private transaction, and is told so without its address."""
    async with examined(validators=1, history=2) as network:
        async with network.owner() as owner:
            (group,) = await owner.find([network.devnet.nodes[0].enclave_key])
        await network.devnet.call(1, "devnet_setEnclave", [3, False])
        mined = await apply(network.devnet, group.privacy_group_id, [Method.LOCK])
        await network.devnet.call(1, "devnet_mine", [2])
        findings = await network.examine(head_within_seconds=1.5)
    (still,) = [f for f in findings if f.check == "stands-still" and f.level is not Level.OK]
    assert (still.node, still.level) == ("m3", Level.ERROR)
    assert f"stands at block {mined - 1}" in still.what
    assert "its enclave must hand over" in still.what


async def test_accounts_that_send_twice_close_the_groups_in_their_blocks(examined: Starting) -> None:
    """Without a store, too, the newest blocks tell which account was twice in one, and which group that closed."""
    async with examined(history=2) as network:
        async with network.owner() as owner:
            (group,) = await owner.find([network.devnet.nodes[0].enclave_key])
        well = await network.examine()
        assert levels(well, "account-twice") == [Level.OK]
        (account,) = await network.devnet.call(1, "devnet_publicTraffic", [1, 2])
        mined = await apply(network.devnet, group.privacy_group_id, [Method.LOCK])
        findings = await network.examine()
    (twice,) = [f for f in findings if f.check == "account-twice"]
    assert twice.level is Level.WARNING
    assert f"account {account}, 2 transactions" in twice.what
    (closed,) = [f for f in findings if f.check == "extendable-groups"]
    assert f"{group.privacy_group_id} since block {mined} at the latest" in closed.what


async def test_a_node_that_can_not_replay_is_told_from_one_that_replays(examined: Starting) -> None:
    """Where a block of the added group can't be replayed, the standing node is an error that names the block."""
    async with examined(validators=1, history=2, replay_ms_per_transaction=1) as network:
        async with network.owner() as owner:
            (group,) = await owner.find([network.devnet.nodes[0].enclave_key])
            (account,) = await network.devnet.call(1, "devnet_publicTraffic", [1, 2])
            await apply(network.devnet, group.privacy_group_id, [Method.LOCK, Method.UNLOCK])
            await network.devnet.call(1, "devnet_publicTraffic", [0])
            await owner.add(group.privacy_group_id, [network.devnet.nodes[2].enclave_key])
        await network.devnet.call(1, "devnet_mine", [3])
        findings = await network.examine(head_within_seconds=1.5)
    (still,) = [f for f in findings if f.check == "stands-still" and f.level is not Level.OK]
    assert (still.node, still.level) == ("m3", Level.ERROR)
    assert "whose history can't be replayed (block" in still.what
    assert account in still.what
    assert still.copy[0].startswith("orchestrator rescue")


async def test_sends_that_are_never_mined_are_foretold(examined: Starting) -> None:
    """On a later version without price and base fee, a node that makes no blocks is no node to send through."""
    async with examined(besu_version="25.4.1", validators=2, base_fee=False) as network:
        findings = await network.examine()
    (warned,) = [f for f in findings if f.check == "unpriced-sends"]
    assert (warned.node, warned.level) == ("m3", Level.WARNING)
    assert "--tx-pool=legacy" in warned.remedy


async def test_an_account_of_another_key_is_an_error(examined: Starting) -> None:
    """A key file that holds another account's key is found, and the key is not shown."""
    other = "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3"
    async with examined() as network:
        network.configure(key=other)
        findings = await network.examine()
    (finding,) = [f for f in findings if f.level is Level.ERROR]
    assert finding.check == "account-key"
    assert other not in finding.what


@dataclass
class FakeEnclave:
    """An enclave's address for clients."""

    status: int = 200
    groups: tuple[dict[str, object], ...] = ()
    url: str = ""

    async def upcheck(self, _: web.Request) -> web.Response:
        return web.Response(status=self.status, text="I'm up!")

    async def find(self, request: web.Request) -> web.Response:
        asked = (await request.json())["addresses"]
        return web.json_response([group for group in self.groups if group["members"] == asked])


@pytest.fixture
async def enclave() -> AsyncIterator[FakeEnclave]:
    made = FakeEnclave()
    app = web.Application()
    app.router.add_get("/upcheck", made.upcheck)
    app.router.add_post("/findPrivacyGroup", made.find)
    async with served(app) as made.url:
        yield made


async def test_enclaves_are_asked_where_their_address_is_known(examined: Starting, enclave: FakeEnclave) -> None:
    """An enclave that is up is asked for offchain groups; implicit groups of recipients do not count."""
    async with examined() as network:
        keys = [node.enclave_key for node in network.devnet.nodes[:2]]
        network.configure(node_lines=f'enclave = "{enclave.url}"')
        assert levels(await network.examine(), "offchain-groups") == [Level.OK] * 3
        enclave.groups = (
            {"privacyGroupId": "g1", "type": "PANTHEON", "members": keys},
            {"privacyGroupId": "g2", "type": "LEGACY", "members": keys},
        )
        findings = await network.examine()
        assert levels(findings, "offchain-groups") == [Level.WARNING, Level.WARNING, Level.OK]
        assert "keeps 1 offchain group(s): g1" in next(f.what for f in findings if f.check == "offchain-groups")
        enclave.status = 503
        assert levels(await network.examine(), "enclave") == [Level.ERROR] * 3


async def test_the_command_tells_monitoring(examined: Starting) -> None:
    """--json is one document; the exit code is 0 when healthy, 1 with an error, 2 for a wrong configuration."""
    async with examined() as network:
        well = await network.command("--json", "--head-within", "5")
        await network.devnet.call(1, "devnet_setNode", [3, False])
        ill = await network.command()
        network.file.write_text("[nodes]")
        wrong = await network.command()
    assert well.exit_code == 0, well.output
    document = json.loads(well.stdout)
    assert document["healthy"] is True
    assert {"check", "level", "node", "what", "why", "remedy", "copy", "documentation"} == set(document["findings"][0])
    assert ill.exit_code == 1
    assert "error   m3 reachable" in ill.stdout
    assert wrong.exit_code == 2


async def test_what_is_wrong_comes_first_on_a_terminal(examined: Starting) -> None:
    """At 80 columns nothing is cut off, errors come first, and lines to copy stand alone and whole."""
    async with examined() as network:
        own, other = (node.enclave_key for node in network.devnet.nodes[:2])
        network.file.write_text(network.file.read_text().replace(own, "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo="))
        findings = await network.examine()
    console = Console(width=80, force_terminal=True, color_system=None, record=True)
    with console.capture() as captured:
        show(findings, console)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "error m1 enclave-key"
    assert f'    enclave_keys = ["{own}"]' in lines
    assert "…" not in captured.get().replace("hash …", "")
    (well,) = [line for line in lines if line.startswith("ok m2:")]
    assert "reachable" in well
    assert other not in own


async def test_a_queue_whose_client_is_not_installed_is_told(
    examined: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Kafka is the queue and its extra is missing, the doctor says what to install, and looks at the rest."""
    monkeypatch.delitem(sys.modules, "orchestrator.broker.kafka.queue", raising=False)
    monkeypatch.delitem(sys.modules, "orchestrator.broker.kafka.intake", raising=False)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    async with examined() as network:
        network.file.write_text(f'[broker]\nurl = "kafka://127.0.0.1:1"\n{network.file.read_text()}')
        findings = await network.examine()
    (queue,) = [finding for finding in findings if finding.check == "queue"]
    assert queue.level is Level.ERROR
    assert "besu-membership-orchestrator[kafka]" in queue.what
    assert set(levels(findings, "reachable")) == {Level.OK}
