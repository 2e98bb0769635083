"""The body of a request that sends something, written while its sender still may."""

import aiohttp
from aiohttp.abc import AbstractStreamWriter

from orchestrator.engine.ports.store import LeaseLostError
from orchestrator.engine.runtime.leases import require_to_send


class SendingBody(aiohttp.BytesPayload):
    """A request that sends something: it is written while its sender still may, or not at all.

    Attributes:
        refused: Why it was not written.
    """

    refused: LeaseLostError | None = None

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """Write the body if it may be sent, right now; the head of the request has not left before (aiohttp)."""
        try:
            require_to_send()
        except LeaseLostError as error:
            self.refused = error
            raise
        await super().write_with_length(writer, content_length)
