"""How the body of a webhook is signed: our own header, and those of Standard Webhooks. Pure."""

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Final

SIGNATURE_HEADER: Final = "X-Signature-256"
STANDARD_PREFIX: Final = "whsec_"
"""What a secret of Standard Webhooks begins with; behind it stands the key in base64."""


def signature(secret: bytes, content: bytes) -> str:
    """Return what `SIGNATURE_HEADER` says: ``sha256=`` and the hexadecimal HMAC-SHA256 of the body."""
    return "sha256=" + hmac.new(secret, content, hashlib.sha256).hexdigest()


def standard_headers(secret: bytes, event_id: str, at: datetime, content: bytes) -> dict[str, str]:
    """Return the headers by which libraries for Standard Webhooks (1.0, symmetric) verify a body.

    Args:
        secret: Shared with the receiver. One that begins with ``whsec_`` holds the key in base64, as those libraries
            write it; of another the bytes are the key.
        event_id: The same whenever the event is posted.
        at: When it is posted, UTC: receivers refuse what is too old.
        content: The body.
    """
    seconds = int(at.timestamp())
    signed = b"%b.%d.%b" % (event_id.encode(), seconds, content)
    digest = hmac.new(standard_key(secret), signed, hashlib.sha256).digest()
    return {
        "webhook-id": event_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def standard_key(secret: bytes) -> bytes:
    """Return the key that a secret stands for; one that is no base64 behind its prefix is a key as it is."""
    text = secret.removeprefix(STANDARD_PREFIX.encode())
    if text == secret:
        return secret
    try:
        return base64.b64decode(text, validate=True) or secret
    except ValueError:
        return secret
