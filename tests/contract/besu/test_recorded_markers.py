import json
from pathlib import Path
from typing import Any

import pytest

from orchestrator.besu.adapter.receipts import outcome_of
from orchestrator.besu.codec import answers
from orchestrator.besu.codec.identifiers import bytes_to_hex
from orchestrator.besu.codec.management_contract import PRIVACY_PRECOMPILE
from orchestrator.besu.codec.marker_transaction import (
    BURN_GAS_LIMIT,
    PAYLOAD_KEY_BYTES,
)
from orchestrator.besu.codec.rpc_errors import rpc_error
from orchestrator.besu.errors import RpcError
from orchestrator.besu.transaction_errors import (
    GasPriceTooLowError,
    InsufficientBalanceError,
    IntrinsicGasError,
    MarkerKnownError,
    MarkerOutbidError,
    NonceTooLowError,
)
from orchestrator.devnet.chain.public_signatures import decode_public_transaction
from orchestrator.devnet.chain.public_transaction import PublicTransaction

# Distributions, markers and burns that nodes of Besu 23.10.3 answered: an excerpt.
RECORDED = [json.loads(line) for line in Path(__file__).with_name("own_markers.jsonl").read_text().splitlines()]


def exchanges(method: str) -> list[Any]:
    found = [row for row in RECORDED if row["request"]["method"] == method]
    assert found
    return found


def sent(row: Any) -> PublicTransaction:
    return decode_public_transaction(answers.read_data(row["request"]["params"][0]))


def test_the_hash_of_a_marker_is_known_before_it_is_sent() -> None:
    """What a node answers to a marker or a burn is the hash that its bytes have."""
    taken = [row for row in exchanges("eth_sendRawTransaction") if "result" in row["response"]]
    assert taken
    for row in taken:
        assert bytes_to_hex(sent(row).hash) == row["response"]["result"]


def test_the_account_of_a_marker_is_who_the_chain_says() -> None:
    """The receipt's sender is the account recovered from the marker's signature."""
    receipts = {
        row["response"]["result"]["transactionHash"]: answers.read_public_receipt(row["response"]["result"])
        for row in exchanges("eth_getTransactionReceipt")
    }
    markers = {bytes_to_hex(marker.hash): marker for marker in map(sent, exchanges("eth_sendRawTransaction"))}
    mined = receipts.keys() & markers.keys()
    assert mined
    for pmt_hash in mined:
        assert receipts[pmt_hash].sender == markers[pmt_hash].sender


def test_a_marker_carries_the_key_that_distribution_answered() -> None:
    """The input of each marker is a payload key of 32 bytes, or of 64 for an addition; a burn carries nothing."""
    keys = {answers.read_data(row["response"]["result"]) for row in exchanges("priv_distributeRawTransaction")}
    assert {len(key) for key in keys} == PAYLOAD_KEY_BYTES
    markers = list(map(sent, exchanges("eth_sendRawTransaction")))
    carried = [marker for marker in markers if marker.to == PRIVACY_PRECOMPILE]
    burns = [marker for marker in markers if marker.to == marker.sender]
    assert len(carried) + len(burns) == len(markers)
    assert burns
    assert keys & {marker.input for marker in carried}
    assert {(burn.input, burn.value, burn.gas_limit) for burn in burns} == {(b"", 0, BURN_GAS_LIMIT)}


def test_a_marker_of_ones_own_executes_like_a_nodes() -> None:
    """The private receipt is found under the marker's hash and tells the outcome."""
    markers = {bytes_to_hex(marker.hash) for marker in map(sent, exchanges("eth_sendRawTransaction"))}
    answered = [row for row in exchanges("priv_getTransactionReceipt") if row["request"]["params"][0] in markers]
    told = [row for row in answered if row["response"]["result"] is not None]
    assert told
    for row in told:
        receipt = answers.read_private_receipt(row["response"]["result"])
        assert receipt.pmt_hash == row["request"]["params"][0]
        assert outcome_of(receipt.pmt_hash, receipt, receipt).executed is ("wrong private nonce" not in row["step"])


@pytest.mark.parametrize(
    ("step", "kind"),
    [
        ("M3 the marker twice", MarkerKnownError),
        ("M4 the same marker again after it was mined", NonceTooLowError),
        ("M3 marker first, burn gas price 1, same node", InsufficientBalanceError),
        ("own marker with gas limit 21000", IntrinsicGasError),
        ("M3 funded account, marker gas price 1000, burn gas price 0", MarkerOutbidError),
        ("M6 --min-gas-price=1000 --tx-pool-no-local-priority=true", GasPriceTooLowError),
    ],
)
def test_what_a_pool_answers_to_a_marker_is_told_apart(step: str, kind: type[RpcError]) -> None:
    """Each way in which a real pool did not take a marker or its burn is an error of its own."""
    refusals = [
        rpc_error(row["response"]["error"]["code"], row["response"]["error"]["message"])
        for row in exchanges("eth_sendRawTransaction")
        if row["step"] == step and "error" in row["response"]
    ]
    assert kind in {type(refusal) for refusal in refusals}
