"""What the API needs of webhooks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol


class WebhookStanding(Protocol):
    """How far one webhook is; see `orchestrator.events.webhooks.control.WebhookStanding`."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""

    @property
    def address(self) -> str:
        """Scheme and host that it posts to."""

    @property
    def types(self) -> tuple[str, ...]:
        """Types of events that it wants; empty for all."""

    @property
    def position(self) -> int | None:
        """The last event that it took or did not want."""

    @property
    def behind(self) -> int:
        """Events behind that one."""

    @property
    def failures(self) -> int:
        """Failures in a row."""

    @property
    def paused_since(self) -> datetime | None:
        """Since when it is tried only now and then."""

    @property
    def stopped_since(self) -> datetime | None:
        """Since when an operator has it stopped."""

    @property
    def detail(self) -> str:
        """What its last failure was."""


class WebhookControl(Protocol):
    """Looks at webhooks and steers them; fulfilled by `orchestrator.events.webhooks.control.WebhookControl`.

    Every method may raise `StoreError`; with a name that none has, KeyError.
    """

    async def webhooks(self) -> Sequence[WebhookStanding]:
        """Return all webhooks."""

    async def stop(self, name: str) -> WebhookStanding:
        """Let nothing be posted any more, until it is resumed."""

    async def resume(self, name: str) -> WebhookStanding:
        """Let it go on at once from where it is."""

    async def send_again(self, name: str, position: int) -> WebhookStanding:
        """Post everything behind an event again.

        Raises:
            ValueError: There is no event with that position yet.
        """

    async def try_out(self, name: str) -> tuple[bool, str]:
        """Post a test event now; return whether it was taken, and what was seen."""
