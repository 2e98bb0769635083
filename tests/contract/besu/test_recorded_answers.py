"""Everything that real nodes answered is understood."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from orchestrator.besu.client.group_snapshots import group_calls, read_group_view
from orchestrator.besu.codec import answers
from orchestrator.besu.codec.answers import read_data
from orchestrator.besu.codec.json_rpc import Answer, Notification, decode_message
from orchestrator.besu.codec.management_contract import (
    MANAGEMENT_PROXY,
    Abi,
    ContractLog,
    Method,
    abi_of_code,
    decode_call,
    decode_flag,
    decode_log,
    decode_participants,
    decode_version,
    encode_add_participants,
    encode_call,
    encode_participants,
    encode_remove_participant,
)
from orchestrator.besu.codec.private_transaction import InvalidPrivateTransactionError, decode_private_transaction
from orchestrator.besu.codec.results import Head, Log
from orchestrator.besu.codec.rpc_errors import rpc_error
from orchestrator.besu.errors import GroupUnknownError, NotKnownError, UnknownRpcError
from orchestrator.besu.transport.subscriptions import Subscriptions, heads
from orchestrator.besu.versions import native_abi

READERS: dict[str, Callable[[Any], Any]] = {
    "eth_blockNumber": answers.read_quantity,
    "eth_chainId": answers.read_quantity,
    "eth_getBlockByNumber": answers.read_block,
    "eth_getTransactionByHash": answers.read_public_transaction,
    "eth_getTransactionReceipt": answers.read_public_receipt,
    "eth_syncing": answers.read_syncing,
    "net_peerCount": answers.read_quantity,
    "priv_call": answers.read_data,
    "priv_debugGetStateRoot": answers.read_hash,
    "eth_gasPrice": answers.read_quantity,
    "eth_getTransactionCount": answers.read_quantity,
    "eth_sendRawTransaction": answers.read_hash,
    "priv_distributeRawTransaction": answers.read_data,
    "priv_getLogs": lambda value: answers.read_list(answers.read_log, value),
    "priv_getPrivacyPrecompileAddress": answers.read_address,
    "priv_getPrivateTransaction": answers.read_private_transaction,
    "priv_getTransactionCount": answers.read_quantity,
    "priv_getTransactionReceipt": answers.read_private_receipt,
    "eea_sendRawTransaction": answers.read_hash,
    "web3_clientVersion": answers.read_client_version,
    **dict.fromkeys(
        ["privx_findFlexiblePrivacyGroup", "privx_findOnchainPrivacyGroup", "privx_findOnChainPrivacyGroup"],
        lambda value: answers.read_list(answers.read_found_group, value),
    ),
}
NOT_READ = {"net_version", "rpc_modules", "priv_getCode", "eth_subscribe", "priv_subscribe", ""}


def test_every_result_is_read(recorded: Any) -> None:
    """Each result of each version is read by the reader of its method, and no method is left out."""
    read: Counter[str] = Counter()
    for exchange in recorded:
        if exchange.result is None or exchange.method in NOT_READ:
            continue
        READERS[exchange.method](exchange.result)
        read[exchange.method] += 1
    assert set(READERS) - set(read) <= {"privx_findOnChainPrivacyGroup"} | set(read)
    assert sum(read.values()) > 1000


def test_every_error_is_mapped(recorded: Any) -> None:
    """No real node answered an error that the map does not know."""
    seen = set()
    for exchange in recorded:
        error = exchange.response.get("error")
        if error is not None:
            assert type(rpc_error(error["code"], error["message"], error.get("data"))) is not UnknownRpcError
            seen.add((error["code"], error["message"]))
    assert len(seen) > 20


def test_every_sent_transaction_is_read_and_found_again(recorded: Any) -> None:
    """A raw transaction is read, and what priv_getPrivateTransaction answers of it has the same bytes."""
    sent: dict[str, bytes] = {}
    for exchange in recorded:
        if exchange.method == "eea_sendRawTransaction" and exchange.result is not None:
            sent[exchange.result] = decode_private_transaction(exchange.params[0]).raw
    found = 0
    for exchange in recorded:
        if exchange.method == "priv_getPrivateTransaction" and exchange.result is not None:
            assert answers.read_private_transaction(exchange.result).raw == sent[exchange.params[0]]
            found += 1
    assert found > 10


def test_what_nodes_refuse_to_decode_is_refused(recorded: Any) -> None:
    """Bytes that a node could not decode are none here either."""
    refused = [
        exchange
        for exchange in recorded
        if exchange.method == "eea_sendRawTransaction"
        and "Unable to decode" in exchange.response.get("error", {}).get("message", "")
    ]
    assert refused
    for exchange in refused:
        with pytest.raises(InvalidPrivateTransactionError):
            decode_private_transaction(exchange.params[0])


def test_calls_to_the_contract_are_encoded_as_a_client_encoded_them(recorded: Any) -> None:
    """Reading the call data of each management transaction and writing them again gives the same bytes."""
    methods: Counter[Method] = Counter()
    for exchange in recorded:
        if exchange.method != "eea_sendRawTransaction" or exchange.result is None:
            continue
        transaction = decode_private_transaction(exchange.params[0]).transaction
        call = decode_call(transaction.data) if transaction.to == MANAGEMENT_PROXY else None
        if call is None:
            continue
        methods[call.method] += 1
        if call.method is Method.ADD_PARTICIPANTS:
            assert call.abi is not None
            again = encode_add_participants(call.abi, call.members)
        elif call.method is Method.REMOVE_PARTICIPANT:
            assert call.abi is not None
            again = encode_remove_participant(call.abi, call.members[0])
        else:
            again = encode_call(call.method)
        assert again == transaction.data
    assert len(methods) == 4


def test_contract_answers_are_read(recorded: Any) -> None:
    """Participants, flags and versions of both dialects are read, and participants are written as the contract does."""
    readers = {
        encode_call(Method.CAN_EXECUTE): decode_flag,
        encode_call(Method.CAN_UPGRADE): decode_flag,
        encode_call(Method.GET_VERSION): decode_version,
    }
    lists = 0
    for exchange in recorded:
        if exchange.method != "priv_call" or not exchange.result:
            continue
        data, output = bytes.fromhex(exchange.params[1]["data"][2:]), read_data(exchange.result)
        if data in readers:
            readers[data](output)
        elif data == encode_call(Method.GET_PARTICIPANTS) and output:
            members = decode_participants(output)
            version = answers.read_client_version(f"besu/v{exchange.besu}").version
            assert version is not None
            abi = native_abi(version)
            assert encode_participants(abi, members) == output
            lists += 1
    assert lists > 100


def test_membership_logs_are_read(recorded: Any) -> None:
    """Every log of every private receipt is one of the contract's, in the dialect of its version."""
    kinds: Counter[str] = Counter()
    for exchange in recorded:
        if exchange.method == "priv_getTransactionReceipt" and exchange.result is not None:
            for log in answers.read_private_receipt(exchange.result).logs:
                kinds[type(decode_log(ContractLog(log.address, log.topics, log.data))).__name__] += 1
    assert set(kinds) == {"ParticipantAdded", "ParticipantRemoved"}


