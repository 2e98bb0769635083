"""What becomes of a node whose enclave is dead while blocks need it (docs/besu.md#enclaves-that-fail, 3). Pure."""

from collections.abc import Callable
from typing import Final

from orchestrator.devnet.enclaves.enclave import Condition
from orchestrator.devnet.nodes.node import Node

NO_ENCLAVE: Final = "org.hyperledger.besu.enclave.EnclaveIOException: Connection refused"
_DRAWN_BITS: Final = 32


class PeerLoss:
    """Which nodes may lose their peers, and which have none any more.

    A node whose enclave refuses connections tries the block again and again; its peers may drop it for that, and
    then it stays without peers after its enclave is back, until it is restarted.

    Args:
        draw: returns random bytes.
    """

    def __init__(self, draw: Callable[[bytes], bytes]) -> None:
        self._draw = draw
        self._at_stake: dict[int, float] = {}
        self._without: set[int] = set()

    def enclave_killed(self, node: Node, chance: float) -> None:
        """A node's enclave died: from its next block with a marker on the node may lose its peers, this likely."""
        self._at_stake[node.number] = chance

    def enclave_changed(self, node: Node) -> None:
        """A node's enclave is another way now."""
        self._at_stake.pop(node.number, None)

    def restarted(self, node: Node) -> bool:
        """A node was stopped; tells whether it had lost its peers, which it finds again."""
        had_lost = node.number in self._without
        self._without.discard(node.number)
        return had_lost

    def take(self, nodes: list[Node]) -> list[Node]:
        """Return the nodes that lose their peers now."""
        lost = []
        for number in [number for number in self._at_stake if _is_starved(nodes[number - 1])]:
            node, chance = nodes[number - 1], self._at_stake.pop(number)
            node.log.append(f"Invalid block {node.head.number + 1}: {NO_ENCLAVE}")
            node.log.append("Disconnecting from peer, reason BREACH_OF_PROTOCOL")
            if chance >= 1 or (chance and self._drawn() < chance):
                self._without.add(number)
                lost.append(node)
        return lost

    def _drawn(self) -> float:
        return float(int.from_bytes(self._draw(b"peers lost")[: _DRAWN_BITS // 8], "big") / (1 << _DRAWN_BITS))


def _is_starved(node: Node) -> bool:
    """Whether its enclave is dead while the next block has a payload to be asked for."""
    well = node.up and node.halted is None
    return well and node.enclave.condition is Condition.KILLED and node.next_has_markers
