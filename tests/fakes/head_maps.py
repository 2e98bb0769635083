"""What replays do to the maps of nodes, as small as the rules of the forecast need it.

Each node keeps for every block a map from a group to the last block with an executed transaction of it, and for every
block that it executed the transactions themselves. The facts are those of
docs/besu.md#what-a-replay-needs, #how-replay-damages-other-groups. Node ``T`` founds every group and never replays.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

TRUTH = "T"


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """A private transaction that is to be mined: ``create``, ``tx``, ``lock``, ``unlock``, ``add`` or ``remove``."""

    group: str
    kind: str
    keys: tuple[str, ...] = ()
    sender: str = TRUTH


class HeadMaps(Protocol):
    """A chain and its nodes, whoever modelled them."""

    @property
    def head(self) -> int:
        """Return the number of the newest block."""

    def mine(self, acts: Sequence[Act], *, replayable: bool = True) -> None:
        """Make a block of these transactions, in order."""

    def root(self, node: str, group: str, block: int) -> str:
        """Return a node's root of a group at a block; empty text for none."""

    def blocks(self, group: str) -> list[tuple[int, str]]:
        """Return the blocks with an executed transaction of a group, and the root after each, as they truly are."""

    def members(self, group: str) -> frozenset[str]:
        """Return the members of a group at the head."""

    def stands(self, node: str) -> bool:
        """Return whether a node has halted for good."""

    def sends_whole(self, node: str, group: str) -> bool:
        """Return whether the bundle that a node would send of a group is whole."""


@dataclass(frozen=True, slots=True)
class Executed:
    """A transaction in a bundle."""

    serial: int
    block: int
    after: tuple[int, ...]


class _HaltedError(Exception):
    pass


@dataclass(slots=True)
class _Node:
    name: str
    maps: list[dict[str, int]] = field(default_factory=lambda: [{}])
    executed: dict[tuple[str, int], list[Executed]] = field(default_factory=dict)
    received: dict[str, tuple[Executed, ...]] = field(default_factory=dict)
    payloads: set[int] = field(default_factory=set)
    halted: bool = False

    def state(self, group: str, block: int) -> tuple[int, ...]:
        own = self.executed.get((group, block))
        if own is not None:
            return own[-1].after
        return self.mapped(group, block)

    def mapped(self, group: str, block: int) -> tuple[int, ...]:
        if not 0 <= block < len(self.maps) or group not in self.maps[block]:
            return ()
        return self.executed[group, self.maps[block][group]][-1].after

    def bundle(self, group: str) -> tuple[Executed, ...]:
        walked: list[Executed] = []
        block = self.maps[-1].get(group)
        while block is not None:
            walked = [*self.executed[group, block], *walked]
            block = self.maps[block - 1].get(group)
        # What a node was added with it hands on as it came, and adds what it executed beyond.
        first = self.received.get(group, ())
        return (*first, *walked[len(first) :])


class SmallWorld:
    """The project's own model.

    Args:
        names: The nodes beside ``T``; each hosts one enclave key of the same name.
    """

    def __init__(self, *names: str) -> None:
        self.head = 0
        self._nodes = {name: _Node(name) for name in (TRUTH, *names)}
        self._chain: list[list[tuple[int, Act]]] = [[]]
        self._acts: dict[int, Act] = {}
        self._stuck: set[int] = set()

    def mine(self, acts: Sequence[Act], *, replayable: bool = True) -> None:
        number = self.head + 1
        mined: list[tuple[int, Act]] = []
        bundles: dict[int, tuple[Executed, ...]] = {}
        for act in acts:
            serial = len(self._acts) + 1
            self._acts[serial] = act
            mined.append((serial, act))
            for name in self.members(act.group) | set(act.keys if act.kind in {"create", "add"} else ()):
                self._nodes[name].payloads.add(serial)
            if act.kind == "add":
                bundles[serial] = self._nodes[act.sender].bundle(act.group)
        self._chain.append(mined)
        if not replayable:
            self._stuck.add(number)
        for node in self._nodes.values():
            if not node.halted:
                try:
                    self._import(node, number, mined, bundles)
                except _HaltedError:
                    node.halted = True
        self.head = number

    def _import(
        self, node: _Node, number: int, mined: list[tuple[int, Act]], bundles: dict[int, tuple[Executed, ...]]
    ) -> None:
        for serial, act in mined:
            if bundles.get(serial) and node.name in {*act.keys, act.sender}:
                self._replay(node, number, act.group, bundles[serial])
        heads = dict(node.maps[number - 1])
        node.maps.append(heads)
        for serial, act in mined:
            before = node.state(act.group, number)
            if serial in node.payloads and self._allows(before, act):
                self._execute(node, number, serial, before)

    def _execute(self, node: _Node, number: int, serial: int, before: tuple[int, ...]) -> None:
        group = self._acts[serial].group
        done = Executed(serial, number, (*before, serial))
        node.executed.setdefault((group, number), []).append(done)
        node.maps[number][group] = number

    def _replay(self, node: _Node, number: int, group: str, bundle: tuple[Executed, ...]) -> None:
        present = node.mapped(group, number - 1)
        if present == bundle[-1].after:
            return
        known = [place for place, item in enumerate(bundle) if present and item.serial == present[-1]]
        missing = bundle[known[0] + 1 :] if known else bundle
        wanted = {item.serial: item for item in missing}
        blocks = sorted({item.block for item in missing})
        for block, following in zip(blocks, [*blocks[1:], number], strict=False):
            if block in self._stuck:
                raise _HaltedError
            node.maps[block] = dict(node.maps[block - 1])
            state = node.mapped(group, block - 1)
            node.executed.pop((group, block), None)
            for serial, _ in self._chain[block]:
                if serial in wanted:
                    self._execute(node, block, serial, state)
                    state = node.executed[group, block][-1].after
            expected = [item.after for item in missing if item.block == block][-1]
            if state != expected:
                raise _HaltedError
            for between in range(block + 1, following):
                node.maps[between][group] = block
        node.received[group] = bundle

    def _allows(self, before: tuple[int, ...], act: Act) -> bool:
        if act.kind == "create" or not before:
            return act.kind == "create" and not before
        locked = self._locked(before)
        return locked if act.kind in {"add", "unlock"} else not locked

    def _locked(self, serials: Iterable[int]) -> bool:
        locked = False
        for serial in serials:
            kind = self._acts[serial].kind
            locked = kind == "lock" or (locked and kind not in {"add", "unlock"})
        return locked

    def root(self, node: str, group: str, block: int) -> str:
        return ".".join(map(str, self._nodes[node].state(group, block)))

    def blocks(self, group: str) -> list[tuple[int, str]]:
        numbers = sorted(block for name, block in self._nodes[TRUTH].executed if name == group)
        return [(number, self.root(TRUTH, group, number)) for number in numbers]

    def members(self, group: str) -> frozenset[str]:
        found: set[str] = set()
        for serial in self._nodes[TRUTH].state(group, self.head):
            act = self._acts[serial]
            if act.kind in {"create", "add"}:
                found |= set(act.keys)
            elif act.kind == "remove":
                found -= set(act.keys)
        return frozenset(found)

    def stands(self, node: str) -> bool:
        return self._nodes[node].halted

    def sends_whole(self, node: str, group: str) -> bool:
        def serials(name: str) -> list[int]:
            return [item.serial for item in self._nodes[name].bundle(group)]

        return serials(node) == serials(TRUTH)
