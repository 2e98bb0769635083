"""Public transactions by anybody: markers of one's own, transfers, and what a node refuses."""

from typing import Any

import pytest

from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE, Method, encode_add_participants, encode_call
from orchestrator.devnet.chain.public_signatures import (
    InvalidPublicTransactionError,
    TypedTransactionError,
    decode_public_transaction,
    sign_public_transaction,
    signing_account,
)
from orchestrator.devnet.chain.public_transaction import created_contract
from orchestrator.devnet.errors import RpcError
from tests.unit.devnet.driving import ACCOUNT_KEYS, APPLICATION, GROUP, OTHER, OWNER, Driver

VERSIONS = ("21.10.2", "22.4.4", "23.10.3", "25.4.1")
RICH = bytes.fromhex(ACCOUNT_KEYS[1])


@pytest.mark.parametrize("version", VERSIONS)
def test_every_action_works_with_a_marker_of_one_s_own(version: str) -> None:
    """Distributed, marked by a one-time account and mined it is what a send would have been, on all members' nodes."""
    driver = Driver(besu_version=version)
    steps = [
        (encode_add_participants(driver.abi, driver.keys[:2]), 32),
        (encode_call(Method.LOCK), 32),
        (encode_add_participants(driver.abi, [driver.keys[2]]), 64),
    ]
    receipts = []
    for data, key_bytes in steps:
        key = driver.distribute(data)
        assert len(key) == key_bytes
        pmt_hash = driver.public(driver.one_time(), payload=key)
        driver.mine()
        receipts.append(driver.call(1, "priv_getTransactionReceipt", pmt_hash))

    assert [receipt["status"] for receipt in receipts] == ["0x1"] * 3
    assert driver.members(3) == tuple(driver.keys)
    assert driver.root(3) == driver.root(1) == driver.root(2)


@pytest.mark.parametrize("version", ["20.10.0", "21.1.7", "21.10.1"])
def test_before_21_10_2_a_distributed_addition_brings_no_history(version: str) -> None:
    """It answers one key only: the members execute the addition, the new member replays nothing and is lost."""
    driver = Driver(besu_version=version)
    driver.create(1, 2)
    assert driver.lock()["status"] == "0x1"
    key = driver.distribute(encode_add_participants(driver.abi, [driver.keys[2]]))
    driver.public(driver.one_time(), payload=key)
    driver.mine()

    assert len(key) == 32
    assert driver.members(1) == tuple(driver.keys)
    assert driver.members(3) == ()


def test_a_marker_of_one_s_own_is_shown_with_its_chain_id() -> None:
    """Its hash is known before it is sent; the block, the transaction and the receipt show who signed it."""
    driver = Driver()
    account = driver.one_time()
    marker = driver.sign(account, payload=driver.distribute(encode_add_participants(driver.abi, driver.keys[:2])))
    sent = driver.call(2, "eth_sendRawTransaction", "0x" + marker.raw.hex())
    pending = driver.call(2, "eth_getTransactionByHash", sent)
    number = driver.mine()
    shown = driver.call(1, "eth_getBlockByNumber", hex(number), True)["transactions"][0]

    assert sent == "0x" + marker.hash.hex()
    assert (pending["blockNumber"], pending["from"]) == (None, account.address)
    assert (shown["from"], shown["chainId"], shown["nonce"], shown["to"]) == (
        account.address,
        "0x539",
        "0x0",
        PRIVACY_PRECOMPILE,
    )
    assert driver.call(1, "eth_getTransactionReceipt", sent)["from"] == account.address


def test_a_transfer_moves_value_and_counts_at_each_block() -> None:
    """Nonce and balance are those of the block that was asked for; "pending" counts what waits."""
    driver = Driver()
    before = int(driver.call(1, "eth_getBalance", OTHER, "latest"), 16)
    driver.public(signing_account(RICH), to=APPLICATION, value=7)
    assert driver.call(1, "eth_getTransactionCount", OTHER, "pending") == "0x1"
    assert driver.call(1, "eth_getTransactionCount", OTHER, "latest") == "0x0"
    number = driver.mine()

    assert driver.call(1, "eth_getTransactionCount", OTHER, hex(number)) == "0x1"
    assert driver.call(1, "eth_getTransactionCount", OTHER, hex(number - 1)) == "0x0"
    assert int(driver.call(1, "eth_getBalance", OTHER, "latest"), 16) == before - 7
    assert driver.call(1, "eth_getBalance", APPLICATION, "latest") == "0x7"
    driver.call(1, "devnet_reorg", 1, True)
    assert driver.call(1, "eth_getBalance", APPLICATION, "latest") == "0x0"
    assert driver.call(1, "eth_getTransactionCount", OTHER, "latest") == "0x0"


def test_a_created_contract_has_an_address() -> None:
    """A public transaction without a receiver creates a contract, which its receipt names."""
    driver = Driver()
    account = signing_account(RICH)
    sent = driver.public(account, to=None, payload=b"\x60\x00", gas_limit=60_000)
    driver.mine()
    receipt = driver.call(1, "eth_getTransactionReceipt", sent)

    assert (receipt["contractAddress"], receipt["to"]) == (created_contract(account.address, 0), None)
    assert int(receipt["gasUsed"], 16) > 53_000


