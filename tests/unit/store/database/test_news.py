"""News of what was committed."""

import asyncio

from orchestrator.store.database.news import News


async def test_everybody_who_waits_for_work_is_told() -> None:
    """Each subscriber has a flag of its own, set by work and by nothing else."""
    news = News()
    one, other = news.subscribe(), news.subscribe()
    news.publish(False, 3)
    assert not one.is_set()
    news.publish(True, 0)
    assert one.is_set()
    one.clear()
    assert other.is_set()


async def test_readers_are_told_when_there_is_something_behind_their_position() -> None:
    """A reader waits until a position beyond its own is heard of; older news wake nobody."""
    news = News()
    behind_two = asyncio.ensure_future(news.wait_behind(2))
    behind_five = asyncio.ensure_future(news.wait_behind(5))
    for position in (2, 4, 3):
        news.publish(False, position)
        await asyncio.sleep(0)
    await behind_two
    assert not behind_five.done()
    assert news.position == 4
    news.publish(False, 6)
    await behind_five
    await news.wait_behind(5)
