"""A node that each hazard halted is brought back: one command, one restart, its other groups as their members'."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
import structlog
from typer.testing import CliRunner

from orchestrator.cli.main import app
from orchestrator.cli.verbs import rescue
from orchestrator.cli.verbs.rescue import RescueAims, RescueError, RescueReport, rescued
from tests.fakes.guarded_network import OTHER_KEY, GuardedNetwork, guarded_network, until
from tests.unit.guard import hazards
from tests.unit.guard.hazards import poisoned

VICTIM = 3
HAZARDS: dict[str, tuple[Callable[[GuardedNetwork, int, str], Awaitable[bytes]], str]] = {
    "poisoned": (poisoned, "block_not_replayable"),
    "poisoned lock": (hazards.poisoned_lock, "block_not_replayable"),
    "torn": (hazards.torn, "bundle_may_be_torn"),
    "torn without a gap": (hazards.torn_unseen, "replay_failed"),
    "diverged": (hazards.diverged_member, "held_beyond"),
    "former": (hazards.former_member, "former_member_unsafe"),
    "an account left out": (hazards.left_out, "replay_failed"),
    "false roots": (hazards.false_roots, "replay_failed"),
    "another transaction": (hazards.altered, "replay_failed"),
}
KINDS = ("orion", "tessera")


def aims(network: GuardedNetwork, *, dry_run: bool = False, wait_seconds: float = 20.0) -> RescueAims:
    nodes = network.devnet.nodes
    return RescueAims(
        node=nodes[VICTIM - 1].http_url,
        enclave=nodes[VICTIM - 1].enclave_url,
        neighbours=(nodes[0].http_url, nodes[1].http_url),
        listen="127.0.0.1:0",
        token_file=None,
        wait_seconds=wait_seconds,
        look_seconds=0.05,
        dry_run=dry_run,
    )


async def brought_back(network: GuardedNetwork) -> RescueReport:
    """Run the command, and restart the node as it says."""
    told: list[str] = []
    running = asyncio.ensure_future(rescued(aims(network), told.append))
    await until(lambda: running.done() or any(line.startswith("ready ") for line in told))
    if not running.done():
        address = next(line for line in told if line.startswith("ready ")).removeprefix("ready ")
        await network.call(1, "devnet_setEnclaveUrl", VICTIM, address)
        assert any(address in line for line in told if line.startswith("to do:"))
    return await running


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hazard", HAZARDS)
async def test_a_halted_node_is_back_with_one_command_and_one_restart(hazard: str, kind: str) -> None:
    """It passes the block, catches up, and what it shows of its other groups is what their members show."""
    make, reason = HAZARDS[hazard]
    async with guarded_network(enclave=kind) as network:
        own, group = network.group("own"), network.group("G")
        await network.create(own, VICTIM, 1)
        payload = await make(network, VICTIM, group)
        before = network.root(VICTIM, group)
        await network.block(network.marker(payload))
        assert network.halted(VICTIM)
        await network.write(own, 1)
        looked = await rescued(aims(network, dry_run=True), lambda _line: None)
        assert looked.done
        assert looked.document["cause"] == "addition"
        (addition,) = looked.document["additions"]
        assert (addition["privacy_group_id"], addition["reason"]) == (group, reason)
        assert network.halted(VICTIM)
        report = await brought_back(network)
        assert report.done
        assert not network.halted(VICTIM)
        agree = {proof["privacy_group_id"]: proof["agrees"] for proof in report.document["groups"]}
        assert agree[own] is True
        assert False not in agree.values()
        assert network.root(VICTIM, own) == network.root(1, own)
        assert network.root(VICTIM, group) == before
        assert group not in agree
        (then,) = report.document["afterwards"]
        assert group in then
        assert addition["owner"] in then


@pytest.mark.parametrize("kind", KINDS)
async def test_a_node_that_misreads_a_transaction_is_back_the_same_way(kind: str) -> None:
    """What it executed before is not found as a history; its groups are as they were, that transaction included."""
    async with guarded_network(enclave=kind) as network:
        own = network.group("own")
        await network.create(own, VICTIM, 1)
        key = await network.distribute(b"\x01", own, to="0x" + "11" * 20)
        await network.block(network.marker(key))
        await network.block(network.marker(b"\x05" * 32 + key))
        await network.block()
        assert network.misreads(VICTIM)
        looked = await rescued(aims(network, dry_run=True), lambda _line: None)
        assert [one["reason"] for one in looked.document["additions"]] == ["no_history"]
        report = await brought_back(network)
        assert report.done
        assert "added nobody" in report.document["afterwards"][0]
        assert not network.misreads(VICTIM)
        nodes = network.network.nodes
        assert nodes[VICTIM - 1].timelines.keys() == nodes[0].timelines.keys()
        assert network.root(VICTIM, own) is not None


@pytest.mark.parametrize("kind", KINDS)
async def test_a_node_that_a_long_replay_holds_is_back_the_same_way(kind: str) -> None:
    """Nothing is wrong with the history: it would only hold the node for a quarter of an hour."""
    async with guarded_network(enclave=kind) as network:
        own, group = network.group("own"), network.group("G")
        await network.create(own, VICTIM, 1)
        payload = await hazards.huge(network, VICTIM, group)
        nodes = network.network.nodes
        nodes[VICTIM - 1].replay_seconds_each = 60.0
        network.network.append_block([network.marker(payload)])
        await until(lambda: network.advanced() and nodes[0].head is network.network.chain.head)
        assert nodes[VICTIM - 1].head is not network.network.chain.head
        report = await brought_back(network)
        assert report.done
        assert nodes[VICTIM - 1].head is network.network.chain.head
        assert {proof["privacy_group_id"]: proof["agrees"] for proof in report.document["groups"]} == {own: True}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_copied_marker_halts_nobody_and_is_not_taken_for_it(kind: str) -> None:
    """The node fell back and goes on: there is nothing to get past, which the command says; the cure is another."""
    async with guarded_network(enclave=kind) as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        payload, _ = await network.add(group, VICTIM)
        await network.write(group, 2, key=OTHER_KEY)
        await network.block(network.marker(payload))
        assert not network.halted(VICTIM)
        looked = await rescued(aims(network, dry_run=True), lambda _line: None)
        assert (looked.document["cause"], looked.document["additions"]) == ("not_an_addition", [])


async def test_a_chain_that_stands_goes_on() -> None:
    """Two validators, one of them the newcomer: no block is made until it has no bundle to refuse."""
    async with guarded_network(nodes=3, validators=2, block_period_seconds=0) as network:
        # The newcomer is validator 2 here; node 3 is a member.
        group = network.group("G")
        await network.create(group, 1, 3)
        payload = await network.distribute(b"\x01", group, to="0x" + "11" * 20)
        await network.block(network.marker(payload), *network.pair_of_one_account())
        await network.lock(group)
        await network.block()
        payload = await network.distribute(network.addition(2), group)
        await network.call(1, "eth_sendRawTransaction", "0x" + network.marker(payload).raw.hex())
        await network.call(1, "devnet_setBlockPeriod", 0.05)
        head = network.network.chain.head.number
        nodes = network.devnet.nodes
        aim = RescueAims(
            node=nodes[1].http_url,
            enclave=nodes[1].enclave_url,
            neighbours=(nodes[0].http_url, nodes[2].http_url),
            listen="127.0.0.1:0",
            token_file=None,
            wait_seconds=20.0,
            look_seconds=0.3,
            dry_run=False,
        )
        told: list[str] = []
        running = asyncio.ensure_future(rescued(aim, told.append))
        await until(lambda: running.done() or any(line.startswith("ready ") for line in told))
        assert network.network.chain.head.number == head
        address = next(line for line in told if line.startswith("ready ")).removeprefix("ready ")
        await network.call(1, "devnet_setEnclaveUrl", 2, address)
        report = await running
        assert report.document["cause"] == "chain_stands"
        assert report.done
        assert network.network.chain.head.number > head
        assert network.root(2, group) is None


async def test_what_is_no_addition_is_told_as_what_it_looks_like() -> None:
    """A node that moves, one that can't be asked, one whose enclave is away, one without peers."""
    async with guarded_network() as network:

        async def cause() -> str:
            return str((await rescued(aims(network, dry_run=True), lambda _line: None)).document["cause"])

        group = network.group("G")
        await network.create(group, 1, VICTIM)
        await network.call(1, "devnet_setPropagation", VICTIM, True, False)
        network.network.append_block([])
        assert await cause() == "not_an_addition"
        await network.call(1, "devnet_setPropagation", VICTIM, False, False)
        assert await cause() == "no_peers"
        await network.call(1, "devnet_setPropagation", VICTIM, True, True)
        payload = await network.distribute(b"\x01", group, to="0x" + "11" * 20, key=OTHER_KEY)
        await network.call(1, "devnet_setEnclave", VICTIM, False)
        network.network.append_block([network.marker(payload)])
        assert await cause() == "enclave_away"
        await network.call(1, "devnet_setEnclave", VICTIM, True)
        await network.imported()
        await network.call(1, "devnet_setNode", VICTIM, False)
        assert await cause() == "node_unreachable"