def test_the_dialect_is_read_off_real_code(recorded: Any) -> None:
    """The selectors in the code that nodes answered tell the dialect that their version creates."""
    seen = 0
    for exchange in recorded:
        if exchange.method == "priv_getCode" and isinstance(exchange.result, dict):
            code = b"".join(b"\x63" + bytes.fromhex(found) for found in exchange.result["push4_selectors"])
            expected = Abi.BYTES32 if exchange.besu in {"21.1.7", "22.4.4"} else Abi.BYTES
            assert abi_of_code(code) is expected
            seen += 1
    assert seen


def test_notifications_are_delivered(recorded: Any) -> None:
    """Heads and logs that real nodes pushed become items; heads say which transactions they hold."""
    delivered: Counter[type] = Counter()
    for exchange in recorded:
        if exchange.response.get("method") not in {"eth_subscription", "priv_subscription"}:
            continue
        notification = decode_message(json.dumps(exchange.response))
        assert isinstance(notification, Notification)
        if isinstance(notification.result, str):  # of droppedPendingTransactions, which is not subscribed here
            continue
        subscriptions = Subscriptions()
        subscriptions.subscribed(subscriptions.add(heads()), notification.subscription)
        for _, item in subscriptions.notified(notification):
            delivered[type(item)] += 1
            if isinstance(item, Head):
                assert item.transaction_hashes is not None
    assert delivered[Head] >= 10
    assert delivered[Log] >= 5


