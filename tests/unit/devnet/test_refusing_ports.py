"""What the ports refuse or turn over: hosts, batches, replicas, and markers of one's own over real HTTP."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from orchestrator.besu.codec.management_contract import encode_add_participants
from orchestrator.devnet import running_devnet
from orchestrator.devnet.__main__ import config_from_arguments
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.errors import DevnetError
from tests.unit.devnet.driving import DEFAULTS, Driver

WAIT_SECONDS = 60.0
CHAIN_ID = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_SECONDS)) as opened:
        yield opened


async def post(session: aiohttp.ClientSession, url: str, body: Any, **options: Any) -> tuple[int, Any]:
    async with session.post(url, json=body, **options) as response:
        return response.status, await response.json(content_type=None) if response.status != 413 else None


async def test_a_host_that_is_not_listed_is_refused(session: aiohttp.ClientSession) -> None:
    """With 403 and Besu's words, on both ports; a listed name is served, whatever its port."""
    async with running_devnet(replace(DEFAULTS, host_allowlist=frozenset({"besu.example"}))) as devnet:
        node = devnet.nodes[0]
        refused = await post(session, node.http_url, CHAIN_ID)
        served = await post(session, node.http_url, CHAIN_ID, headers={"Host": "besu.example:8545"})
        own = await post(session, node.http_url, {**CHAIN_ID, "method": "devnet_status"})
        with pytest.raises(aiohttp.WSServerHandshakeError) as handshake:
            await session.ws_connect(node.ws_url)

    assert refused == (403, {"message": "Host not authorized."})
    assert (served[0], served[1]["result"]) == (200, "0x539")
    assert own[0] == 200
    assert handshake.value.status == 403


@pytest.mark.parametrize("version", ["22.4.4", "23.10.3"])
async def test_batches_can_be_limited_to_one(session: aiohttp.ClientSession, version: str) -> None:
    """A longer one is refused as a whole, a single object and a batch of one are answered."""
    config = replace(DEFAULTS, besu_version=version, max_batch_requests=1)
    async with running_devnet(config) as devnet:
        url = devnet.nodes[0].http_url
        two = await post(session, url, [CHAIN_ID, CHAIN_ID])
        one = await post(session, url, [CHAIN_ID])
        single = await post(session, url, CHAIN_ID)

    assert two[1]["error"] == {"code": -32005, "message": "Number of requests exceeds max batch size"}
    assert one[1][0]["result"] == single[1]["result"] == "0x539"


async def test_a_gateway_can_refuse_batches_only(session: aiohttp.ClientSession) -> None:
    """An armed status with ``batches`` meets lists of requests and leaves single ones alone."""
    async with running_devnet(DEFAULTS) as devnet:
        url = devnet.nodes[0].http_url
        fault = {"kind": "status", "status": 413, "batches": True, "count": None}
        await devnet.call(1, "devnet_rpcFault", [fault])
        statuses = [(await post(session, url, body))[0] for body in (CHAIN_ID, [CHAIN_ID], CHAIN_ID, [CHAIN_ID])]

    assert statuses == [200, 413, 200, 413]


async def test_one_replica_answers_a_whole_batch(session: aiohttp.ClientSession) -> None:
    """The turn changes with the request, not within it."""
    async with running_devnet(replace(DEFAULTS, replica_lags_ms={1: (0.0, 3_600_000.0)})) as devnet:
        await devnet.call(1, "devnet_mine", [2])
        number = {**CHAIN_ID, "method": "eth_blockNumber"}
        answers = [await post(session, devnet.nodes[0].http_url, [number, number]) for _ in range(4)]

    heads = [tuple(item["result"] for item in body) for _, body in answers]
    assert sorted(heads) == [("0x0", "0x0")] * 2 + [("0x2", "0x2")] * 2
    assert heads[0] != heads[1]


async def test_a_marker_of_one_s_own_works_over_http(session: aiohttp.ClientSession) -> None:
    """Distributed through one node, broadcast through all, mined once."""
    signer = Driver()
    async with running_devnet(DEFAULTS) as devnet:

        async def ask(node: int, method: str, *params: Any) -> Any:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
            return (await post(session, devnet.nodes[node - 1].http_url, body))[1]

        raw = signer.raw(encode_add_participants(signer.abi, signer.keys[:2]), private_nonce=0)
        key = (await ask(1, "priv_distributeRawTransaction", raw))["result"]
        marker = signer.sign(signer.one_time(), payload=bytes.fromhex(key[2:]))
        sent = [await ask(node, "eth_sendRawTransaction", "0x" + marker.raw.hex()) for node in (2, 1, 3)]
        await devnet.call(1, "devnet_mine", [1])
        receipt = (await ask(1, "priv_getTransactionReceipt", "0x" + marker.hash.hex()))["result"]

    assert sent[0]["result"] == "0x" + marker.hash.hex()
    assert [answer["error"]["message"] for answer in sent[1:]] == ["Known transaction"] * 2
    assert receipt["status"] == "0x1"


def test_the_options_of_the_public_side_become_the_configuration() -> None:
    """Each flag of the command line is a field of the configuration."""
    account, key = "0x" + "AB" * 20, signer_key()
    flags = (
        f"--min-gas-price-wei 5 --tx-pool-no-local-priority --free-node 3 --balance {account}=7 --no-base-fee "
        "--gossip-ms 20 --replicas 1=0,400,1500 --identity 10.0.0.5 --build null --max-batch-size 1 "
        f"--host-allowlist localhost --enclave-key 2={key}"
    )
    config = config_from_arguments(flags.split())

    assert config == DevnetConfig(
        min_gas_price_wei=5,
        local_priority=False,
        free_nodes=frozenset({3}),
        balances_wei={account.lower(): 7},
        base_fee=False,
        gossip_ms=20.0,
        replica_lags_ms={1: (0.0, 400.0, 1500.0)},
        identity="10.0.0.5",
        build="null",
        max_batch_requests=1,
        host_allowlist=frozenset({"localhost"}),
        enclave_keys={2: key},
    )
    for wrong in (["--balance", "7"], ["--replicas", "1=late"], ["--enclave-key", key]):
        with pytest.raises(DevnetError, match=wrong[0]):
            config_from_arguments(wrong)


def signer_key() -> str:
    return Driver(nodes=5).keys[4]
