"""Whether a node signs its marker transactions with one fixed key, told by the senders of PMTs that it made. Pure.

A node with a fixed key gives PMT nonces out without a lock: of ten sends at the same time three were never mined. On
such a node one send must be answered before the next starts (docs/besu.md#nonces).
"""

from typing import Final

_REMEMBERED: Final = 16


class MarkerSenders:
    """The senders of the PMTs that a node made, as far as they were seen."""

    def __init__(self) -> None:
        self._senders: dict[str, str] = {}

    def note(self, pmt_hash: str, sender: str) -> None:
        """Remember who signed a PMT of the node.

        Args:
            pmt_hash: A PMT that the node answered a send with.
            sender: The public transaction's sender, "0x…".
        """
        if len(self._senders) < _REMEMBERED:
            self._senders[pmt_hash] = sender

    @property
    def fixed(self) -> bool | None:
        """True when two PMTs have one sender, False when several have as many; None before two were seen."""
        if len(self._senders) < 2:
            return None
        return len(set(self._senders.values())) < len(self._senders)
