"""The channel that messages are published on, which is replaced when RabbitMQ did not take one.

A channel remembers which server led a quorum queue when it first published to it. RabbitMQ before 3.13 refuses all that
comes by a channel whose first message met a server that was just lost, until that server is back; the queue has long
had another leader by then, and takes what comes by a new channel.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractConnection

from orchestrator.broker.library_errors import close_quietly

_CLOSE_SECONDS: Final = 2.0


@dataclass(slots=True, eq=False)
class _Used:
    channel: AbstractChannel
    users: int = 0


class Publishing:
    """Opens a channel with publisher confirms when one is needed; a message that no queue takes raises.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        self._connection = connection
        self._lock = asyncio.Lock()
        self._present: _Used | None = None

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[AbstractChannel]:
        """Give the channel to publish on; if that fails, or takes too long, others are given a new one."""
        used = await self._usable()
        used.users += 1
        try:
            yield used.channel
        except BaseException:
            if self._present is used:
                self._present = None
            raise
        finally:
            used.users -= 1
            # Not before: what others have published on it may still be confirmed.
            if self._present is not used and not used.users:
                await close_quietly(asyncio.create_task(_closed(used.channel)), _CLOSE_SECONDS)

    async def _usable(self) -> _Used:
        async with self._lock:
            if self._present is None or self._present.channel.is_closed:
                # Confirmed, else nobody knows whether it was stored; returned, when no queue has that name.
                channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
                self._present = _Used(channel)
            return self._present


async def _closed(channel: AbstractChannel) -> None:
    await channel.close()
