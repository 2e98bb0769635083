"""The client library's connection, which no message's headers can end.

The library reads headers in its reading loop, and an exception there ends the connection. The server looks at no
header, keeps such a message, and delivers it again on the next connection, before everything behind it.
"""

from typing import Final

import structlog
from nats.aio.client import Client

MOST_HEADER_BYTES: Final = 64 << 10
"""Headers of all sorts of senders have some hundred; a megabyte of them takes a tenth of a second to be read."""

_log = structlog.get_logger(__name__)


class SturdyClient(Client):
    """Takes headers that it can't read, or that are too many, for none."""

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        if headers is not None and len(headers) > MOST_HEADER_BYTES:
            most = f"{len(headers)} bytes, at most {MOST_HEADER_BYTES} are read"
            _log.warning("headers of a message can't be read, it is taken without them", reason=most)
            return None
        try:
            found: dict[str, str] | None = await super()._process_headers(headers)
        except Exception as error:  # noqa: BLE001 - whatever it is, the connection goes on
            _log.warning("headers of a message can't be read, it is taken without them", reason=repr(error))
            return None
        return found
