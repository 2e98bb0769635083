"""Group ids and enclave keys as text: base64 that can be written in one way only. Pure."""

import base64
from typing import Final

GROUP_ID_BYTES: Final = 32
ENCLAVE_KEY_BYTES: Final = (32, 91)
_LONGEST_CHARACTERS: Final = 124


def base64_bytes(text: str) -> int | None:
    """Return how many bytes a canonical base64 text holds: two spellings of one key would be two members."""
    if len(text) > _LONGEST_CHARACTERS:
        return None
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return len(decoded) if base64.b64encode(decoded).decode() == text else None
