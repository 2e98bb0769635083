"""The life of a group on emulated nodes of several versions."""

from typing import Any

import pytest

from orchestrator.besu.codec.identifiers import bytes_to_hex
from orchestrator.besu.codec.management_contract import (
    Method,
    encode_add_participants,
    encode_call,
)
from orchestrator.devnet.accounts import enclave_key_of
from orchestrator.devnet.errors import RpcError
from orchestrator.doctor.proofs import unsigned
from tests.unit.devnet.driving import APPLICATION, GROUP, OTHER, OTHER_GROUP, OWNER, Driver

VERSIONS = ("21.1.7", "21.7.4", "22.4.4", "23.10.3", "25.4.1")
LOCK, UNLOCK = encode_call(Method.LOCK), encode_call(Method.UNLOCK)


@pytest.mark.parametrize("version", VERSIONS)
def test_an_added_member_is_in_sync(version: str) -> None:
    """After lock and add all three nodes have the same members and the same roots, old blocks included."""
    driver = Driver(besu_version=version)
    driver.create(1, 2)
    driver.write(5)
    driver.lock_and_add(3)
    driver.write(2)

    assert driver.members(3) == tuple(driver.keys)
    for block in range(driver.head(1) + 1):
        assert driver.root(3, hex(block)) == driver.root(1, hex(block)) == driver.root(2, hex(block))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_removed_member_keeps_what_it_had(version: str) -> None:
    """The removed node still lists the group without itself and gets nothing more."""
    driver = Driver(besu_version=version)
    driver.create(1, 2)
    driver.lock_and_add(3)
    driver.remove(3)
    root = driver.root(3)
    driver.write(1)

    assert driver.members(3) == (driver.keys[0], driver.keys[1])
    assert driver.root(3) == root != driver.root(1)


@pytest.mark.parametrize(
    ("version", "status"), [("21.1.7", "0x0"), ("21.7.3", "0x0"), ("21.7.4", "0x1"), ("23.10.3", "0x1")]
)
def test_unlock_alone_works_since_21_7_4(version: str, status: str) -> None:
    """Before it a locked group executes nothing but an add, so the receipt is a bare 0x0."""
    driver = Driver(besu_version=version)
    driver.create(1, 2)
    driver.lock()
    receipt = driver.unlock()

    assert receipt["status"] == status
    assert "revertReason" not in receipt
    assert driver.locked() is (status == "0x0")


@pytest.mark.parametrize("version", VERSIONS)
def test_an_empty_add_unlocks_on_every_version(version: str) -> None:
    """The way back where unlock fails."""
    driver = Driver(besu_version=version)
    driver.create(1, 2)
    driver.lock()
    receipt = driver.add()

    assert receipt["status"] == "0x1"
    assert not driver.locked()


def test_the_same_history_gives_the_same_root_and_another_gives_another() -> None:
    """Roots come from state: equal on two networks with equal blocks, different after a different transaction."""
    roots = []
    for payload in (b"a", b"a", b"b"):
        driver = Driver()
        driver.create(1, 2)
        driver.execute(payload, to=APPLICATION)
        roots.append(driver.root(1))

    assert roots[0] == roots[1] != roots[2]


def test_two_members_can_be_added_at_once() -> None:
    """Several keys in one add, each node replaying."""
    driver = Driver(nodes=4)
    driver.create(1, 2)
    driver.write(3)
    driver.lock_and_add(3, 4)

    assert driver.root(3) == driver.root(4) == driver.root(1)
    assert driver.members(4) == tuple(driver.keys)


def test_an_add_that_was_submitted_before_the_lock_was_mined_cannot_be_replayed() -> None:
    """The bundle then lacks the lock: the old members execute the add, the new one does not."""
    driver = Driver(fixed_marker_key=True)
    driver.create(1, 2)
    driver.send(LOCK, private_nonce=1)
    driver.send(encode_add_participants(driver.abi, [driver.keys[2]]), private_nonce=2)
    driver.mine()

    assert driver.members(1) == tuple(driver.keys)
    assert driver.members(3) == tuple(driver.keys[:2])
    assert driver.root(3) != driver.root(1)


def test_a_change_of_the_version_fails_what_was_submitted_under_the_old_one() -> None:
    """A transaction submitted before an add and mined after it gets a bare 0x0."""
    driver = Driver()
    driver.create(1, 2)
    driver.lock()
    pmt_hash = driver.send(b"late", to=APPLICATION, account=2)
    waiting = driver.network.drop_pending()
    driver.add(3)
    for transaction in waiting:
        driver.network.pool.submit(driver.network.nodes[0], transaction)
    driver.mine()
    receipt = driver.call(1, "priv_getTransactionReceipt", pmt_hash)

    assert (receipt["status"], receipt.get("revertReason")) == ("0x0", None)


def test_while_locked_application_transactions_are_lost() -> None:
    """A bare 0x0, no nonce used, the same root."""
    driver = Driver()
    driver.create(1, 2)
    driver.lock()
    root = driver.root(1)
    receipt = driver.execute(b"x", to=APPLICATION, account=2)

    assert (receipt["status"], receipt.get("revertReason")) == ("0x0", None)
    assert driver.call(1, "priv_getTransactionCount", OTHER, GROUP) == "0x0"
    assert driver.root(1) == root


