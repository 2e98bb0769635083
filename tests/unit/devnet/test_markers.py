"""Marker transactions: order in a block, the fixed key and its race."""

import pytest

from orchestrator.devnet.chain.marker_signatures import marker_account, sign_marker
from orchestrator.devnet.chain.public_signatures import decode_public_transaction
from orchestrator.devnet.errors import RpcError
from orchestrator.devnet.network.submission import Submission
from tests.unit.devnet.driving import APPLICATION, Driver

COUNT = 20


def sent_together(driver: Driver, count: int = COUNT) -> list[str]:
    """Send consecutive nonces without mining in between."""
    return [driver.send(b"%d" % number, to=APPLICATION, private_nonce=number + 1) for number in range(count)]


def executed(driver: Driver, hashes: list[str]) -> int:
    receipts = [driver.call(1, "priv_getTransactionReceipt", pmt_hash) for pmt_hash in hashes]
    return sum(1 for receipt in receipts if receipt is not None and receipt["status"] == "0x1")


def test_with_random_keys_few_of_many_consecutive_nonces_execute() -> None:
    """The order in the block is not that of submission, and nothing waits for a gap to close."""
    driver = Driver()
    driver.create(1, 2)
    hashes = sent_together(driver)
    driver.mine(2)
    senders = {driver.call(1, "eth_getTransactionByHash", pmt_hash)["from"] for pmt_hash in hashes}

    assert 1 <= executed(driver, hashes) < COUNT / 2
    assert len(senders) == COUNT


def test_with_a_fixed_key_the_order_of_submission_is_kept() -> None:
    """All of many consecutive nonces execute; their markers have one sender and consecutive public nonces."""
    driver = Driver(fixed_marker_key=True)
    driver.create(1, 2)
    hashes = sent_together(driver)
    driver.mine()
    markers = [driver.call(1, "eth_getTransactionByHash", pmt_hash) for pmt_hash in hashes]

    assert executed(driver, hashes) == COUNT
    assert len({marker["from"] for marker in markers}) == 1
    assert [int(marker["nonce"], 16) for marker in markers] == list(range(1, COUNT + 1))


def test_sends_at_the_same_time_lose_some_with_a_fixed_key() -> None:
    """All get a hash; those whose place another took are never mined, and nothing says so."""
    driver = Driver(fixed_marker_key=True, submission_ms=2)
    driver.create(1, 2)
    under_way = []
    for number in range(COUNT):
        raw = driver.raw(b"%d" % number, to=APPLICATION, private_nonce=number + 1)
        result = driver.emulation.apis[0].call("eea_sendRawTransaction", [raw])
        assert isinstance(result, Submission)
        under_way.append(result)
    hashes = [submission.complete() for submission in under_way]
    driver.mine(3)
    mined = [driver.call(1, "eth_getTransactionReceipt", pmt_hash) is not None for pmt_hash in hashes]

    assert len(set(hashes)) == COUNT
    assert 0 < mined.count(False) < COUNT / 2
    assert driver.network.nodes[0].sends_under_way == 0


def test_before_23_10_2_sends_at_the_same_time_are_refused_instead() -> None:
    """The pool keeps the first at a place there, so the send that comes second is told; nothing is lost in silence."""
    driver = Driver(fixed_marker_key=True, submission_ms=2, besu_version="22.4.4")
    driver.create(1, 2)
    under_way = []
    for number in range(COUNT):
        raw = driver.raw(b"%d" % number, to=APPLICATION, private_nonce=number + 1)
        under_way.append(driver.emulation.apis[0].call("eea_sendRawTransaction", [raw]))
    hashes, refused = [], 0
    for submission in under_way:
        try:
            hashes.append(submission.complete())
        except RpcError as error:
            refused += error.message == "Replacement transaction underpriced"
    driver.mine(3)

    assert 0 < refused < COUNT / 2
    assert len(hashes) + refused == COUNT
    assert all(driver.call(1, "eth_getTransactionReceipt", pmt_hash) for pmt_hash in hashes)
    assert driver.network.nodes[0].sends_under_way == 0


def test_one_send_after_the_other_loses_nothing() -> None:
    """The race is only between sends that overlap."""
    driver = Driver(fixed_marker_key=True, submission_ms=2)
    driver.create(1, 2)
    hashes = sent_together(driver)
    driver.mine()

    assert all(driver.call(1, "eth_getTransactionReceipt", pmt_hash) for pmt_hash in hashes)


def test_a_marker_can_be_read_back() -> None:
    """What is kept of a marker is enough to have it again."""
    marker = sign_marker(
        marker_account(b"seed"), account_nonce=300, gas_price=0, gas_limit=3_000_000, payload=bytes(range(64))
    )

    assert decode_public_transaction(marker.raw) == marker


def test_a_refused_submission_is_no_longer_under_way() -> None:
    """A failure at the end of a submission releases its place."""
    driver = Driver(fixed_marker_key=True)
    driver.create(1, 2)
    for _ in range(2):
        with pytest.raises(RpcError, match="-32004"):
            driver.send(b"x", to=APPLICATION, gas_price=1)

    assert driver.network.nodes[0].sends_under_way == 0
