"""What an addition does to the ways back of the new member's node, on nodes that show head maps."""

from orchestrator.engine.history.forecaster import Question
from orchestrator.store.stores.history_store import SqlHistoryStore
from tests.fakes.head_maps import Act
from tests.fakes.mapped_nodes import Chain, Scene

TO_G = Question(privacy_group_id="G", to_add=("N",), participants=("T", "S"))
TO_X = Question(privacy_group_id="X", to_add=("N",), participants=("T",))
LEFT = 2


def left_x(*, g: bool, then: tuple[Act, ...] = ()) -> Chain:
    """N is in X from its creation, and is removed in block 2, where G has a transaction or not; G ends in block 5."""
    chain = Chain("S", "N")
    chain.mine(Act(group="G", kind="create", keys=("T", "S")), Act(group="X", kind="create", keys=("T", "N")))
    chain.mine(Act(group="X", kind="remove", keys=("N",)), *([Act(group="G", kind="tx")] if g else []))
    chain.mine(*then)
    chain.mine()
    chain.mine(Act(group="G", kind="tx"))
    chain.mine()
    return chain


async def at_risk(scene: Scene) -> list[tuple[str, int, bool]]:
    found = await scene.forecaster.returns.after(await scene.forecaster.forecast(TO_G))
    assert found.unseen == ()
    return [(risk.privacy_group_id, risk.left_block, risk.certain) for risk in found.at_risk]


async def test_a_run_over_the_removal_closes_the_way_back(histories: SqlHistoryStore) -> None:
    """What is warned of is what happens: after the addition the forecast of the return refuses it."""
    chain = left_x(g=True, then=(Act(group="G", kind="tx"),))
    scene = Scene(chain, histories, "T", "S", "N")
    assert await at_risk(scene) == [("X", LEFT, True)]
    assert (await scene.forecaster.forecast(TO_X)).reason is None
    chain.mine(Act(group="G", kind="lock"))
    chain.mine()
    chain.mine(Act(group="G", kind="add", keys=("N",)))
    chain.mine()
    await scene.seen()
    refused = (await scene.forecaster.forecast(TO_X)).reason
    assert refused is not None
    assert refused.slug == "former_member_unsafe"


async def test_a_block_between_warns_of_nothing(histories: SqlHistoryStore) -> None:
    """Where the group has nothing in the removal's block, or nothing of either follows on it, the way stays open."""
    assert await at_risk(Scene(left_x(g=False, then=(Act(group="G", kind="tx"),)), histories, "T", "S", "N")) == []


async def test_what_the_left_group_did_next_decides(histories: SqlHistoryStore) -> None:
    """With the removal's block alone the return is refused when the group that was left goes on in the next block."""
    scene = Scene(left_x(g=True, then=(Act(group="X", kind="tx"),)), histories, "T", "S", "N")
    assert await at_risk(scene) == [("X", LEFT, False)]
    await scene.forecaster.forecast(TO_X)
    assert await at_risk(scene) == [("X", LEFT, True)]


async def test_a_known_history_that_paused_is_no_risk(histories: SqlHistoryStore) -> None:
    """The same, where the group that was left is known to have nothing in the next block."""
    scene = Scene(left_x(g=True), histories, "T", "S", "N")
    await scene.forecaster.forecast(TO_X)
    assert await at_risk(scene) == []


async def test_two_groups_close_a_way_back_together(histories: SqlHistoryStore) -> None:
    """A group replayed before has the removal's block, this one the next: it closes the way that was open."""
    chain = Chain("S", "N")
    chain.mine(
        *(Act(group=group, kind="create", keys=("T", "S")) for group in ("G", "H")),
        Act(group="X", kind="create", keys=("T", "N")),
    )
    chain.mine(Act(group="X", kind="remove", keys=("N",)), Act(group="H", kind="tx"))
    chain.mine(Act(group="G", kind="tx"))
    chain.mine(Act(group="H", kind="lock"))
    chain.mine()
    scene = Scene(chain, histories, "T", "S", "N")
    assert await at_risk(scene) == []
    chain.mine(Act(group="H", kind="add", keys=("N",)))
    chain.mine()
    await scene.seen()
    assert await at_risk(scene) == [("X", LEFT, True)]


async def test_a_group_that_the_node_is_in_again_was_not_left(histories: SqlHistoryStore) -> None:
    """Who was removed and came back has its newest block behind all that is replayed."""
    chain = left_x(g=True, then=(Act(group="G", kind="tx"),))
    chain.mine(Act(group="X", kind="lock"))
    chain.mine()
    chain.mine(Act(group="X", kind="add", keys=("N",)))
    chain.mine()
    assert await at_risk(Scene(chain, histories, "T", "S", "N")) == []


async def test_a_node_that_lists_nothing_is_told(histories: SqlHistoryStore) -> None:
    """What can't be looked at is named, and is not taken for an open way."""
    scene = Scene(left_x(g=True), histories, "T", "S", "N")
    scene.nodes["N"].lists_all = False
    found = await scene.forecaster.returns.after(await scene.forecaster.forecast(TO_G))
    assert [(one.enclave_key, one.node) for one in found.unseen] == [("N", "N")]
    assert "which groups its node has left" in found.unseen[0].detail
