"""An application that holds its private transactions back while its group is locked for an addition.

Usage: python pause_while_locked.py GROUP [DAEMON]; it ends when the group is open again.
"""

import asyncio
import sys

from orchestrator.client import DaemonUnreachableError, connect

LOCKING = "membership.group.locking.v1"
UNLOCKED = "membership.group.unlocked.v1"


async def follow(daemon_url: str, group: str, may_write: asyncio.Event) -> None:
    """Let the application write whenever no lock is coming or there; goes on where it was after a broken connection."""
    resume_id: str | None = None
    while True:
        try:
            async with connect(daemon_url) as daemon:
                async for event in daemon.events(group=group, types=(LOCKING, UNLOCKED), resume_id=resume_id):
                    resume_id = event.resume_id or resume_id
                    if event.event_type == LOCKING:
                        may_write.clear()
                    elif event.event_type == UNLOCKED:
                        may_write.set()
        except DaemonUnreachableError:
            await asyncio.sleep(1)


async def main(group: str, daemon_url: str) -> None:
    """Write until a lock is coming, wait until the group is open again, and end."""
    may_write = asyncio.Event()
    may_write.set()
    following = asyncio.create_task(follow(daemon_url, group, may_write))
    print("writing", flush=True)
    while may_write.is_set():
        await asyncio.sleep(0.05)  # here the application sends a private transaction
    print("paused", flush=True)
    await may_write.wait()
    print("writing again", flush=True)
    following.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "http://127.0.0.1:8080"))
