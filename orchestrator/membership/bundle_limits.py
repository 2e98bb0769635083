"""How large the history is that an addition carries, and what enclaves take of it (docs/besu.md#tessera)."""

from dataclasses import dataclass

TESSERA_H2_BYTES = 1024 * 1024
"""What Tessera 22.1.1 takes on H2 2.1.210, with which it comes; no limit was met with Orion or another H2."""

ITEM_BYTES = 70
"""What each transaction of a bundle takes besides its own bytes: its marker's hash, the root, their lengths."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleSize:
    """How large a group's bundle is, estimated from a part of its transactions.

    Attributes:
        transactions: How many there are.
        size_bytes: Their size as an enclave keeps them: the base64 text that Besu hands over.
        limit_bytes: What the enclaves that it goes to are configured to take; None when that is not known.
    """

    transactions: int
    size_bytes: int
    limit_bytes: int | None = None


def estimated(transactions: int, raw_bytes: tuple[int, ...]) -> BundleSize:
    """Return the size of a bundle of so many transactions, from the sizes of some of them (at least one)."""
    mean_bytes = sum(raw_bytes) / len(raw_bytes) + ITEM_BYTES
    return BundleSize(transactions=transactions, size_bytes=round(transactions * mean_bytes * 4 / 3))


def exceeds(size: BundleSize | None, *, was_refused: bool) -> int | None:
    """Return the limit that a bundle is too large for; None while that is not known.

    Args:
        size: The bundle's; None when it was not read.
        was_refused: Whether the enclaves refused it while they took a small transaction: where nothing is configured
            that is told by Tessera's usual limit.
    """
    if size is None:
        return None
    limit = TESSERA_H2_BYTES if size.limit_bytes is None and was_refused else size.limit_bytes
    return limit if limit is not None and size.size_bytes > limit else None


def size_note(size: BundleSize | None) -> str:
    """Return what to add to a sentence about a bundle; nothing when its size is not known."""
    return (
        "" if size is None else f"; the history has {size.transactions} transactions, about {size.size_bytes:,} bytes"
    )
