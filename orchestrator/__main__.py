"""Entry point of the ``orchestrator`` command and of ``python -m orchestrator``."""

import errno
import sys
from typing import Final

from orchestrator.cli.main import app

_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def main() -> None:
    """Run the command line."""
    try:
        app()
    except OSError as error:
        # Whatever a verb prints may go to a file on a full disk; what of it is there is not whole.
        if error.errno not in _NO_ROOM:
            raise
        sys.exit(f"orchestrator: the output can't be written ({error.strerror}): make room, and ask again")


if __name__ == "__main__":
    main()
