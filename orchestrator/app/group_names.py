"""What people call groups: names from the configuration, and before those the ones that were given over HTTP."""

from collections.abc import Mapping
from typing import Protocol


class GivenNames(Protocol):
    """Keeps names; fulfilled by `orchestrator.store.stores.name_store.SqlGroupNames`."""

    async def names(self) -> dict[str, str]:
        """Return the groups' ids by name."""

    async def give(self, name: str, privacy_group_id: str) -> str:
        """Let a name stand for a group unless it stands for one already; return the id that it stands for then."""


class GroupNames:
    """All names; one in the configuration counts more than one that was given.

    Args:
        configured: Groups' ids by name, from the configuration.
        given: Keeps the others.
    """

    def __init__(self, configured: Mapping[str, str], given: GivenNames) -> None:
        self._configured = configured
        self._given = given

    async def names(self) -> Mapping[str, str]:
        """Return the groups' ids by name."""
        return {**await self._given.names(), **self._configured}

    async def give(self, name: str, privacy_group_id: str) -> str:
        """Let a name stand for a group unless it stands for one already; return the id that it stands for then."""
        if name in self._configured:
            return self._configured[name]
        return await self._given.give(name, privacy_group_id)
