"""Driving the model of replays that was confirmed on real nodes, with what an emulated network mined."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from tests.fakes.replay_model import Marker
from tests.unit.devnet.histories import FOUNDERS, NODES, Harness

Transaction: TypeAlias = tuple[str, int, tuple[str, ...]]


class MeasuredModel:
    """The measured model's nodes. They know neither private nonces nor versions nor copies of a transaction.

    Each marker is a transaction of its own to them.
    """

    def __init__(self, path: Path) -> None:
        spec = importlib.util.spec_from_file_location("measured_replay_model", path)
        assert spec is not None
        assert spec.loader is not None
        self._module: Any = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = self._module
        spec.loader.exec_module(self._module)
        self._nodes: dict[str, Any] = {name: self._module.Node(name) for name in NODES}
        self._transactions: dict[Marker, Transaction] = {}
        self._offers: dict[tuple[str, str, int], Any] = {}

    def follow(self, harness: Harness) -> None:
        """Import the newest block of a harness, and note what each node would bundle after it."""
        number, block = len(harness.chain) - 1, harness.chain[-1]
        mined = [(marker.sent.group, self.transaction(marker)) for marker in block.markers]
        self._module.CHAIN[number] = mined
        if not block.replayable:
            self._module.UNREPLAYABLE.add(number)
        for marker in block.markers:
            transaction, sent = self.transaction(marker), marker.sent
            for name in sent.audience:
                self._nodes[name].has.add(transaction)
            for name in sent.bundle_holders:
                self._nodes[name].bundles[transaction] = self._offers[sent.sender, sent.group, sent.head]
        for node in self._nodes.values():
            node.block(number, mined)
        for name, node in harness.model.items():
            for group in FOUNDERS:
                self._offers.setdefault((name, group, node.head), self._nodes[name].bundle(group, node.head))

    def transaction(self, marker: Marker) -> Transaction:
        """The model's transaction of a marker."""
        kind = "tx" if marker.sent.kind == "write" else marker.sent.kind
        return self._transactions.setdefault(marker, (kind, len(self._transactions), marker.sent.keys))

    def bundle(self, node: str, group: str, head: int) -> list[Transaction]:
        """What a node would bundle at its head."""
        return [transaction for transaction, _, _ in self._nodes[node].bundle(group, head) or ()]

    def stands(self, node: str) -> bool:
        """Whether a node stands for good."""
        return bool(self._nodes[node].halted)

    def roots(self, harness: Harness) -> Iterator[tuple[object, tuple[str, tuple[Transaction, ...]]]]:
        """The emulated and the model's root of every node, group and block, each with its group."""
        for name in NODES:
            for group in FOUNDERS:
                for block in range(harness.model[name].head + 1):
                    yield (group, harness.root(name, group, block)), (group, self._nodes[name].root_at(group, block))
