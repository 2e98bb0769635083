"""Says who the members of a group shall be, and waits until it is so.

Usage: python desired_members.py DAEMON GROUP KEY...; asking again for the same set changes nothing.
"""

import asyncio
import hashlib
import sys

from orchestrator.client import connect, following

RESTING = {"succeeded", "failed", "cancelled", "parked"}


async def main(daemon_url: str, group: str, members: list[str]) -> int:
    """Ask, follow to the end, and say how it ended; returns the exit code."""
    async with connect(daemon_url) as daemon:
        # The id makes it safe to ask again after a broken connection: the same id is the same change.
        request_id = "desired-members-" + hashlib.sha256("|".join((group, *sorted(members))).encode()).hexdigest()
        wanted = {"kind": "set_members", "privacy_group_id": group, "members": members}
        change = await daemon.ask(request_id, wanted)
        async with following(daemon, change.change_id) as news:
            while (seen := await daemon.change(change.change_id)).state not in RESTING:
                await news()
    print(seen.state.value, seen.reason.message if seen.reason else "")
    return 0 if seen.state == "succeeded" else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:])))
