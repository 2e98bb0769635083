"""What proves us to a node: headers that may change from one request to the next, and are renewed when refused."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from orchestrator.besu.credential_errors import CredentialError

AGAIN_SECONDS: Final = 5.0
"""Between two tries to get a token: requests that need one meanwhile fail at once, and nobody is asked for each."""

LEAST_AGE_SECONDS: Final = 10.0
"""A token that was refused so soon after it came is not asked for anew: another one would be refused alike."""

LONGEST_AHEAD_SECONDS: Final = 60.0
SHARE_AHEAD: Final = 0.2
"""A token is renewed so long before its end: a fifth of its life, and a minute at most."""


class Credential(Protocol):
    """What proves us to a node."""

    async def headers(self) -> Mapping[str, str]:
        """Return the headers of the next request.

        Raises:
            CredentialError: They can't be had now.
        """

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        """Look for others than the ones that were refused; return whether there are others now.

        Raises:
            CredentialError: They can't be had now.
        """


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """A token as it came.

    Attributes:
        text: What is shown to nodes.
        seconds: How long it is good for, from when it came; None where nobody says.
    """

    text: str = field(repr=False)
    seconds: float | None


class RenewedToken:
    """A bearer token that is got from elsewhere, and got anew before it ends.

    While a token is still good its successor is got beside the requests that go on with it. One that has ended is
    waited for. Getting one is nobody's alone: a caller that gives up does not end it.

    Args:
        issue: Gets a token, bounded in time; raises `CredentialError`.
        whence: Where from, for a person.
        seconds: Returns seconds of a clock that never goes back.
        lifetime_seconds: How long a token is good for that does not say so itself; None: until it is refused.
    """

    def __init__(
        self,
        issue: Callable[[], Awaitable[IssuedToken]],
        whence: str,
        seconds: Callable[[], float],
        lifetime_seconds: float | None = None,
    ) -> None:
        self._issue = issue
        self._whence = whence
        self._seconds = seconds
        self._lifetime_seconds = lifetime_seconds
        self._text = ""
        self._came_at = float("-inf")
        self._renew_at = float("-inf")
        self._ends_at = float("-inf")
        self._tried_at = float("-inf")
        self._trouble = ""
        self._renewing: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"RenewedToken({self._whence!r})"

    async def headers(self) -> Mapping[str, str]:
        """See `Credential`."""
        now = self._seconds()
        if now >= self._ends_at:
            await self._renew()
            if self._seconds() >= self._ends_at:
                raise CredentialError(self._trouble)
        elif now >= self._renew_at:
            self._begin()
        return self._shown()

    async def renewed(self, refused: Mapping[str, str]) -> bool:
        """See `Credential`."""
        if self._shown() == refused:
            if self._seconds() - self._came_at < LEAST_AGE_SECONDS:
                return False
            await self._renew()
        return self._shown() != refused and self._seconds() < self._ends_at

    def _shown(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._text}"}

    async def _renew(self) -> None:
        task = self._begin()
        if task is not None:
            await asyncio.shield(task)

    def _begin(self) -> asyncio.Task[None] | None:
        """Return the getting that is under way, or begin one; None where the last one failed a moment ago."""
        if self._renewing is not None and not self._renewing.done():
            return self._renewing
        if self._trouble and self._seconds() - self._tried_at < AGAIN_SECONDS:
            return None
        self._renewing = asyncio.create_task(self._get())
        return self._renewing

    async def _get(self) -> None:
        try:
            issued = await self._issue()
        except CredentialError as error:
            self._tried_at, self._trouble = self._seconds(), str(error)
            return
        now = self._seconds()
        lifetime = issued.seconds if issued.seconds is not None else self._lifetime_seconds
        if lifetime is not None and lifetime <= 0:
            self._tried_at, self._trouble = now, "the token that came has ended already: compare the clocks"
            return
        self._text, self._came_at, self._trouble = issued.text, now, ""
        if lifetime is None:
            self._renew_at = self._ends_at = float("inf")
            return
        self._ends_at = now + lifetime
        self._renew_at = self._ends_at - min(lifetime * SHARE_AHEAD, LONGEST_AHEAD_SECONDS)
