"""The nodes' pools: gossip, replacement by each line's rules, being cut off, restarts."""

from typing import Any

import pytest

from orchestrator.besu.codec.management_contract import encode_add_participants
from orchestrator.devnet.chain.public_transaction import PublicTransaction
from orchestrator.devnet.errors import RpcError
from tests.unit.devnet.driving import Driver


def known(driver: Driver, node: int, transaction: PublicTransaction) -> bool:
    """Whether a node shows a transaction, waiting or mined."""
    return driver.call(node, "eth_getTransactionByHash", "0x" + transaction.hash.hex()) is not None


def mined(driver: Driver, transaction: PublicTransaction) -> bool:
    return driver.call(1, "eth_getTransactionReceipt", "0x" + transaction.hash.hex()) is not None


def competing(driver: Driver, **fields: Any) -> tuple[PublicTransaction, PublicTransaction]:
    """A marker and what burns its place."""
    account = driver.one_time()
    return driver.sign(account, payload=b"\x01" * 32, **fields), driver.burn(account, **fields)


@pytest.mark.parametrize("version", ["23.10.2", "23.10.3", "24.5.0", "25.4.1"])
def test_at_the_same_price_the_later_replaces_the_earlier(version: str) -> None:
    """A burn takes the marker's place, and a marker the burn's, whichever node it goes through."""
    for order in (1, -1):
        driver = Driver(besu_version=version)
        first, second = competing(driver)[::order]
        driver.broadcast(first, node=1)
        driver.broadcast(second, node=2)
        driver.mine()

        assert (mined(driver, first), mined(driver, second)) == (False, True)


@pytest.mark.parametrize("version", ["21.1.7", "22.4.4", "23.4.0", "23.10.1"])
def test_before_23_10_2_the_first_in_a_pool_wins(version: str) -> None:
    """A second one must pay more than a tenth more; through another node as well, whose pool has the first by then."""
    driver = Driver(besu_version=version)
    marker, burn = competing(driver)
    driver.broadcast(marker)
    for node in (1, 2):
        with pytest.raises(RpcError, match="-32000 Replacement transaction underpriced"):
            driver.broadcast(burn, node=node)
    driver.mine()

    assert mined(driver, marker)


def test_before_23_10_2_a_pool_that_has_not_seen_the_marker_takes_the_burn() -> None:
    """Held by a node that is cut off, the marker loses to the burn, and vanishes when the node is back."""
    driver = Driver(besu_version="22.4.4", nodes=4, validators=3)
    marker, burn = competing(driver)
    driver.call(1, "devnet_setPropagation", 4, False, False)
    assert [driver.call(node, "net_peerCount") for node in (1, 4)] == ["0x2", "0x0"]
    driver.broadcast(marker, node=4)
    driver.broadcast(burn, node=1)
    driver.mine()
    driver.call(1, "devnet_setPropagation", 4, True, True)
    driver.mine(2)

    assert mined(driver, burn)
    assert not any(known(driver, node, marker) for node in (1, 2, 3, 4))


def test_a_price_counts_with_the_bump_on_older_lines_only() -> None:
    """Of 1,000 wei a replacement must pay 1,101 before 23.10.2, 1,000 from it on, and never less."""
    for version, price, replaces in (
        ("22.4.4", 1_100, False),
        ("22.4.4", 1_101, True),
        ("23.10.3", 1_000, True),
        ("23.10.3", 999, False),
    ):
        address = Driver().one_time().address
        driver = Driver(besu_version=version, balances_wei={address: 10**12})
        account = driver.one_time()
        driver.public(account, gas_price=1_000)
        if replaces:
            driver.broadcast(driver.burn(account, gas_price=price))
        else:
            with pytest.raises(RpcError, match="Replacement transaction underpriced"):
                driver.broadcast(driver.burn(account, gas_price=price))


