"""What went wrong with a connection, in words for a person."""

import os
import ssl


def system_words(error: OSError) -> str:
    """Return the system's words: Python's own tell of its calls."""
    return os.strerror(error.errno) if isinstance(error, ConnectionError) and error.errno else str(error)


def broken_words(error: Exception) -> str:
    """Return how a connection broke; of TLS what the other side said, that our certificate is missing for one."""
    cause = error.__cause__ if isinstance(error.__cause__, ssl.SSLError) else error
    if not isinstance(cause, ssl.SSLError) or not cause.reason:
        return type(error).__name__
    said = cause.reason.lower().replace("_", " ")
    asks = "certificate required" in said or "handshake failure" in said
    return f"{said}; does it ask for a certificate (nodes.certificate_file)?" if asks else said
