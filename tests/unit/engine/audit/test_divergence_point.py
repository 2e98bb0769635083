"""Where states part, on the fake network."""

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engine.audit.divergence_point import first_difference, lacking
from orchestrator.membership.model import Verdict
from tests.fakes.network import FakeNetwork, FakeNode, Group


@settings(max_examples=50)
@given(length=st.integers(1, 400), data=st.data())
def test_the_search_finds_every_block(length: int, data: st.DataObject) -> None:
    """Wherever states part, the search names that very block, in a number of calls that grows with the logarithm."""

    network = FakeNetwork()
    one, other = FakeNode(network, "one", "A"), FakeNode(network, "other", "B")
    network.groups["g"] = Group(owner="0xo", participants=("A", "B"))
    network.mine(length)
    since = data.draw(st.integers(1, length))
    other.diverges_from = since
    found = asyncio.run(first_difference(other, one, "g", length, Verdict.DIVERGED))
    assert found == since
    assert one.calls <= length.bit_length() + 1


async def test_what_nobody_knows_nobody_lacks() -> None:
    """A public transaction has no private receipt on any node; one that is lacked is known to somebody."""
    network = FakeNetwork()
    nodes = {key: FakeNode(network, f"node{key}", key) for key in "AB"}
    network.groups["g"] = Group(owner="0xo", participants=("A", "B"))
    lock = network.submit(b'{"account": "0xo", "nonce": 0, "group": "g", "action": "lock", "members": []}')
    unlock = network.submit(b'{"account": "0xo", "nonce": 1, "group": "g", "action": "unlock", "members": []}')
    network.mine()
    assert await lacking(nodes, 1) == {}
    nodes["A"].lacks |= {lock, unlock}
    nodes["B"].lacks.add(unlock)
    assert await lacking(nodes, 1) == {"A": (lock,)}
    assert await lacking({}, 1) == {}
