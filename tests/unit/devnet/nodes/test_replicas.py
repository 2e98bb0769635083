"""Nodes that lag, hide or refuse: replicas behind one address, late receipts, armed answers, names, traffic."""

import pytest

from orchestrator.besu.codec.management_contract import encode_add_participants
from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.errors import DevnetError, RpcError
from orchestrator.devnet.network.public_traffic import CALLED_CONTRACT
from orchestrator.devnet.rpc.dispatch import Caller
from orchestrator.devnet.servers.in_process import InProcessNode
from tests.unit.devnet.driving import GROUP, OWNER, Driver


class Standing:
    """A clock that stands still."""

    def now(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        """No time passes."""


def balanced(driver: Driver) -> InProcessNode:
    """Node 1 through its replicas."""
    return InProcessNode(driver.emulation.apis[0], Standing(), lambda: driver.network.advance(driver.now))


async def test_replicas_answer_in_turn_and_a_late_one_lacks_the_newest_blocks() -> None:
    """Its head is the one of then; what is beyond it is null, for public and private reads alike."""
    driver = Driver(replica_lags_ms={1: (0, 400, 1500)})
    driver.create(1, 2)
    pmt_hash = "0x" + driver.network.chain.head.transactions[0].hash.hex()
    node, head = balanced(driver), driver.head(1)
    reads = (
        ("eth_getBlockByNumber", [hex(head), False]),
        ("eth_getTransactionReceipt", [pmt_hash]),
        ("priv_getTransactionReceipt", [pmt_hash]),
        ("priv_call", [GROUP, {"to": "0x" + "00" * 19 + "7c", "data": "0x0d8e6e2c"}, hex(head)]),
    )
    for method, params in reads:
        answers = [await node.call(method, params) for _ in range(3)]
        assert [answer is None for answer in answers] == [False, True, True], method
    assert [int(await node.call("eth_blockNumber"), 16) for _ in range(3)] == [head, head - 1, head - 1]
    assert [await node.call("priv_getTransactionCount", [OWNER, GROUP]) for _ in range(3)] == ["0x1", "0x0", "0x0"]
    driver.move(0.5)
    assert [int(await node.call("eth_blockNumber"), 16) for _ in range(3)] == [head, head, head - 1]
    driver.move(1.1)
    assert [int(await node.call("eth_blockNumber"), 16) for _ in range(3)] == [head] * 3


async def test_replicas_can_be_changed_while_it_runs() -> None:
    """And what goes over a subscription's connection never meets a late one."""
    driver = Driver()
    driver.call(1, "devnet_setReplicas", 1, [2.0])
    driver.mine()
    node = balanced(driver)
    assert await node.call("eth_blockNumber") == "0x0"
    assert driver.emulation.apis[0].call("eth_blockNumber", [], Caller()) == "0x1"
    driver.call(1, "devnet_setReplicas", 1, [])

    assert await node.call("eth_blockNumber") == "0x1"


def test_private_receipts_can_come_late() -> None:
    """The public receipt is there with the block, the private one some seconds after it."""
    driver = Driver()
    driver.call(1, "devnet_delayPrivateReceipts", 1, 6)
    pmt_hash = driver.send(encode_add_participants(driver.abi, driver.keys[:2]))
    driver.mine()
    assert driver.call(1, "eth_getTransactionReceipt", pmt_hash) is not None
    assert driver.call(1, "priv_getTransactionReceipt", pmt_hash) is None
    assert driver.call(2, "priv_getTransactionReceipt", pmt_hash) is not None
    driver.move(6)

    assert driver.call(1, "priv_getTransactionReceipt", pmt_hash)["status"] == "0x1"


REFUSALS = [
    (-32002, "Transaction pool not enabled"),
    (-32004, "Upfront cost exceeds account balance"),
    (-32007, "Sender account not authorized to send transactions"),
    (-32009, "Gas price below configured minimum gas price"),
]


@pytest.mark.parametrize(("code", "message"), REFUSALS)
def test_a_node_can_be_told_to_refuse(code: int, message: str) -> None:
    """As often as armed, only the named methods of the named node, and nothing is done."""
    driver = Driver()
    methods = ["eth_sendRawTransaction"]
    driver.call(
        1,
        "devnet_rpcFault",
        {"kind": "error", "node": 2, "methods": methods, "count": 2, "code": code, "message": message},
    )
    account = driver.one_time()
    driver.call(2, "eth_blockNumber")
    for _ in range(2):
        with pytest.raises(RpcError) as refused:
            driver.public(account, node=2)
        assert (refused.value.code, refused.value.message) == (code, message)
    assert not driver.network.pool.pending()
    driver.public(account, node=2)

    assert len(driver.network.pool.pending()) == 1


def test_a_node_can_be_told_to_know_nothing() -> None:
    """The armed kind ``null`` answers null for a call that has an answer."""
    driver = Driver()
    driver.call(1, "devnet_rpcFault", {"kind": "null", "methods": ["eth_getBlockByNumber"]})

    assert driver.call(1, "eth_getBlockByNumber", "latest", False) is None
    assert driver.call(1, "eth_getBlockByNumber", "latest", False) is not None


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({}, "besu/v23.10.3/"),
        ({"identity": "10.0.0.5"}, "besu/10.0.0.5/v23.10.3/"),
        ({"build": "null"}, "besu/vnull/"),
        ({"identity": "node-1", "build": "23.10.3-patched"}, "besu/node-1/v23.10.3-patched/"),
    ],
)
def test_a_node_says_its_identity_and_its_build(options: dict[str, str], shown: str) -> None:
    """Before the version, as Besu's option does; a build of one's own may say anything there."""
    assert Driver(**options).call(1, "web3_clientVersion").startswith(shown)