@pytest.mark.parametrize(("option", "count", "status"), [(False, "0x1", "0x2"), (True, "0x2", "0x0")])
def test_a_failed_transaction_uses_its_nonce_up_only_with_the_option(option: bool, count: str, status: str) -> None:
    """``--privacy-nonce-always-increments`` of 24.7.1 and later."""
    driver = Driver(besu_version="25.4.1", privacy_nonce_always_increments=option)
    driver.create(1, 2)
    driver.unlock()

    assert driver.call(1, "priv_getTransactionCount", OWNER, GROUP) == count
    assert driver.execute(b"x", to=APPLICATION, private_nonce=7)["status"] == status


@pytest.mark.parametrize("revert_reasons", [True, False])
def test_revert_reasons_are_shown_only_when_enabled(revert_reasons: bool) -> None:
    """``--revert-reason-enabled`` decides whether a receipt says why."""
    driver = Driver(revert_reason_enabled=revert_reasons)
    driver.create(1, 2)
    receipt = driver.lock(node=2, account=2)

    assert receipt["status"] == "0x0"
    assert ("revertReason" in receipt) is revert_reasons


def test_the_same_bytes_sent_twice_execute_once() -> None:
    """Each send has its own marker; the other's receipt says 0x2; a third send is refused."""
    driver = Driver()
    driver.create(1, 2)
    raw = driver.raw(b"once", to=APPLICATION)
    hashes = [driver.call(1, "eea_sendRawTransaction", raw) for _ in range(2)]
    driver.mine()
    statuses = [driver.call(1, "priv_getTransactionReceipt", pmt_hash)["status"] for pmt_hash in hashes]

    assert hashes[0] != hashes[1]
    assert sorted(statuses) == ["0x1", "0x2"]
    with pytest.raises(RpcError, match="-32001 Nonce too low"):
        driver.call(1, "eea_sendRawTransaction", raw)


def test_after_an_upgrade_a_group_keeps_its_dialect_and_cannot_be_extended() -> None:
    """The node does not recognise the old add, and the old contract does not know the new one."""
    driver = Driver(besu_version="22.4.4")
    driver.create(1, 2)
    driver.call(1, "devnet_setBesuVersion", "23.10.3")
    driver.lock()
    old = encode_add_participants(driver.abi, [driver.keys[2]])
    new = encode_add_participants(driver.network.behaviour.abi, [driver.keys[2]])
    statuses = [driver.execute(old)["status"], driver.execute(new)["status"]]

    assert statuses[1] == "0x0"
    assert driver.members(3) == ()
    assert "63b4926e25" in driver.call(1, "priv_getCode", GROUP, "0x" + "00" * 19 + "7c", "latest")


def test_find_lists_the_groups_that_have_all_the_members() -> None:
    """By any subset of the members; a node lists only groups that it knows."""
    driver = Driver()
    driver.create(1, 2)
    driver.create(1, 3, group=OTHER_GROUP)

    def found(node: int, *nodes: int) -> list[str]:
        keys = [driver.keys[item - 1] for item in nodes]
        return [group["privacyGroupId"] for group in driver.call(node, "privx_findFlexiblePrivacyGroup", keys)]

    assert found(1, 1) == [GROUP, OTHER_GROUP]
    assert found(1) == [GROUP, OTHER_GROUP]
    assert found(1, 1, 2) == [GROUP]
    assert found(2, 1) == [GROUP]
    assert found(3, 2) == []


def test_logs_are_numbered_through_and_filtered() -> None:
    """``priv_getLogs`` counts through each block; filters choose by address, topic and block."""
    driver = Driver(fixed_marker_key=True, nodes=4)
    driver.create(1, 2, 3)
    driver.lock()
    added = driver.send(encode_add_participants(driver.abi, [driver.keys[3], driver.keys[0]]), private_nonce=2)
    driver.mine()
    removal = driver.remove(2)
    everything = driver.call(1, "priv_getLogs", GROUP, {"fromBlock": "0x0", "toBlock": "latest"})
    removed = [log for log in everything if log["address"].endswith("7c")]
    topic = removed[0]["topics"][0]

    assert [log["logIndex"] for log in everything] == ["0x0", "0x1", "0x2", "0x0", "0x1", "0x0"]
    assert [log["transactionHash"] for log in everything[3:]] == [added, added, removal["commitmentHash"]]
    for query in ({"topics": [topic]}, {"address": removed[0]["address"]}, {"blockHash": removed[0]["blockHash"]}):
        bounds = {} if "blockHash" in query else {"fromBlock": "0x0", "toBlock": "latest"}
        assert driver.call(1, "priv_getLogs", GROUP, {**bounds, **query}) == removed


