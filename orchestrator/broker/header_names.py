"""Names of headers in lower case, as those who read them look them up. Pure."""

from collections.abc import Iterable


def lowered(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by their names in lower case.

    Args:
        headers: Names as they came, and values. One whose name differs from an earlier one's only by case is kept in
            capitals: who reads attributes from them has to see that one is there twice.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        # Dropped, the second would say nothing, and which of the two is signed or checked would be chance.
        found[lower if lower not in found else name.upper()] = value
    return found