async def test_the_command_prints_one_document() -> None:
    """With --dry-run and --json: why the node stands, what to do, and exit code 0 since there is something to do."""
    async with guarded_network() as network:
        group = network.group("G")
        payload = await poisoned(network, VICTIM, group)
        await network.block(network.marker(payload))
        wanted = aims(network)
        arguments = ["rescue", "--node", wanted.node, "--enclave", wanted.enclave, "--look", "0.05"]
        arguments += [part for url in wanted.neighbours for part in ("--neighbour", url)]
        done = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--dry-run", "--json"])
        assert done.exit_code == 0, done.output
        document = json.loads(done.output)
        assert document["cause"] == "addition"
        assert document["additions"][0]["privacy_group_id"] == group
        assert "--privacy-url=http://127.0.0.1:8889" in document["steps"][0]
        refused = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--listen", "0.0.0.0:1"])
        assert refused.exit_code == 2


def test_standard_output_is_for_what_it_comes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged on the way, such as that a node is asked again, is not among what --json prints."""

    async def logging(_aims: RescueAims, _tell: Callable[[str], None]) -> RescueReport:
        structlog.get_logger().warning("asked again")
        return RescueReport(done=True, document={"cause": "addition"})

    monkeypatch.setattr(rescue, "rescued", logging)
    structlog.reset_defaults()
    arguments = [word for option in ("node", "enclave", "neighbour") for word in (f"--{option}", "http://127.0.0.1:1")]
    done = CliRunner().invoke(app, ["rescue", *arguments, "--json"])
    assert json.loads(done.stdout) == {"cause": "addition"}


async def test_a_node_that_is_not_restarted_is_asked_for_again() -> None:
    """When the time is up the command says that nobody came, and with which option Besu is to be restarted."""
    async with guarded_network() as network:
        payload = await poisoned(network, VICTIM, network.group("G"))
        await network.block(network.marker(payload))
        with pytest.raises(RescueError, match=r"--privacy-url=http://127\.0\.0\.1"):
            await rescued(aims(network, wait_seconds=0.05), lambda _line: None)
