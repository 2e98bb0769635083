"""How blocks, transactions, receipts and logs look in JSON, by version. Pure.

Source: the field sets of the recorded exchanges.
"""

from functools import lru_cache
from typing import Any, Final

import rlp
from eth_hash.auto import keccak

from orchestrator.devnet.chain.chain import GAS_LIMIT, Block
from orchestrator.devnet.chain.public_transaction import PublicTransaction, created_contract
from orchestrator.devnet.encoding import EMPTY_BLOOM, bloom, contract_address, data, from_base64, quantity
from orchestrator.devnet.nodes.private_view import FoundPrivateTransaction
from orchestrator.devnet.private.node_logs import NodeLog
from orchestrator.devnet.private.private_state import PrivateReceipt
from orchestrator.devnet.versions import BesuBehaviour

IBFT_MIX_HASH: Final = "0x63746963616c2062797a616e74696e65206661756c7420746f6c6572616e6365"
NO_UNCLES: Final = "0x1dcc4de8dec75d7aab85b567b6ccd41ad312451b948a7413f0a142fd40d49347"
_EMPTY_BLOCK_BYTES: Final = 756
_TRANSACTION_BYTES: Final = 101


def block_view(block: Block, behaviour: BesuBehaviour, validators: tuple[str, ...], *, full: bool) -> dict[str, Any]:
    """A block, with whole transactions or their hashes."""
    size = _EMPTY_BLOCK_BYTES + sum(_TRANSACTION_BYTES + len(item.input) for item in block.transactions)
    view: dict[str, Any] = {
        "number": quantity(block.number),
        "hash": data(block.hash),
        "mixHash": IBFT_MIX_HASH,
        "parentHash": data(block.parent_hash),
        "nonce": "0x0000000000000000",
        "sha3Uncles": NO_UNCLES,
        "logsBloom": EMPTY_BLOOM,
        "transactionsRoot": data(block.transactions_root),
        "stateRoot": data(block.state_root),
        "receiptsRoot": data(block.receipts_root),
        "miner": block.miner,
        "difficulty": "0x1",
        "totalDifficulty": quantity(block.number + 1),
        "extraData": _extra_data(block.hash, validators),
    }
    if behaviour.base_fee:
        view["baseFeePerGas"] = "0x0"
    view |= {
        "size": quantity(size),
        "gasLimit": quantity(GAS_LIMIT),
        "gasUsed": quantity(block.gas_used),
        "timestamp": quantity(block.timestamp),
        "uncles": [],
        "transactions": [
            public_transaction_view(item, block, index, behaviour) if full else data(item.hash)
            for index, item in enumerate(block.transactions)
        ],
    }
    return view


def public_transaction_view(
    transaction: PublicTransaction, block: Block | None, index: int | None, behaviour: BesuBehaviour
) -> dict[str, Any]:
    """A public transaction; block and index are None while it waits."""
    view: dict[str, Any] = {
        "blockHash": data(block.hash) if block is not None else None,
        "blockNumber": quantity(block.number) if block is not None else None,
    }
    if transaction.chain_id is not None:
        view["chainId"] = quantity(transaction.chain_id)
    view |= {
        "from": transaction.sender,
        "gas": quantity(transaction.gas_limit),
        "gasPrice": quantity(transaction.gas_price),
        "hash": data(transaction.hash),
        "input": data(transaction.input),
        "nonce": quantity(transaction.account_nonce),
    }
    if behaviour.transaction_public_key or (block is None and behaviour.transaction_type):
        # Later versions show them only while the transaction waits.
        view |= {"publicKey": data(transaction.public_key), "raw": data(transaction.raw)}
    view |= {"to": transaction.to, "transactionIndex": quantity(index) if index is not None else None}
    if behaviour.transaction_type:
        view["type"] = "0x0"
    return view | {
        "value": quantity(transaction.value),
        "v": quantity(transaction.v),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
    }


def pending_transaction_view(transaction: PublicTransaction, behaviour: BesuBehaviour) -> dict[str, Any]:
    """A waiting transaction as ``eth_getTransactionByHash`` shows it: one without a chain id then says so."""
    view = public_transaction_view(transaction, None, None, behaviour)
    view.setdefault("chainId", None)
    return view


