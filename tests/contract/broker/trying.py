"""What tests try with a broker that may do only some things."""

import asyncio

from orchestrator.broker.port import Broker

TYPE = "membership.change.accepted.v1"


async def works(broker: Broker) -> None:
    """Make sure that triggers come in, dead letters are kept and events go out."""
    await broker.check()
    await broker.check_events()
    await broker.check_rights()
    await broker.publish(TYPE, "1", b"{}")
    await broker.request(b"{}")
    await broker.check_rights()  # gives back what it took
    async for trigger in broker.triggers():
        await trigger.bury("for a try")
        break
    assert [letter.body for letter in await broker.dead_letters()] == [b"{}"]


async def until_it_fails(broker: Broker) -> None:
    """Check until that raises."""
    while True:
        await broker.check()
        await asyncio.sleep(0.05)
