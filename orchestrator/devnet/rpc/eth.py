"""Methods of the public chain: ``eth_``, ``net_``, ``web3_`` and the few others that clients ask for."""

from typing import Any, Final

from eth_hash.auto import keccak

from orchestrator.devnet.accounts import validator_address_of
from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.chain.public_transaction import TRANSACTION_GAS, PublicTransaction
from orchestrator.devnet.encoding import data, quantity
from orchestrator.devnet.errors import filter_not_found
from orchestrator.devnet.rpc.call import Call, MethodTable, read_bytes, read_hash
from orchestrator.devnet.rpc.views import (
    block_view,
    pending_transaction_view,
    public_receipt_view,
    public_transaction_view,
)

SYNC_TOLERANCE: Final = 5
"""Blocks that a node may be behind and still say that it is in step."""


def validators_of(call: Call) -> tuple[str, ...]:
    """Addresses of the network's validators."""
    return tuple(validator_address_of(node.number) for node in call.network.validators)


def _block_number(call: Call) -> str:
    return quantity(call.node.head.number)


def _chain_id(call: Call) -> str:
    return quantity(call.network.config.chain_id)


def _syncing(call: Call) -> Any:
    behind = call.network.chain.head.number - call.node.head.number
    if behind <= SYNC_TOLERANCE:
        return False
    return {
        "startingBlock": "0x0",
        "currentBlock": quantity(call.node.head.number),
        "highestBlock": quantity(call.network.chain.head.number),
    }


def imported_block(call: Call, number: int) -> Block | None:
    """A block that the node has imported."""
    return call.network.chain.block(number) if number <= call.node.head.number else None


def imported_block_by_hash(call: Call, block_hash: bytes) -> Block | None:
    """A block that the node has imported, or that it left in a reorganisation."""
    block = call.network.chain.by_hash(block_hash)
    return block if block is not None and block.number <= call.node.head.number else None


def _show(call: Call, block: Block | None) -> Any:
    full = call.flag(1)
    if block is None:
        return None
    return block_view(block, call.network.behaviour, validators_of(call), full=full)


def _block_by_number(call: Call) -> Any:
    return _show(call, imported_block(call, call.block_number(0, detail="block number params")))


def _block_by_hash(call: Call) -> Any:
    return _show(call, imported_block_by_hash(call, call.hash(0, "block hash params")))


def _count_by_number(call: Call) -> str | None:
    block = imported_block(call, call.block_number(0))
    return quantity(len(block.transactions)) if block is not None else None


def _count_by_hash(call: Call) -> str | None:
    block = imported_block_by_hash(call, call.hash(0, "block hash params"))
    return quantity(len(block.transactions)) if block is not None else None


def _located(call: Call, transaction_hash: bytes) -> tuple[Block, int] | None:
    located = call.network.chain.locate(transaction_hash)
    return located if located is not None and located[0].number <= call.node.head.number else None


def _not_imported(call: Call, transaction_hash: bytes) -> PublicTransaction | None:
    """A transaction stays in a node's pool until the node has imported its block."""
    found = call.network.chain.locate(transaction_hash)
    if found is None or found[0].number <= call.node.head.number:
        return None
    return found[0].transactions[found[1]]


def _transaction_by_hash(call: Call) -> Any:
    if len(call.params) != 1:
        raise call.invalid("number of params")
    transaction_hash = call.hash(0)
    waiting = call.network.pool.of(call.node).find(transaction_hash) or _not_imported(call, transaction_hash)
    if waiting is not None:
        return pending_transaction_view(waiting, call.network.behaviour)
    located = _located(call, transaction_hash)
    if located is None:
        return None
    block, index = located
    return public_transaction_view(block.transactions[index], block, index, call.network.behaviour)


def _transaction_receipt(call: Call) -> Any:
    located = _located(call, call.hash(0))
    return public_receipt_view(*located, call.network.behaviour) if located is not None else None


def _no_code(call: Call) -> str:
    call.address(0)
    return "0x"


def _call(call: Call) -> str:
    call.mapping(0, "call params")
    return "0x"


def _logs(call: Call) -> list[Any]:
    # Marker transactions write no public logs.
    call.mapping(0, "filter params")
    return []


def _new_block_filter(call: Call) -> str:
    return call.filters.install([])


def _filter_changes(call: Call) -> list[str]:
    installed = call.filters.get(call.text(0, "filter params"))
    if not isinstance(installed, list):
        raise filter_not_found()
    changes = list(installed)
    installed.clear()
    return changes


def _uninstall_filter(call: Call) -> bool:
    return call.filters.uninstall(call.text(0, "filter params"))


def _client_version(call: Call) -> str:
    config = call.network.config
    return call.network.behaviour.client_version(config.identity, config.build)


def _sha3(call: Call) -> str:
    given = read_bytes(call.optional(0))
    if given is None:
        raise call.invalid("data params")
    return data(keccak(given))


def _modules(call: Call) -> dict[str, str]:
    if call.network.config.rpc_apis:
        return dict.fromkeys(call.network.config.rpc_apis, "1.0")
    names = ["eea", "txpool", "trace", "debug", "ibft", "eth", "web3", "admin", "priv", "net", "miner"]
    if call.network.behaviour.qbft_api:
        names.append("qbft")
    return dict.fromkeys(names, "1.0")


def _validators_by_hash(call: Call) -> list[str] | None:
    block_hash = read_hash(call.optional(0))
    known = block_hash is not None and imported_block_by_hash(call, block_hash) is not None
    return list(validators_of(call)) if known else None


METHODS: Final[MethodTable] = {
    "eth_blockNumber": _block_number,
    "eth_chainId": _chain_id,
    "eth_syncing": _syncing,
    "eth_getBlockByNumber": _block_by_number,
    "eth_getBlockByHash": _block_by_hash,
    "eth_getBlockTransactionCountByNumber": _count_by_number,
    "eth_getBlockTransactionCountByHash": _count_by_hash,
    "eth_getTransactionByHash": _transaction_by_hash,
    "eth_getTransactionReceipt": _transaction_receipt,
    "eth_getCode": _no_code,
    "eth_call": _call,
    "eth_estimateGas": lambda _: quantity(TRANSACTION_GAS),
    "eth_getLogs": _logs,
    "eth_newBlockFilter": _new_block_filter,
    "eth_getFilterChanges": _filter_changes,
    "eth_uninstallFilter": _uninstall_filter,
    "eth_accounts": lambda _: [],
    "eth_mining": lambda call: call.node in call.network.validators,
    "eth_coinbase": lambda call: validator_address_of(call.node.number),
    "eth_hashrate": lambda _: "0x0",
    "eth_protocolVersion": lambda _: "0x41",
    "net_version": lambda call: str(call.network.config.chain_id),
    "net_listening": lambda _: True,
    "net_peerCount": lambda call: quantity(call.network.peers_of(call.network.nodes[call.node.number - 1])),
    "net_services": lambda _: {},
    "web3_clientVersion": _client_version,
    "web3_sha3": _sha3,
    "rpc_modules": _modules,
    "ibft_getValidatorsByBlockNumber": lambda call: list(validators_of(call)),
    "ibft_getValidatorsByBlockHash": _validators_by_hash,
}
