"""Do a group's members agree before anything is done? One that differs must neither send nor be the measure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Disagreement:
    """Members that show different states of a group at one block.

    Attributes:
        block_number: The block.
        odd: Those that differ from what most show; all, when none has most of them on its side.
        decided: Whether most agree. Of two that differ nothing tells which of them is right.
    """

    block_number: int
    odd: tuple[str, ...]
    decided: bool


def disagreement(block_number: int, roots: Mapping[str, str]) -> Disagreement | None:
    """Return who of the members differs; None when all that were read agree.

    Args:
        block_number: The block.
        roots: By enclave key the members' roots there; empty text for a member that has none.
    """
    support = Counter(root for root in roots.values() if root)
    if len(set(roots.values())) < 2:
        return None
    best, votes = support.most_common(1)[0]
    decided = votes * 2 > len(roots)
    odd = tuple(key for key, root in roots.items() if not decided or root != best)
    return Disagreement(block_number=block_number, odd=odd, decided=decided)
