"""Who else can read a secret's file, from what the file system says of it. Pure."""

import stat
from typing import Final

_FOR_ALL: Final = stat.S_IRWXO
_GROUP_CHANGES: Final = stat.S_IWGRP | stat.S_IXGRP


def is_too_open(mode: int, *, owner: int, reader: int, handed_over: bool) -> bool:
    """Return whether others than its owner and its reader have a right to a secret's file.

    The group may read a file that root owns and the daemon does not: so hand Kubernetes (``fsGroup``) and systemd their
    secrets over. A file in systemd's folder of credentials shows its access list as rights of the group.

    Args:
        mode: Its mode.
        owner: User id of its owner.
        reader: User id of this process.
        handed_over: Whether it lies in the folder that systemd made for this process.
    """
    if mode & _FOR_ALL or mode & _GROUP_CHANGES:
        return True
    return bool(mode & stat.S_IRGRP) and not handed_over and not (owner == 0 and reader != 0)


def lies_in(path: str, folder: str) -> bool:
    """Return whether a path lies in a folder; empty text for no folder."""
    return bool(folder) and path.startswith(folder.rstrip("/") + "/")