def public_receipt_view(block: Block, index: int, behaviour: BesuBehaviour) -> dict[str, Any]:
    """The receipt of a public transaction: always 0x1, whatever became of the private one."""
    transaction = block.transactions[index]
    cumulative = sum(item.gas_used for item in block.transactions[: index + 1])
    created = created_contract(*transaction.place) if transaction.to is None else None
    view: dict[str, Any] = {
        "blockHash": data(block.hash),
        "blockNumber": quantity(block.number),
        "contractAddress": created,
        "cumulativeGasUsed": quantity(cumulative),
        "from": transaction.sender,
        "gasUsed": quantity(transaction.gas_used),
    }
    if behaviour.effective_gas_price:
        view["effectiveGasPrice"] = quantity(transaction.gas_price)
    view |= {
        "logs": [],
        "logsBloom": EMPTY_BLOOM,
        "status": "0x1",
        "to": transaction.to,
        "transactionHash": data(transaction.hash),
        "transactionIndex": quantity(index),
    }
    if behaviour.transaction_type:
        view["type"] = "0x0"
    return view


def private_receipt_view(
    found: FoundPrivateTransaction, receipt: PrivateReceipt, behaviour: BesuBehaviour
) -> dict[str, Any]:
    """The receipt of a private transaction."""
    transaction, block = found.signed.transaction, found.block
    group = from_base64(transaction.privacy_group_id or "") or b""
    view: dict[str, Any] = {}
    if transaction.to is None:
        view["contractAddress"] = contract_address(found.signed.sender, transaction.private_nonce, group)
    view["from"] = found.signed.sender
    if transaction.to is not None:
        view["to"] = transaction.to
    view |= {"output": data(receipt.output), "commitmentHash": data(found.marker.hash)}
    if behaviour.private_transaction_hash:
        view["transactionHash"] = data(keccak(found.signed.raw))
    view |= {
        "privateFrom": transaction.private_from,
        "privacyGroupId": transaction.privacy_group_id,
        "status": quantity(receipt.status),
    }
    if receipt.revert_reason is not None:
        view["revertReason"] = data(receipt.revert_reason)
    logs = [
        {
            "address": log.address,
            "topics": list(log.topics),
            "data": data(log.data),
            "blockNumber": quantity(block.number),
            "transactionHash": data(found.marker.hash),
            "transactionIndex": quantity(found.index),
            "blockHash": data(block.hash),
            "logIndex": quantity(log_index),
            "removed": False,
        }
        for log_index, log in enumerate(receipt.logs)
    ]
    items = [
        item
        for log in receipt.logs
        for item in (bytes.fromhex(log.address[2:]), *(bytes.fromhex(topic[2:]) for topic in log.topics))
    ]
    return view | {
        "logs": logs,
        "logsBloom": bloom(items),
        "blockHash": data(block.hash),
        "blockNumber": quantity(block.number),
        "transactionIndex": quantity(found.index),
    }


def private_transaction_view(found: FoundPrivateTransaction, behaviour: BesuBehaviour) -> dict[str, Any]:
    """A private transaction."""
    signed = found.signed
    transaction = signed.transaction
    view: dict[str, Any] = {
        "from": signed.sender,
        "gas": quantity(transaction.gas_limit),
        "gasPrice": quantity(transaction.gas_price),
    }
    if behaviour.private_transaction_hash:
        view["hash"] = data(keccak(signed.raw))
    view |= {"input": data(transaction.data), "nonce": quantity(transaction.private_nonce)}
    if transaction.to is not None:
        view["to"] = transaction.to
    return view | {
        "value": quantity(transaction.value),
        "v": quantity(signed.v),
        "r": quantity(signed.r),
        "s": quantity(signed.s),
        "privateFrom": transaction.private_from,
        "privacyGroupId": transaction.privacy_group_id,
        "restriction": transaction.restriction,
    }


def log_view(log: NodeLog) -> dict[str, Any]:
    """A private log, as ``priv_getLogs`` and subscriptions show it."""
    return {
        "logIndex": quantity(log.log_index),
        "removed": log.removed,
        "blockNumber": quantity(log.block.number),
        "blockHash": data(log.block.hash),
        "transactionHash": data(log.pmt_hash),
        "transactionIndex": quantity(log.transaction_index),
        "address": log.log.address,
        "data": data(log.log.data),
        "topics": list(log.log.topics),
    }


@lru_cache(maxsize=64)
def _extra_data(block_hash: bytes, validators: tuple[str, ...]) -> str:
    """IBFT's extra data: vanity, validators, vote, round, and a seal for two thirds of the validators."""
    seals = [
        (keccak(block_hash + b"r%d" % at) + keccak(block_hash + b"s%d" % at) + b"\0")
        for at in range(-(-2 * len(validators) // 3))
    ]
    addresses = [bytes.fromhex(validator[2:]) for validator in validators]
    return data(rlp.encode([bytes(32), addresses, b"", bytes(4), seals]))
