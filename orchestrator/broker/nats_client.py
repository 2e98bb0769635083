"""The client library's connection, which no message's headers can end.

The library reads headers in its reading loop, and an exception there ends the connection. The server looks at no
header, keeps such a message, and delivers it again on the next connection, before everything behind it.
"""

import structlog
from nats.aio.client import Client

_log = structlog.get_logger(__name__)


class SturdyClient(Client):
    """Takes headers that it can't read for none."""

    async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection goes on
            _log.warning("headers of a message can't be read, it is taken without them", reason=repr(error))
            return None
        return found
