"""Hostile input never kills a node: whatever comes, there is an answer, and the next call works."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.besu.codec.management_contract import Abi
from orchestrator.devnet import Devnet, running_devnet
from orchestrator.devnet.private.contract import contract_code
from orchestrator.devnet.private.init_code import run_init_code
from orchestrator.devnet.rpc import eth, priv, priv_logs, public_accounts, subscribe
from orchestrator.devnet.rpc.dispatch import Caller
from orchestrator.devnet.servers.gateway import parse_json
from tests.unit.devnet.driving import DEFAULTS, GROUP, OWNER, Driver, Listener

CONTROLS = (
    "devnet_setBlockPeriod",
    "devnet_setCongested",
    "devnet_setEnclave",
    "devnet_slowEnclave",
    "devnet_diverge",
    "devnet_nodeLog",
    "devnet_missNextTransaction",
    "devnet_rpcFault",
    "devnet_clearFaults",
    "devnet_dropWebSockets",
    "devnet_status",
    "devnet_setBesuVersion",
    "devnet_advanceTime",
    "devnet_dropPendingTransactions",
    "devnet_setPropagation",
    "devnet_permitAccounts",
    "devnet_publicTraffic",
    "devnet_setReplicas",
    "devnet_delayPrivateReceipts",
    "devnet_nonsense",
)
METHODS = sorted(
    {
        *eth.METHODS,
        *public_accounts.METHODS,
        *priv.METHODS,
        *priv_logs.METHODS,
        *subscribe.METHODS,
        "privx_findFlexiblePrivacyGroup",
        *CONTROLS,
    }
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
PLAUSIBLE = st.sampled_from(
    [
        GROUP,
        GROUP[:-4],
        OWNER,
        "latest",
        "earliest",
        "0x0",
        "0x1",
        "0xffffffffffffffffffff",
        "0x",
        "0x" + "ab" * 32,
        "0x" + "00" * 19 + "7c",
        "0x965a25ef" + "ff" * 64,
        "logs",
        "newHeads",
        1,
        -1,
        2**300,
        True,
        {"to": "0x" + "00" * 19 + "7c", "data": "0x5aa68ac0"},
        {"to": "0x" + "00" * 19 + "7c", "data": "0x965a25ef" + "00" * 31 + "20" + "ff" * 32, "from": OWNER},
        {"to": "0x" + "00" * 19 + "7c", "value": "0x1"},
        {"fromBlock": "0x5", "toBlock": "0x1", "topics": [None, ["0x" + "ab" * 32]]},
        {"address": [], "topics": [[]], "blockHash": "0x" + "ab" * 32},
        {"kind": "latency", "seconds": 1e309},
        {"kind": "error", "code": 2**70, "message": "x", "batches": True},
        {"kind": "null", "code": "1"},
        "0xf861808082520894" + "11" * 90,
        [OWNER],
        [0.5, 2],
        {"kind": "status", "status": 500, "methods": ["x"], "node": 1, "count": None},
        [GROUP],
        ["QfeDAys9MPDs2XHExtc84jKGHxZg/aj52DTh0vtA3Xc="],
        [[], {}],
    ]
)


@pytest.fixture(scope="module")
def driver() -> Driver:
    built = Driver()
    built.create(1, 2)
    return built


def answer(driver: Driver, request: Any) -> Any:
    api = driver.emulation.apis[0]
    given_answer = api.handle(request, Caller(connection=Listener()))
    if given_answer.finish is not None:
        given_answer = given_answer.finish()
    return given_answer.response


@settings(max_examples=1_000)
@given(method=st.sampled_from(METHODS), params=st.lists(PLAUSIBLE | JSON, max_size=4))
def test_every_method_answers_any_parameters(driver: Driver, method: str, params: list[Any]) -> None:
    """A result or an error with a code and a message; both can be written as JSON."""
    response = answer(driver, {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})

    assert response["id"] == 1
    assert ("result" in response) != ("error" in response)
    assert "error" not in response or {"code", "message"} <= set(response["error"])
    json.dumps(response)


@given(JSON)
def test_any_json_is_answered(driver: Driver, request: Any) -> None:
    """What is no request is answered as none; nothing is raised."""
    response = answer(driver, request)

    assert response is None or "error" in response


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_any_bytes_are_json_or_refused(body: bytes | str) -> None:
    """The parser raises ``ValueError`` and nothing else."""
    try:
        parse_json(body)
    except ValueError:
        return
    json.loads(body)


@given(st.binary(max_size=120))
def test_any_raw_transaction_is_refused_or_taken(driver: Driver, raw: bytes) -> None:
    """Random bytes are no private transaction."""
    response = answer(
        driver, {"jsonrpc": "2.0", "id": 1, "method": "eea_sendRawTransaction", "params": ["0x" + raw.hex()]}
    )

    assert response["error"]["message"] == "Unable to decode the private signed raw transaction"


@given(st.binary(max_size=300))
def test_any_init_code_ends(code: bytes) -> None:
    """Constructors that jump, loop or reach far end within bounds."""
    assert len(run_init_code(code)) <= 1 << 17


@pytest.mark.parametrize(
    "code",
    [
        bytes.fromhex("5b600056"),  # jumps to itself for ever
        bytes.fromhex("7f" + "ff" * 32 + "6000f3"),  # returns from far outside
        bytes.fromhex("6001" * 3000),
        bytes.fromhex("7f" + "ff" * 32 + "80" + "80" + "39"),  # copies from and to far outside
        contract_code(Abi.BYTES),
    ],
)
def test_hostile_init_code_returns_nothing(code: bytes) -> None:
    """Loops and large memory end the run."""
    assert run_init_code(code) == b""


@pytest.fixture
async def devnet() -> AsyncIterator[Devnet]:
    async with running_devnet(DEFAULTS) as running:
        yield running


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 100_000,
        b"[" * 1_000_000,
        b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[' + b"[" * 5_000 + b"]" * 5_000 + b"]}",
        b"[" + b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"},' * 20_000 + b"{}]",
        b'{"jsonrpc":"2.0","id":' + b"9" * 10_000 + b',"method":"eth_chainId"}',
        b"\x00" * 1_000_000,
    ],
)
async def test_large_and_deep_bodies_do_not_stop_a_node(devnet: Devnet, body: bytes) -> None:
    """Over HTTP and over WebSocket; the node answers the next client."""
    node = devnet.nodes[0]
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        async with session.post(node.http_url, data=io.BytesIO(body)) as response:
            assert response.status in {200, 400}
        async with session.ws_connect(node.ws_url) as websocket:
            await websocket.send_bytes(body[: 1 << 19])
            await websocket.receive(timeout=20)
        question = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
        async with session.post(node.http_url, json=question) as response:
            assert (await response.json())["result"] == "0x539"