@pytest.mark.parametrize(
    "options",
    [
        {"identity": "two words"},
        {"max_batch_requests": 0},
        {"replica_lags_ms": {9: (0.0,)}},
        {"replica_lags_ms": {1: (-1.0,)}},
        {"free_nodes": frozenset({4})},
        {"balances_wei": {"0xABC": 1}},
        {"enclave_keys": {1: "short"}},
        {"gossip_ms": -1.0},
    ],
)
def test_a_set_up_that_makes_no_sense_is_refused(options: dict[str, object]) -> None:
    """With the option's name in the message."""
    with pytest.raises(DevnetError, match=next(iter(options))):
        DevnetConfig(**options)  # type: ignore[arg-type]  # each option has its own type


@pytest.mark.parametrize(("accounts", "per_block", "count"), [(2, 1, 2), (1, 2, 2), (3, 4, 12), (0, 5, 0)])
def test_public_traffic_is_in_every_block(accounts: int, per_block: int, count: int) -> None:
    """So many accounts, so many transactions each: an account can be twice in a block."""
    driver = Driver()
    senders = driver.call(1, "devnet_publicTraffic", accounts, per_block)
    for _ in range(3):
        number = driver.mine()
        block = driver.call(1, "eth_getBlockByNumber", hex(number), True)
        assert len(block["transactions"]) == count
        assert {transaction["from"] for transaction in block["transactions"]} == set(senders if count else ())
    driver.call(1, "devnet_publicTraffic", 0, 0)
    driver.mine()

    assert not driver.network.chain.head.transactions


def test_public_traffic_can_call_a_contract() -> None:
    """With data the transactions go to a contract instead of the sender."""
    driver = Driver()
    (sender,) = driver.call(1, "devnet_publicTraffic", 1, 1, "0x0102")
    number = driver.mine()
    (transaction,) = driver.call(1, "eth_getBlockByNumber", hex(number), True)["transactions"]

    assert (transaction["from"], transaction["input"]) == (sender, "0x0102")
    assert transaction["to"] == CALLED_CONTRACT


def test_a_fraction_of_public_traffic_is_in_some_blocks() -> None:
    """Two accounts with a fifth each: one transaction each in five blocks, not in the same block."""
    driver = Driver()
    driver.call(1, "devnet_publicTraffic", 2, 0.2)
    counts = [len(driver.network.chain.head.transactions) for _ in range(10) if driver.mine()]

    assert sum(counts) == 4
    assert max(counts) == 1


def test_public_traffic_comes_with_the_block_period_and_waits_while_blocks_are_full() -> None:
    """No more than a block's worth of each account waits."""
    driver = Driver(block_period_seconds=1.0)
    driver.call(1, "devnet_publicTraffic", 1, 2)
    driver.move(1.0)
    assert len(driver.network.chain.head.transactions) == 2
    driver.call(1, "devnet_setCongested", True)
    driver.move(3.0)
    assert len(driver.network.pool.pending()) == 2
    driver.call(1, "devnet_setCongested", False)
    driver.move(1.0)

    assert len(driver.network.chain.head.transactions) == 2