def test_a_marker_held_by_a_cut_off_node_takes_a_pending_burn_back() -> None:
    """A burn that waits is nothing: when the node is back, its marker replaces it in the other pools."""
    driver = Driver(nodes=4, validators=3)
    account = driver.one_time()
    marker, burn = driver.sign(account, account_nonce=1, payload=b"\x01" * 32), driver.burn(account, account_nonce=1)
    driver.call(1, "devnet_setPropagation", 4, False)
    driver.broadcast(marker, node=4)
    driver.broadcast(burn, node=1)
    assert not known(driver, 1, marker)
    driver.call(1, "devnet_setPropagation", 4, True)
    driver.broadcast(driver.burn(account))
    driver.mine()

    assert (mined(driver, marker), mined(driver, burn)) == (True, False)


def test_known_transactions_are_not_sent_to_peers_again() -> None:
    """Burn, marker, burn through one node: its own pool holds the burn, the others the marker; the proposer decides."""
    outcomes = set()
    for blocks_before in range(3):
        driver = Driver()
        driver.mine(blocks_before + 1)
        marker, burn = competing(driver)
        for transaction in (burn, marker, burn):
            driver.broadcast(transaction)
        pools = [driver.network.pool.of(node) for node in driver.network.nodes]
        assert [burn.hash in pool for pool in pools] == [True, False, False]
        proposer = driver.network.chain.head.number % 3
        driver.mine()
        assert mined(driver, burn) is (proposer == 0)
        outcomes.add(mined(driver, burn))

    assert outcomes == {True, False}


def test_a_burn_through_every_node_is_mined() -> None:
    """Whatever the pools held before."""
    driver = Driver()
    marker, burn = competing(driver)
    for transaction, node in ((burn, 1), (marker, 1), (burn, 1), (burn, 2), (burn, 3)):
        driver.broadcast(transaction, node=node)
    driver.mine()

    assert mined(driver, burn)


def test_a_node_restarted_alone_gets_its_pool_back_from_its_peers() -> None:
    """Only a restart of all nodes together forgets."""
    driver = Driver()
    marker, _ = competing(driver, account_nonce=1)
    driver.broadcast(marker)
    for up in (False, True):
        driver.call(2, "devnet_setNode", 1, up)
    assert known(driver, 1, marker)
    for up in (False, True):
        for node in (1, 2, 3):
            driver.call(1, "devnet_setNode", node, up)

    assert not any(known(driver, node, marker) for node in (1, 2, 3))
    driver.broadcast(marker)
    assert known(driver, 3, marker)


def test_a_transaction_sent_through_a_cut_off_node_stays_there() -> None:
    """It is in that node's pool only, until the node is connected again; then it is mined."""
    driver = Driver(nodes=4, validators=3)
    driver.call(1, "devnet_setPropagation", 4, False)
    pmt_hash = driver.send(encode_add_participants(driver.abi, driver.keys[:2] + driver.keys[3:]), node=4)
    driver.mine(3)
    assert driver.call(4, "eth_getTransactionByHash", pmt_hash)["blockNumber"] is None
    assert driver.call(1, "eth_getTransactionByHash", pmt_hash) is None
    driver.call(1, "devnet_setPropagation", 4, True)
    driver.mine()

    assert driver.call(1, "eth_getTransactionReceipt", pmt_hash) is not None
    assert driver.members(1) == (driver.keys[0], driver.keys[1], driver.keys[3])


def test_a_node_cut_off_from_blocks_keeps_its_head_and_makes_none() -> None:
    """It catches up when it is connected again; a validator that is cut off loses its turns."""
    driver = Driver()
    driver.call(1, "devnet_setPropagation", 2, True, False)
    driver.mine(6)
    miners = {driver.call(1, "eth_getBlockByNumber", hex(number), False)["miner"] for number in range(1, 7)}
    assert (driver.head(1), driver.head(2)) == (6, 0)
    assert driver.call(2, "net_peerCount") == "0x2"
    assert driver.call(1, "eth_getBlockByNumber", "0x1", False)["miner"] in miners
    assert len(miners) == 2
    driver.call(1, "devnet_setPropagation", 2, True, True)

    assert driver.head(2) == 6


