"""Ids that sort by the time they were made in, so that lists by id are lists by age."""

import secrets
from collections.abc import Callable
from datetime import datetime


def new_ids(
    now: Callable[[], datetime], random_bytes: Callable[[int], bytes] = secrets.token_bytes
) -> Callable[[], str]:
    """Return a maker of ids: milliseconds since 1970 and ten random bytes, 32 hexadecimal digits.

    Args:
        now: Tells the time.
        random_bytes: Gives so many random bytes.
    """

    def new_id() -> str:
        return f"{int(now().timestamp() * 1000):012x}{random_bytes(10).hex()}"

    return new_id
