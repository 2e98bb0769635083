"""Times as whole microseconds since 1970 UTC: what the store holds, and what a log of access is hashed over. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Return a time as whole microseconds since 1970 UTC.

    Raises:
        TypeError: The time has no time zone.
    """
    return (at - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """Return the time, in UTC, of a number of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)