def test_a_polled_filter_tells_what_arrived_and_forgets_it() -> None:
    """``priv_newFilter``, its changes, its whole range, and its end."""
    driver = Driver()
    driver.create(1, 2)
    number = driver.call(1, "priv_newFilter", GROUP, {"fromBlock": "earliest", "toBlock": "latest"})
    driver.lock_and_add(3)

    assert len(driver.call(1, "priv_getFilterChanges", GROUP, number)) == 1
    assert driver.call(1, "priv_getFilterChanges", GROUP, number) == []
    assert len(driver.call(1, "priv_getFilterLogs", GROUP, number)) == 3
    assert driver.call(1, "priv_uninstallFilter", GROUP, number) is True
    with pytest.raises(RpcError, match="Filter not found"):
        driver.call(1, "priv_getFilterChanges", GROUP, number)


SUBMISSION_ERRORS: list[tuple[str, dict[str, Any], str]] = [
    ("23.10.3", {"value": 1}, "-50100 We cannot transfer ether in a private transaction yet."),
    ("23.10.3", {"restriction": "unrestricted"}, "-50100 Unsupported private transaction type"),
    ("21.1.7", {"restriction": "unrestricted"}, "-50100 Unimplemented private transaction type"),
    (
        "23.10.3",
        {"privacy_group_id": None, "private_for": (enclave_key_of(2),)},
        "-50100 Private transactions to flexible privacy groups must use privacyGroupId",
    ),
    (
        "23.10.3",
        {"group": OTHER_GROUP, "privacy_group_id": OTHER_GROUP},
        "-50100 Flexible Privacy group does not exist.",
    ),
    ("22.4.4", {"chain_id": 1}, "-32000 Wrong chainId"),
    ("22.4.4", {"private_from": enclave_key_of(50)}, "-50200 EnclaveNoMatchingPrivateKey"),
    ("21.7.4", {"private_from": enclave_key_of(50)}, "-50200 EnclaveNoMatchingPrivateKey"),
    ("21.1.7", {"private_from": enclave_key_of(50)}, "-50100 Private from does not match enclave public key"),
    ("23.10.3", {"gas_limit": 21_000}, "-50100 Privacy Marker Transaction failed due to intrinsic gas"),
    ("23.10.3", {"gas_limit": 1 << 60}, "-32005 Transaction gas limit exceeds block gas limit"),
    ("23.10.3", {"gas_price": 1}, "-32004 Upfront cost exceeds account balance"),
]


@pytest.mark.parametrize(("version", "fields", "message"), SUBMISSION_ERRORS)
def test_submission_is_refused_with_the_version_s_error(version: str, fields: dict[str, Any], message: str) -> None:
    """Each mistake has the code and the message of the real node."""
    driver = Driver(besu_version=version)
    driver.create(1, 2)
    with pytest.raises(RpcError) as caught:
        driver.send(b"x", to=APPLICATION, private_nonce=1, **fields)

    assert str(caught.value).startswith(message)
    assert not driver.network.pool.pending()


def test_the_minimum_gas_price_and_the_balance_of_the_fixed_key_count() -> None:
    """Without local priority a marker below the minimum price is refused; one that its account can pay is taken."""
    driver = Driver(min_gas_price_wei=5, local_priority=False, fixed_marker_key=True, marker_balance_wei=3_000_000 * 5)
    create = encode_add_participants(driver.abi, driver.keys[:2])
    with pytest.raises(RpcError, match="-32009 Gas price below configured minimum gas price"):
        driver.send(create, gas_price=4)
    driver.send(create, gas_price=5)

    assert len(driver.network.pool.pending()) == 1


def test_without_the_sender_as_member_a_group_is_created_on_old_versions_and_stays_dead() -> None:
    """21.1 takes the transaction, which then executes nowhere; later versions refuse it."""
    old, new = Driver(besu_version="21.1.7"), Driver(besu_version="23.10.3")
    receipt = old.execute(encode_add_participants(old.abi, [old.keys[1]]))
    with pytest.raises(RpcError, match="Flexible Privacy group does not exist"):
        new.send(encode_add_participants(new.abi, [new.keys[1]]))

    assert (receipt["status"], old.members(2)) == ("0x0", ())


def test_distributing_stores_the_payload_and_makes_no_marker() -> None:
    """``priv_distributeRawTransaction`` answers the payload's key."""
    driver = Driver()
    driver.create(1, 2)
    key = driver.call(1, "priv_distributeRawTransaction", driver.raw(b"x", to=APPLICATION))

    assert len(key) == 66
    assert not driver.network.pool.pending()


@pytest.mark.parametrize("version", ["21.1.7", "22.4.4", "23.10.3", "25.5.0"])
def test_distributing_looks_at_private_from_before_it_looks_at_the_group(version: str) -> None:
    """Bytes that nobody signed, for a group that there is not, tell whose the node is."""
    driver = Driver(besu_version=version)
    for key, message in (
        (enclave_key_of(2), "Private from does not match enclave public key"),
        (enclave_key_of(1), "rivacy group does not exist"),
    ):
        raw = bytes_to_hex(unsigned(key, driver.network.config.chain_id, bytes(range(32))))
        with pytest.raises(RpcError, match=message):
            driver.call(1, "priv_distributeRawTransaction", raw)
    assert not driver.network.pool.pending()
