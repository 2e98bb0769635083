from pathlib import Path

from tests.benchmarks.harness import Costs, ask_for, group_id, harness, trigger
from tests.benchmarks.watching import watching
from tests.patience import patient

SLOW = Costs(sends_at_once=0, submission_ms=40, addition_ms=5000, marker_ms=15)
"""A node that bundles a history for five blocks, as one of 6,000 transactions does."""

GROUP = group_id("of the slow node")


async def test_an_addition_that_is_answered_after_five_blocks_is_sent_once(tmp_path: Path) -> None:
    """The blocks that pass while the history is bundled are none in which it could have been mined."""
    async with harness(tmp_path, costs=SLOW) as (devnet, daemon), watching(devnet, daemon) as watch:
        first, second, third = devnet.members
        await ask_for(daemon, [trigger("create", "create_group", GROUP, [first, second])])
        await watch.wait_for_ends(["create"], patient(60))
        await ask_for(daemon, [trigger("add", "add_members", GROUP, [third])])
        ended = (await watch.wait_for_ends(["add"], patient(60)))["add"]
        change = await daemon.get(f"/v1/changes/{ended.data['change_id']}")

    sends = {attempt["action"]: len(attempt["pmt_hashes"]) for attempt in change["attempts"]}
    assert sends == {"lock": 1, "add": 1}
    assert {member["verdict"] for member in change["progress"]} == {"in_sync"}
    assert any("distributed in" in entry["detail"] for entry in change["history"])