def snapshots(exchanges: Any) -> list[tuple[str, Any]]:
    """Group the recorded snapshots: (step, five answers as group_calls would get them)."""
    block = {"number": "0x1", "hash": "0x" + "11" * 32, "parentHash": "0x" + "11" * 32, "timestamp": "0x1"}
    found = []
    for index, exchange in enumerate(exchanges):
        if exchange.method != "priv_call" or exchange.params[1]["data"] != "0x5aa68ac0":
            continue
        parts = exchanges[index : index + 5]
        if [part.method for part in parts] != [
            *["priv_call"] * 3,
            "priv_debugGetStateRoot",
            "priv_getTransactionCount",
        ]:
            continue
        answered = [
            Answer(0, part.result)
            if "error" not in part.response
            else Answer(0, error=rpc_error(part.response["error"]["code"], part.response["error"]["message"]))
            for part in parts
        ]
        participants, can_execute, version, root, count = answered
        found.append(
            (
                f"{exchange.step}, node {exchange.node}",
                [Answer(0, block), root, participants, can_execute, version, count],
            )
        )
    return found


@pytest.mark.parametrize("version", ["21.1.7", "22.4.4", "23.10.3", "25.4.1", "25.5.0"])
def test_snapshots_show_the_group_as_it_was(scenario: Any, version: str) -> None:
    """The five answers of a snapshot become the state that the scenario had reached, on each node."""
    views = {
        step: read_group_view(answered, with_nonce=True, with_code=False)
        for step, answered in reversed(snapshots(scenario(version)))  # a step's first snapshot counts
    }
    before, created = views["before create, node 1"], views["after create, node 1"]
    locked, added = views["after lock, node 1"], views["after add, node 1"]
    removed, stranger = views["after remove, node 1"], views["after create, node 3"]
    assert (before.exists, before.private_nonce, before.state_root) == (False, 0, "")
    assert (created.exists, len(created.participants), created.locked, created.private_nonce) == (True, 2, False, 1)
    assert locked.locked
    assert (len(added.participants), added.locked) == (3, False)
    assert added.version != created.version == locked.version
    assert added.state_root != locked.state_root
    assert len(removed.participants) == 2
    assert not stranger.exists


def test_a_snapshot_asks_for_one_block() -> None:
    """Everything that has a block parameter is asked at the same block number, never at latest."""
    calls = group_calls("group", 27, account="0x" + "11" * 20, with_code=True)
    assert [call.params[-1] for call in calls if call.method != "eth_getBlockByNumber"] == [
        "0x1b",
        "0x1b",
        "0x1b",
        "0x1b",
        "group",
        "0x1b",
    ]
    assert calls[0].params == ("0x1b", False)


def test_a_block_beyond_the_head_is_no_snapshot() -> None:
    """A null block means that the node has not come so far: it says nothing of the group."""
    with pytest.raises(NotKnownError):
        read_group_view([Answer(0, None)] * 5, with_nonce=False, with_code=False)


def test_a_tenant_that_is_no_member_has_no_nonce() -> None:
    """The error that a tenant gets for the nonce of a foreign group is not fatal to the snapshot."""
    block = {"number": "0x1", "hash": "0x" + "11" * 32, "parentHash": "0x" + "11" * 32, "timestamp": "0x1"}
    unknown = Answer(0, error=GroupUnknownError(-50100, "Unable to determine nonce for account in group."))
    empty = Answer(0, "0x")
    view = read_group_view(
        [Answer(0, block), unknown, empty, empty, empty, unknown, Answer(0, None)], with_nonce=True, with_code=True
    )
    assert (view.exists, view.private_nonce, view.code) == (False, None, b"")
