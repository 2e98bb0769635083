"""Keeping a network between runs: a file of what happened, read back from the start.

One JSON object a line: the network's set-up, then payloads that were sent and blocks that were made, in order. Reading
it back repeats them, so the nodes come to the same state. What was made wrong on purpose is not kept: after a new start
every node is up and in step.
"""

import json
from pathlib import Path
from typing import Any, Final, TextIO

from orchestrator.besu.codec.private_transaction import decode_private_transaction
from orchestrator.devnet.chain.chain import Block
from orchestrator.devnet.chain.public_signatures import decode_public_transaction
from orchestrator.devnet.enclaves.enclave import HistoryPayload, Payload, TransactionPayload
from orchestrator.devnet.encoding import from_base64, to_base64, to_json
from orchestrator.devnet.errors import DevnetError
from orchestrator.devnet.network.network import Network
from orchestrator.devnet.nodes.private_view import history_bundle

JOURNAL_NAME: Final = "devnet.jsonl"


class Journal:
    """Writes what happens in a network to a file."""

    def __init__(self, network: Network, file: TextIO) -> None:
        self._network = network
        self._file = file
        network.on_block = self._write_block
        network.on_fork = lambda depth: self._write({"takeOff": depth})
        network.enclaves.on_send = self._write_payload

    def close(self) -> None:
        """Close the file; nothing is written any more."""
        self._network.on_block = None
        self._network.on_fork = None
        self._network.enclaves.on_send = None
        self._file.close()

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(to_json(entry) + "\n")
        self._file.flush()

    def _write_block(self, block: Block, salt: bytes) -> None:
        self._write(
            {
                "block": block.number,
                "timestamp": block.timestamp,
                "salt": salt.hex(),
                "draws": self._network.draws,
                "transactions": [transaction.raw.hex() for transaction in block.transactions],
            }
        )

    def _write_payload(self, sender: str, recipients: tuple[str, ...], payload: Payload) -> None:
        entry: dict[str, Any] = {"from": sender, "to": recipients}
        if isinstance(payload, TransactionPayload):
            entry |= {"raw": payload.signed.raw.hex(), "version": payload.version.hex()}
        else:
            entry |= {"history": payload.records[0].signed.transaction.privacy_group_id}
            entry |= {"lastPmtHash": payload.records[-1].pmt_hash.hex()}
        self._write(entry)


def open_journal(network: Network, path: Path) -> Journal:
    """Bring a new network to where the file left it, and go on writing to the file.

    Raises:
        DevnetError: the file cannot be read or written, or was written by a network of another set-up.
    """
    setup = {
        "nodes": network.config.nodes,
        "validators": network.config.validators,
        "chainId": network.config.chain_id,
        "seed": network.config.seed,
        "genesisTimestamp": network.chain.head.timestamp,
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        entries = _read(path)
        if entries:
            _check_setup(path, setup, entries[0])
            _restore(network, entries)
            path.write_text("".join(to_json(entry) + "\n" for entry in entries), encoding="utf-8")
        else:
            path.write_text(to_json(setup) + "\n", encoding="utf-8")
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise DevnetError(f"the network's file {path} cannot be used: {error.strerror}") from error
    except (ValueError, TypeError, LookupError) as error:
        raise DevnetError(f"the network's file {path} is damaged ({error}); remove it to start anew") from error
    return Journal(network, file)


def genesis_timestamp_of(path: Path) -> int | None:
    """When the network of a file began; None when there is no such file."""
    try:
        with path.open(encoding="utf-8") as file:
            found = json.loads(file.readline()).get("genesisTimestamp")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, int) else None


def _read(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except ValueError:
            # The last line may be half written: the run before was killed.
            break
    return entries


def _check_setup(path: Path, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if found.get(name) != value:
            raise DevnetError(
                f"{path} keeps a network whose {name} is {found.get(name)}, not {value}; "
                "start with the same options, or with another folder"
            )


def _restore(network: Network, entries: list[dict[str, Any]]) -> None:
    replay_seconds = [node.replay_seconds_each for node in network.nodes]
    for node in network.nodes:
        node.replay_seconds_each = 0.0
    hosts = {key: node for node in network.nodes for key in node.enclave.keys}
    for entry in entries[1:]:
        if "block" in entry:
            transactions = [decode_public_transaction(bytes.fromhex(raw)) for raw in entry["transactions"]]
            network.restore_block(entry["timestamp"], transactions, bytes.fromhex(entry["salt"]), entry["draws"])
        elif "takeOff" in entry:
            network.take_off(entry["takeOff"])
        else:
            sender = hosts[entry["from"]]
            network.enclaves.send(sender.enclave, entry["from"], entry["to"], _payload(network, entry))
    network.advance(network.now)
    for node, seconds in zip(network.nodes, replay_seconds, strict=True):
        node.replay_seconds_each = seconds


def _payload(network: Network, entry: dict[str, Any]) -> Payload:
    if "raw" in entry:
        return TransactionPayload(
            decode_private_transaction(bytes.fromhex(entry["raw"])), bytes.fromhex(entry["version"])
        )
    group = from_base64(entry["history"]) or b""
    sender = next(node for node in network.nodes if entry["from"] in node.enclave.keys)
    located = network.chain.locate(bytes.fromhex(entry["lastPmtHash"])) if "lastPmtHash" in entry else None
    read_at = located[0].number if located is not None else sender.head.number
    history = history_bundle(network.enclaves, sender, group, read_at)
    if not history:
        raise ValueError(f"node {sender.number} has no history of {to_base64(group)}")
    return HistoryPayload(history)
