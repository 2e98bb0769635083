"""Judgements that are under way, one for each key at a time."""

import asyncio

from orchestrator.guard.judgements import Judgements


async def test_two_requests_whose_answers_are_read_at_once_share_one_judgement() -> None:
    """The second finds the first's judgement when its own answer is read, and begins none."""
    begun: list[str] = []
    read = asyncio.Event()

    async def judge(key: str, body: bytes | None) -> int:
        begun.append(key)
        return len(body or b"")

    async def body() -> bytes:
        await read.wait()
        return b"bundle"

    judgements = Judgements(judge)
    asked = [asyncio.ensure_future(judgements.of("K", body)) for _ in range(2)]
    await asyncio.sleep(0)
    read.set()
    assert await asyncio.gather(*asked) == [6, 6]
    assert begun == ["K"]
    await judgements.close()
