"""Makes a group of two members, adds a third one if the forecast has nothing against it, and removes it again.

Usage: python add_and_remove.py DAEMON FIRST SECOND THIRD; members are enclave keys.
"""

import asyncio
import secrets
import sys

from orchestrator.client import DaemonClient, connect, following

RESTING = {"succeeded", "failed", "cancelled", "parked"}


async def changed(daemon: DaemonClient, kind: str, group: str | None, members: list[str]) -> str:
    """Ask for a change and follow it to its end; returns the group. An application keeps its ids, to ask again."""
    wanted = {"kind": kind, "members": members} | ({"privacy_group_id": group} if group else {})
    change = await daemon.ask(f"example-{secrets.token_hex(8)}", wanted)
    async with following(daemon, change.change_id) as news:
        while (seen := await daemon.change(change.change_id)).state not in RESTING:
            await news()
    print(kind, seen.state.value, seen.reason.message if seen.reason else "")
    if seen.state != "succeeded":
        sys.exit(1)
    return seen.privacy_group_id


async def main(url: str, first: str, second: str, third: str) -> None:
    """Do it all, and print how each change ended."""
    async with connect(url) as daemon:
        group = await changed(daemon, "create_group", None, [first, second])
        forecast = await daemon.forecast(group, [third])
        print("forecast", forecast.outlook.value)
        if forecast.outlook == "unsafe":
            sys.exit(3)
        await changed(daemon, "add_members", group, [third])
        await changed(daemon, "remove_members", group, [third])
        print("left", len((await daemon.group(group)).participants))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
