"""Time: real blocks, virtual time, and the program that serves a devnet."""

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from orchestrator.besu.codec.management_contract import encode_add_participants
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    decode_private_transaction,
    sign_private_transaction,
)
from orchestrator.devnet import DevnetConfig, DevnetError, RpcError, running_devnet
from orchestrator.devnet.__main__ import config_from_arguments
from orchestrator.devnet.accounts import enclave_key_of
from orchestrator.devnet.clock import VirtualClock
from orchestrator.devnet.emulation import Emulation
from orchestrator.devnet.journal import open_journal
from orchestrator.devnet.network.history import HISTORY_GROUP, HISTORY_OWNER_KEY, sign_quickly
from orchestrator.devnet.servers.in_process import InProcessNode
from tests.unit.devnet.driving import APPLICATION, DEFAULTS, Driver

WAIT_SECONDS = 60.0


async def test_blocks_come_by_themselves_at_the_period() -> None:
    """And the period can be changed while it runs."""
    async with running_devnet(replace(DEFAULTS, block_period_seconds=3_000.0)) as devnet:
        chain = devnet.emulation.network.chain
        assert chain.head.number == 0
        async with aiohttp.ClientSession() as session, session.ws_connect(devnet.nodes[0].ws_url) as websocket:
            await websocket.send_json({"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["newHeads"]})
            await devnet.call(1, "devnet_setBlockPeriod", [0.01])
            for _ in range(5):
                await websocket.receive_json(timeout=WAIT_SECONDS)
        await devnet.call(1, "devnet_setBlockPeriod", [0])
        stopped_at = chain.head.number
        await asyncio.sleep(0.05)

    assert chain.head.number == stopped_at


async def test_what_the_caller_raises_reaches_it_as_it_was_raised() -> None:
    """And the ports are closed."""
    with pytest.raises(KeyError, match="mine"):
        async with running_devnet(DEFAULTS) as devnet:
            raise KeyError("mine")
    with pytest.raises(aiohttp.ClientConnectorError):
        async with aiohttp.ClientSession() as session:
            await session.get(devnet.nodes[0].http_url)


async def test_virtual_time_moves_only_when_it_is_moved() -> None:
    """Blocks and replays are due by virtual time, which one call moves by minutes."""
    config = replace(DEFAULTS, block_period_seconds=2.0, virtual_time=True)
    async with running_devnet(config) as devnet:
        await asyncio.sleep(0.01)
        before = devnet.emulation.network.chain.head.number
        await devnet.call(2, "devnet_advanceTime", [600])
        after = int(await devnet.call(1, "eth_blockNumber"), 16)
        block = await devnet.call(1, "eth_getBlockByNumber", ["0x2", False])
        first = await devnet.call(1, "eth_getBlockByNumber", ["0x1", False])

    assert (before, after) == (0, 300)
    assert int(block["timestamp"], 16) - int(first["timestamp"], 16) == 2


async def test_real_time_cannot_be_moved() -> None:
    """The call says how to have virtual time."""
    async with running_devnet(DEFAULTS) as devnet:
        with pytest.raises(RpcError, match="start the devnet with virtual time"):
            await devnet.call(1, "devnet_advanceTime", [1])


def test_two_runs_with_one_seed_are_the_same() -> None:
    """The same seed and calls give the same hashes; another seed gives others."""
    heads = []
    for seed in (1, 1, 2):
        driver = Driver(seed=seed)
        driver.create(1, 2)
        driver.write(2)
        driver.call(1, "devnet_reorg", 1)
        heads.append(driver.network.chain.head.hash)

    assert heads[0] == heads[1] != heads[2]


async def test_a_devnet_starts_with_a_history() -> None:
    """A group of the first two nodes with that many transactions; a third node can be added to it."""
    async with running_devnet(replace(DEFAULTS, history=120)) as devnet:
        count = await devnet.call(
            1, "priv_getTransactionCount", ["0x" + "fe3b557e8fb62b89f4916b721be55ceb828dbd73", HISTORY_GROUP]
        )
        groups = await devnet.call(2, "privx_findFlexiblePrivacyGroup", [[devnet.nodes[0].enclave_key]])

    assert count == hex(121)
    assert [group["privacyGroupId"] for group in groups] == [HISTORY_GROUP]


@pytest.mark.parametrize("private_nonce", [0, 1, 127, 128, 300])
@pytest.mark.parametrize("data", [b"", b"\x01", b"\xff", bytes(32), bytes(300)])
def test_a_history_is_signed_as_the_codec_signs(private_nonce: int, data: bytes) -> None:
    """The quick way gives the same bytes, and what the codec reads from them."""
    transaction = PrivateTransaction(
        private_nonce=private_nonce,
        private_from=enclave_key_of(1),
        to=APPLICATION,
        data=data,
        privacy_group_id=HISTORY_GROUP,
        chain_id=1337,
    )
    raw = sign_private_transaction(transaction, HISTORY_OWNER_KEY)

    assert sign_quickly(transaction) == decode_private_transaction(raw)


async def test_a_devnet_can_be_kept_between_runs(tmp_path: Path) -> None:
    """Blocks, roots, forks and the half-written last line of a killed run: the next goes on from there."""
    config = replace(DEFAULTS, data_dir=tmp_path / "kept", history=60)
    question = ("priv_debugGetStateRoot", [HISTORY_GROUP, "latest"])
    async with running_devnet(config) as devnet:
        await devnet.call(1, "devnet_mine", [2])
        await devnet.call(1, "devnet_reorg", [1])
        head, root = devnet.emulation.network.chain.head.hash, await devnet.call(1, *question)
    with (tmp_path / "kept" / "devnet.jsonl").open("a") as file:
        file.write('{"block": 7, "times')
    async with running_devnet(config) as devnet:
        assert devnet.emulation.network.chain.head.hash == head
        assert await devnet.call(1, *question) == await devnet.call(2, *question) == root
        await devnet.call(1, "devnet_mine")
        head = devnet.emulation.network.chain.head.hash
    async with running_devnet(config) as devnet:
        assert devnet.emulation.network.chain.head.hash == head


def test_a_member_that_was_added_in_an_earlier_run_is_still_one(tmp_path: Path) -> None:
    """History bundles are kept as well, and new markers do not repeat old keys."""
    driver = Driver()
    path = tmp_path / "devnet.jsonl"
    journal = open_journal(driver.network, path)
    driver.create(1, 2)
    driver.write(2)
    driver.lock_and_add(3)
    journal.close()
    again = Driver()
    open_journal(again.network, path).close()

    assert again.root(3) == again.root(1) == driver.root(3)
    assert again.write(1)["status"] == "0x1"


async def test_a_kept_network_of_another_set_up_is_refused(tmp_path: Path) -> None:
    """The error names the option that differs."""
    async with running_devnet(replace(DEFAULTS, data_dir=tmp_path)):
        pass
    with pytest.raises(DevnetError, match="whose nodes is 3, not 4"):
        async with running_devnet(replace(DEFAULTS, data_dir=tmp_path, nodes=4)):
            pass


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """What cannot be repeated is not guessed."""
    async with running_devnet(replace(DEFAULTS, data_dir=tmp_path)):
        pass
    path = tmp_path / "devnet.jsonl"
    path.write_text(path.read_text() + '{"from": "nobody", "to": [], "raw": "zz"}\n')
    with pytest.raises(DevnetError, match="damaged"):
        async with running_devnet(replace(DEFAULTS, data_dir=tmp_path)):
            pass


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_program_prints_ready_and_stops_at_a_signal(number: signal.Signals) -> None:
    """``ready`` first, then nodes, keys and accounts on lines of 80 columns; exit code 0, nothing on standard error."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "orchestrator.devnet", "--base-port", "0", "--nodes", "2", "--block-period", "0.1"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), WAIT_SECONDS)
        process.send_signal(number)
        out, err = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

    assert line == b"ready\n"
    assert (process.returncode, err) == (0, b"")
    assert out.count(b"ws://127.0.0.1:") == 2
    assert b"BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo=" in out
    assert max(map(len, out.splitlines())) <= 80


async def test_the_program_says_what_is_wrong_with_its_options() -> None:
    """Exit code 2 and one line that names every mistake."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "orchestrator.devnet", "--besu-version", "26.1.0", "--nodes", "0"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)

    assert (process.returncode, out) == (2, b"")
    assert b"26.1.0" in err
    assert b"nodes is 0" in err


def test_tenants_are_named_by_their_node() -> None:
    """``--tenant-key`` may be given several times; what is no node and key is refused."""
    keys = [enclave_key_of(40), enclave_key_of(41)]
    config = config_from_arguments(["--tenant-key", f"2={keys[0]}", "--tenant-key", f"2={keys[1]}"])

    assert config.extra_enclave_keys == {2: tuple(keys)}
    with pytest.raises(DevnetError, match="must be a node's number"):
        config_from_arguments(["--tenant-key", keys[0]])


async def test_a_node_can_be_called_without_a_socket_on_a_clock_of_the_caller() -> None:
    """A submission waits on that clock, and blocks are due by it."""
    clock = VirtualClock()
    emulation = Emulation(replace(DEFAULTS, block_period_seconds=1.0, submission_ms=250))
    node = InProcessNode(emulation.apis[0], clock, lambda: emulation.advance(clock.now()))
    driver = Driver()
    pmt_hash = await node.call(
        "eea_sendRawTransaction", [driver.raw(encode_add_participants(driver.abi, driver.keys[:2]))]
    )
    waited = clock.now()
    await clock.sleep(1.0)
    receipt = await node.call("priv_getTransactionReceipt", [pmt_hash])

    assert waited == 0.25
    assert (receipt["status"], receipt["blockNumber"]) == ("0x1", "0x1")


def test_options_become_the_configuration() -> None:
    """The flags of the command line are the fields of the configuration."""
    config = config_from_arguments(
        ["--nodes", "2", "--base-port", "30000", "--block-period", "0.5", "--besu-version", "22.4.4", "--history", "9"]
    )

    assert config == DevnetConfig(
        nodes=2, validators=2, base_port=30_000, block_period_seconds=0.5, besu_version="22.4.4", history=9
    )


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"nodes": 65}, "nodes is 65"),
        ({"validators": 4}, "validators is 4"),
        ({"base_port": 65_534}, "base_port is 65534"),
        ({"block_period_seconds": -1}, "block_period_seconds is -1"),
        ({"privacy_nonce_always_increments": True}, "needs Besu 24.7.1"),
        ({"history": -1}, "history is -1"),
        ({"history": 5, "nodes": 1, "validators": 1}, "history needs two nodes"),
        ({"tls_key_file": Path("key.pem")}, "TLS needs both"),
        ({"extra_enclave_keys": {9: ()}}, "names node 9"),
        ({"extra_enclave_keys": {1: ("abc",)}}, "'abc' is no enclave key"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(options: dict[str, Any], problem: str) -> None:
    """Each mistake is named with the value and the remedy."""
    with pytest.raises(DevnetError, match=problem):
        replace(DEFAULTS, **options)
