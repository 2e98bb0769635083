"""RLP that others wrote, decoded in bounded time. Pure.

The library makes an object of each item before anybody can look at how many there are: of a quarter megabyte of empty
lists in more than a second.
"""

from typing import Any, Final

import rlp

MOST_ITEMS: Final = 1_100
"""A private transaction for the most enclave keys, and what stands around it in a payload, has fewer."""

_LONG_LIST: Final = 0xF7
_LIST: Final = 0xC0
_LONG_TEXT: Final = 0xB7
_TEXT: Final = 0x80


def decoded(data: bytes) -> Any:
    """Return what bytes encode: byte strings, and lists of such and of lists.

    Raises:
        rlp.exceptions.RLPException: they encode nothing, or more than ``MOST_ITEMS`` strings and lists together.
        RecursionError: lists are nested too deeply.
    """
    at = 0
    for _ in range(MOST_ITEMS + 1):
        if at >= len(data):
            return rlp.decode(data)
        first = data[at]
        at += 1
        # What is in a list stands right behind its length, and counts like what stands beside it.
        if first > _LONG_LIST:
            at += first - _LONG_LIST
        elif first >= _LIST:
            continue
        elif first > _LONG_TEXT:
            size = first - _LONG_TEXT
            at += size + int.from_bytes(data[at : at + size])
        elif first >= _TEXT:
            at += first - _TEXT
    raise rlp.exceptions.DecodingError(f"more than {MOST_ITEMS} items", data[:0])
