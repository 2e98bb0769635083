"""A group with a history at the start, as if an application had written to it for a while. Pure.

Signed with the first well-known public development key, which must never hold anything of value.
"""

from typing import Final

from coincurve import PrivateKey
from eth_hash.auto import keccak

from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, encode_add_participants
from orchestrator.besu.codec.private_transaction import (
    PrivateTransaction,
    SignedPrivateTransaction,
    address_of_private_key,
)
from orchestrator.devnet.chain.marker_signatures import marker_account, sign_marker
from orchestrator.devnet.enclaves.enclave import TransactionPayload
from orchestrator.devnet.encoding import from_base64, minimal_bytes, rlp_list, to_base64
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.private.contract import NO_VERSION

HISTORY_GROUP: Final = to_base64(keccak(b"orchestrator devnet group with a history"))
"""Id of the group that ``history`` makes: base64 of 32 bytes."""
HISTORY_OWNER_KEY: Final = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
"""The well-known public development key of 0xfe3b557e8fb62b89f4916b721be55ceb828dbd73."""
TRANSACTIONS_PER_BLOCK: Final = 50
_APPLICATION: Final = "0x" + "11" * 20
_OWNER: Final = PrivateKey(bytes.fromhex(HISTORY_OWNER_KEY))
_OWNER_ADDRESS: Final = address_of_private_key(HISTORY_OWNER_KEY)


def make_history(
    network: Network, transactions: int, *, privacy_group_id: str = HISTORY_GROUP, members: int = 2
) -> None:
    """Create a group of the first ``members`` nodes and write ``transactions`` application transactions to it."""
    keys = [node.key for node in network.nodes[:members]]
    create = encode_add_participants(network.behaviour.abi, keys)
    _write(network, privacy_group_id, keys, [(MANAGEMENT_PROXY, create)], first_nonce=0, version=NO_VERSION)
    node = network.nodes[0]
    timeline = next(timeline for group, timeline in node.timelines.items() if to_base64(group) == privacy_group_id)
    version = timeline.records[-1].state.contract.version
    for first in range(0, transactions, TRANSACTIONS_PER_BLOCK):
        last = min(first + TRANSACTIONS_PER_BLOCK, transactions)
        calls = [(_APPLICATION, number.to_bytes(32)) for number in range(first, last)]
        _write(network, privacy_group_id, keys, calls, first_nonce=first + 1, version=version)


def sign_quickly(transaction: PrivateTransaction) -> SignedPrivateTransaction:
    """Sign a transaction of the history's owner to a group, as the codec does but ten times as fast.

    The codec's general encoder would make a long history take minutes; a test holds the two equal.
    """
    body = [
        minimal_bytes(transaction.private_nonce),
        minimal_bytes(transaction.gas_price),
        minimal_bytes(transaction.gas_limit),
        bytes.fromhex((transaction.to or "0x")[2:]),
        b"",
        transaction.data,
    ]
    chain_id = transaction.chain_id or 0
    tail = [
        from_base64(transaction.private_from) or b"",
        from_base64(transaction.privacy_group_id or "") or b"",
        transaction.restriction.encode("ascii"),
    ]
    digest = keccak(rlp_list([*body, minimal_bytes(chain_id), b"", b"", *tail]))
    signature = _OWNER.sign_recoverable(digest, hasher=None)
    r, s, v = int.from_bytes(signature[:32]), int.from_bytes(signature[32:64]), signature[64] + 35 + 2 * chain_id
    raw = rlp_list([*body, minimal_bytes(v), minimal_bytes(r), minimal_bytes(s), *tail])
    return SignedPrivateTransaction(transaction=transaction, sender=_OWNER_ADDRESS, v=v, r=r, s=s, raw=raw)


def _write(
    network: Network,
    privacy_group_id: str,
    keys: list[str],
    calls: list[tuple[str, bytes]],
    *,
    first_nonce: int,
    version: bytes,
) -> None:
    node = network.nodes[0]
    markers = []
    for private_nonce, (to, call_data) in enumerate(calls, start=first_nonce):
        transaction = PrivateTransaction(
            private_nonce=private_nonce,
            private_from=node.key,
            to=to,
            data=call_data,
            privacy_group_id=privacy_group_id,
            chain_id=network.config.chain_id,
        )
        signed = sign_quickly(transaction)
        payload_key, _ = network.enclaves.send(node.enclave, node.key, keys, TransactionPayload(signed, version))
        markers.append(
            sign_marker(
                marker_account(network.draw(b"marker key")),
                account_nonce=0,
                gas_price=0,
                gas_limit=transaction.gas_limit,
                payload=payload_key,
            )
        )
    network.append_block(markers)