REFUSALS: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({}, {"gas_limit": 20_999}, "-32003 Intrinsic gas exceeds gas limit"),
    ({}, {"chain_id": 1}, "-32000 Wrong chainId"),
    ({}, {"gas_limit": 1 << 60}, "-32005 Transaction gas limit exceeds block gas limit"),
    ({}, {"gas_price": 1}, "-32004 Upfront cost exceeds account balance"),
    ({}, {"value": 1}, "-32004 Upfront cost exceeds account balance"),
    ({"min_gas_price_wei": 5, "local_priority": False}, {}, "-32009 Gas price below configured minimum gas price"),
    ({}, {"account_nonce": 201}, "-32000 Transaction nonce is too distant from current sender nonce"),
]


@pytest.mark.parametrize(("options", "fields", "message"), REFUSALS)
def test_a_public_transaction_is_refused_as_a_node_does(
    options: dict[str, Any], fields: dict[str, Any], message: str
) -> None:
    """Each reason has its code and message, and nothing enters a pool."""
    driver = Driver(**options)
    with pytest.raises(RpcError) as refused:
        driver.public(driver.one_time(), **fields)

    assert str(refused.value) == message
    assert not driver.network.pool.pending()


def test_a_used_nonce_is_too_low_and_a_waiting_transaction_is_known() -> None:
    """The same bytes again: known while they wait, through every node, and too low once they are mined."""
    driver = Driver()
    marker = "0x" + driver.sign(driver.one_time()).raw.hex()
    driver.call(1, "eth_sendRawTransaction", marker)
    for node in (1, 2, 3):
        with pytest.raises(RpcError, match="-32000 Known transaction"):
            driver.call(node, "eth_sendRawTransaction", marker)
    driver.mine()
    with pytest.raises(RpcError, match="-32001 Nonce too low"):
        driver.call(3, "eth_sendRawTransaction", marker)


def test_accounts_that_are_not_permitted_are_refused() -> None:
    """With a list of permitted accounts all others get -32007, the nodes' own marker keys included."""
    driver = Driver()
    driver.call(1, "devnet_permitAccounts", [OTHER])
    with pytest.raises(RpcError, match="-32007 Sender account not authorized to send transactions"):
        driver.public(driver.one_time())
    with pytest.raises(RpcError, match="-32007"):
        driver.create(1, 2)
    driver.public(signing_account(RICH))
    driver.call(1, "devnet_permitAccounts", None)
    driver.public(driver.one_time())

    assert len(driver.network.pool.pending()) == 2


@pytest.mark.parametrize(("version", "word"), [("22.10.0", "it"), ("22.10.3", "is"), ("23.4.0", "is")])
def test_older_pools_take_five_of_a_sender(version: str, word: str) -> None:
    """From 22.10.0 to before 23.10.0 the sixth is refused until a block was made."""
    driver = Driver(besu_version=version)
    account = driver.one_time()
    for account_nonce in range(5):
        driver.public(account, account_nonce=account_nonce)
    with pytest.raises(RpcError, match=f"-32000 Transaction nonce {word} too distant from current sender nonce"):
        driver.public(account, account_nonce=5)
    driver.mine()
    driver.public(account, account_nonce=5)


def test_raw_transactions_are_read_back_as_they_were_signed() -> None:
    """With and without a chain id, with and without a receiver."""
    account = signing_account(RICH)
    for chain_id, to in ((None, APPLICATION), (1337, APPLICATION), (1, None)):
        signed = sign_public_transaction(
            account, account_nonce=300, gas_price=1, gas_limit=90_000, to=to, value=5, payload=b"x", chain_id=chain_id
        )
        assert decode_public_transaction(signed.raw) == signed
        assert signed.chain_id == chain_id


@pytest.mark.parametrize(
    "raw",
    [b"", b"\x80", b"\xc0", b"\xc1\x80", b"\xf8\xff", b"\xc9" + b"\x80" * 9, b"\xc9" + b"\x00" * 9, b"\xc9\xc0" * 5],
)
def test_bytes_that_are_no_transaction_are_refused(raw: bytes) -> None:
    """They are invalid parameters, never an internal error."""
    with pytest.raises(InvalidPublicTransactionError):
        decode_public_transaction(raw)
    with pytest.raises(RpcError, match="-32602"):
        Driver().call(1, "eth_sendRawTransaction", "0x" + raw.hex())


def test_typed_transactions_are_refused_by_name() -> None:
    """The devnet reads legacy transactions only."""
    with pytest.raises(TypedTransactionError):
        decode_public_transaction(b"\x02\xc0")
    with pytest.raises(RpcError, match="-32602 Invalid transaction type"):
        Driver().call(1, "eth_sendRawTransaction", "0x02c0")


def test_a_call_of_the_precompile_with_other_data_is_no_marker() -> None:
    """Input that is neither one key nor two points to no private transaction; the block is imported like any."""
    driver = Driver()
    driver.create(1, 2)
    root = driver.root(1)
    sent = driver.public(driver.one_time(), payload=b"\x01" * 33)
    driver.mine()

    assert driver.call(1, "eth_getTransactionReceipt", sent)["status"] == "0x1"
    assert driver.call(1, "priv_getTransactionReceipt", sent) is None
    assert driver.root(1) == root
    assert driver.call(1, "priv_getTransactionCount", OWNER, GROUP) == "0x1"
