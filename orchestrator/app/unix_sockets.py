"""Unix sockets that this process serves: who may open one is who may open its file."""

import socket
from pathlib import Path


def bound_to(path: Path, mode: int) -> socket.socket:
    """Return a socket at a path, in place of one that a process left there which was killed.

    Args:
        path: The path.
        mode: Who may connect, as the bits of a file's mode.

    Raises:
        OSError: It can't be had.
    """
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # The kernel leaves the file of a socket whose process died, and refuses to bind where there is one.
        if path.is_socket():
            path.unlink()
        bound.bind(str(path))
        # Connecting takes the right to write, which usual umasks leave to the socket's own user until here.
        path.chmod(mode)
    except OSError:
        bound.close()
        raise
    return bound
