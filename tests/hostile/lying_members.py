"""Whole changes beside a member's node that lies.

What must hold, whatever the node says: groups that it is not in go on as if it were not there; nothing is added twice;
the daemon does not end; and no change is called a success that another member's node would have shown to be none.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Final

from orchestrator.engine.runtime.isolation import contained_failures
from tests.hostile.lying_proxy import LyingProxy
from tests.hostile.rules import Rule, RuledProxy
from tests.hostile.whole_daemon import LEAST_SECONDS, RPC_SECONDS, Asked, Rig, beside_a_liar, check

SLACK: Final = 10
"""How many times as long as before the lies a busy machine may take, besides the one time-out that a lie may cost."""
AFTERWARDS_SECONDS: Final = 10.0
"""How long changes of the lying node's own groups are waited for once it is honest again; a change may wait longer."""
EPISODES: Final = 4
"""Of one network, each with other rules."""
MOST_RULES: Final = 6


async def lying_member(seed: int) -> None:
    """One member's node lies while groups with it and without it change."""
    random = Random(seed)  # noqa: S311 - a plan that can be repeated
    with _nothing_unforeseen():
        async with beside_a_liar(random, seed, LyingProxy) as rig:
            rig.proxy.lying = True
            apart = [await rig.daemon.ask(rig.cast.without_liar(random)) for _ in range(2)]
            beside = [await rig.daemon.ask(rig.cast.with_liar(random)) for _ in range(3)]
            for asked in apart:
                await _succeeds(rig, asked)
            rig.proxy.lying = False
            for asked in beside:
                await rig.daemon.ended(asked, AFTERWARDS_SECONDS, must=False)
            for asked in (*apart, *beside):
                check(rig, list(asked.values()), await rig.daemon.seen(asked))
            assert not rig.daemon.running.done(), f"the daemon ended; {rig.proxy}"


async def member_with_rules(seed: int) -> None:
    """One member's node lies in a few things, consistently; each other node shares a group with it alone."""
    random = Random(seed)  # noqa: S311 - a plan that can be repeated
    with _nothing_unforeseen():
        async with beside_a_liar(random, seed, RuledProxy) as rig:
            assert isinstance(rig.proxy, RuledProxy)
            for shared in rig.cast.shared(random):
                await rig.daemon.ended(await rig.daemon.ask([shared]), LEAST_SECONDS)
            for episode in range(EPISODES):
                await _episode(rig, random, episode, rig.proxy)
                assert not rig.daemon.running.done(), f"the daemon ended; {rig.proxy}"


async def _episode(rig: Rig, random: Random, episode: int, proxy: RuledProxy) -> None:
    proxy.rules = tuple(Rule(random.getrandbits(32)) for _ in range(random.randint(1, MOST_RULES)))
    proxy.lying = bool(episode % 2)
    apart = await rig.daemon.ask(rig.cast.without_liar(random, again=random.random() < 0.5))
    beside = await rig.daemon.ask(rig.cast.with_liar(random))
    # Half of the lies begin in the middle of the changes: what was seen before then differs from what is said.
    if not proxy.lying:
        await asyncio.sleep(random.random() * rig.usual_seconds)
    proxy.lying = True
    await _succeeds(rig, apart)
    await rig.daemon.ended(beside, rig.usual_seconds, must=False)
    proxy.lying = False
    await rig.daemon.ended(beside, rig.usual_seconds, must=False)
    for asked in (apart, beside):
        check(rig, list(asked.values()), await rig.daemon.seen(asked))


async def _succeeds(rig: Rig, asked: dict[str, Asked]) -> None:
    """Changes of a group without the liar succeed, in no more time than one lie may cost."""
    await rig.daemon.ended(asked, max(rig.usual_seconds * SLACK, LEAST_SECONDS) + RPC_SECONDS)
    found = [(change["state"], change["reason"]) for change in await rig.daemon.seen(asked)]
    assert {state for state, _ in found} == {"succeeded"}, f"a group without the liar: {found}; {rig.proxy}"


@contextmanager
def _nothing_unforeseen() -> Iterator[None]:
    before = Counter(contained_failures)
    yield
    contained = Counter(contained_failures) - before
    assert not contained, f"{dict(contained)} failed unforeseen"