def test_from_24_5_0_a_marker_that_first_went_through_a_follower_stays() -> None:
    """Nobody mines it, also when it is sent through validators, which know it; one more gas and a validator does."""
    driver = Driver(besu_version="25.4.1", nodes=4, validators=3)
    account = driver.one_time()
    marker = driver.sign(account, payload=b"\x01" * 32)
    driver.broadcast(marker, node=4)
    for node in (1, 2, 3):
        with pytest.raises(RpcError, match="-32000 Known transaction"):
            driver.broadcast(marker, node=node)
    driver.mine(6)
    assert not mined(driver, marker)
    again = driver.sign(account, payload=b"\x01" * 32, gas_limit=100_001)
    driver.broadcast(again, node=1)
    driver.mine()

    assert mined(driver, again)


def test_without_a_base_fee_only_the_validator_that_took_it_mines_a_free_transaction() -> None:
    """From 24.5.0 on: the others have it as well, and leave it out of their blocks."""
    for version, turns in (("24.4.0", 1), ("24.5.0", 3)):
        driver = Driver(besu_version=version, base_fee=False)
        marker, _ = competing(driver)
        driver.broadcast(marker, node=3)
        for turn in range(1, 4):
            driver.mine()
            assert mined(driver, marker) is (turn >= turns)
        assert "baseFeePerGas" not in driver.call(1, "eth_getBlockByNumber", "latest", False)


@pytest.mark.parametrize("version", ["23.10.3", "24.4.0"])
def test_before_24_5_0_a_marker_through_a_follower_is_mined(version: str) -> None:
    """As through any node."""
    driver = Driver(besu_version=version, nodes=4, validators=3)
    marker, _ = competing(driver)
    driver.broadcast(marker, node=4)
    driver.mine()

    assert mined(driver, marker)


def test_on_a_paid_network_a_free_marker_is_mined_by_the_validator_that_took_it() -> None:
    """Its own API lets it pay less; other pools don't, and one from a free follower reaches nobody."""
    driver = Driver(nodes=4, validators=3, min_gas_price_wei=1_000, free_nodes=frozenset({4}))
    through_validator, through_follower = driver.sign(driver.one_time()), driver.sign(driver.one_time())
    driver.broadcast(through_validator, node=2)
    driver.broadcast(through_follower, node=4)
    driver.mine(3)

    assert mined(driver, through_validator)
    assert not mined(driver, through_follower)
    number = int(driver.call(1, "eth_getTransactionByHash", "0x" + through_validator.hash.hex())["blockNumber"], 16)
    assert (number - 1) % 3 == 1


def test_gossip_takes_time_when_it_is_told_to() -> None:
    """Until it has arrived, another node takes the same transaction, and a proposer that lacks it leaves it out."""
    driver = Driver(gossip_ms=100)
    marker, _ = competing(driver)
    driver.broadcast(marker, node=2)
    driver.mine()
    assert not mined(driver, marker)
    driver.broadcast(marker, node=3)
    driver.move(0.1)
    with pytest.raises(RpcError, match="-32000 Known transaction"):
        driver.broadcast(marker, node=1)
    driver.mine()

    assert mined(driver, marker)


def test_a_block_holds_one_transaction_at_each_place_and_none_that_cannot_be_paid() -> None:
    """What the sender cannot pay any more after its transactions before waits."""
    address = Driver().one_time().address
    driver = Driver(balances_wei={address: 21_000 * 10 + 5})
    account = driver.one_time()
    first = driver.burn(account, gas_price=10)
    driver.broadcast(first)
    second = driver.sign(account, account_nonce=1, to=address, gas_limit=21_000, gas_price=10)
    driver.broadcast(second)
    driver.mine(2)

    assert (mined(driver, first), mined(driver, second)) == (True, False)


def test_transactions_of_a_dropped_branch_come_back_to_every_pool() -> None:
    """And are mined again where their place is free."""
    driver = Driver()
    marker, burn = competing(driver)
    driver.broadcast(marker)
    driver.mine()
    driver.call(1, "devnet_reorg", 1)
    assert mined(driver, marker)
    with pytest.raises(RpcError, match="Nonce too low"):
        driver.broadcast(burn)
