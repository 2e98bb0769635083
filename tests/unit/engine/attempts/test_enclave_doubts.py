"""Why enclaves don't take something: told apart by what else they take, and by what is known."""

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest

from orchestrator.engine.ports.nodes import NodeError, Said
from orchestrator.membership.model import State
from orchestrator.membership.reasons.table import Reason
from tests.patience import patient
from tests.unit.engine.conftest import BLOCK_SECONDS, GROUP, key

if TYPE_CHECKING:
    from tests.unit.engine.conftest import Rig

COMMUNICATING = Reason(slug="enclave_unreachable", detail="Error communicating with enclave")
AWAY = Reason(slug="enclave_recipient_away", detail="Recipient not found for key")


def actions(rig: "Rig") -> list[str]:
    """Return what had an effect on the group, in order."""
    return [str(call["action"]) for call in rig.network.executed]


def refuse(rig: "Rig", reason: Reason, refuses: Callable[[str], bool]) -> list[str]:
    """Let all nodes refuse some private transactions; returns what they are asked to distribute from now on."""
    asked: list[str] = []
    takes = rig.nodes["a"].distribute

    async def distribute(raw: bytes, from_block: int | None = None) -> bytes:
        call = json.loads(raw)
        asked.append(call["action"] if call["group"] == GROUP else "sounding")
        if refuses(asked[-1]):
            raise NodeError(reason, Said.REFUSED)
        return await takes(raw)

    for node in rig.nodes.values():
        node.distribute = distribute  # type: ignore[method-assign] # the fault that is tested
    return asked


async def test_a_history_that_is_not_taken_parks_the_change_with_its_size(rig: "Rig") -> None:
    """All enclaves take a small transaction and not the addition: the group is locked twice, and never again."""
    await rig.group_of("a", "b")
    asked = refuse(rig, COMMUNICATING, lambda what: what == "add")
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.PARKED
    assert change.reason is not None
    assert change.reason.slug == "bundle_not_taken"
    assert "all enclaves took a small transaction; the history has" in change.reason.detail
    assert actions(rig) == ["create", "lock", "unlock", "lock", "unlock"]
    assert asked.count("add") == 4
    assert not rig.network.groups[GROUP].locked


async def test_a_history_beyond_the_limit_is_never_locked_for(rig: "Rig") -> None:
    """Where the enclaves' limit is configured the size is estimated before anything is sent."""
    await rig.group_of("a", "b")
    rig.nodes["c"].bundle_limit_bytes = 100
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.PARKED
    assert change.reason is not None
    assert change.reason.slug == "bundle_too_large"
    assert "100 bytes is the limit (nodes.bundle_limit_bytes)" in change.reason.detail
    assert actions(rig) == ["create"]


async def test_after_an_outage_under_a_lock_the_enclaves_are_sounded_before_the_next(rig: "Rig") -> None:
    """While a new member's enclave is away the group is locked once; then small transactions tell that it is away."""
    await rig.group_of("a", "b")
    failures = 0

    def refuses(what: str) -> bool:
        nonlocal failures
        failures += what in ("add", "sounding")
        return what in ("add", "sounding") and failures <= 13

    asked = refuse(rig, COMMUNICATING, refuses)
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.SUCCEEDED
    assert actions(rig) == ["create", "lock", "unlock", "lock", "add"]
    assert asked[asked.index("unlock") + 1 : -2].count("sounding") >= 2
    assert asked[-2:] == ["lock", "add"]


async def test_an_old_members_outage_under_a_lock_is_not_taken_for_a_large_history(rig: "Rig") -> None:
    """The addition goes to all members: that the new member's enclave takes something says nothing of them."""
    await rig.group_of("a", "b")
    takes, failures = rig.nodes["a"].distribute, 0

    async def distribute(raw: bytes, from_block: int | None = None) -> bytes:
        nonlocal failures
        call = json.loads(raw)
        if failures < 20 and call["action"] != "lock" and (call["group"] == GROUP or key("b") in call["members"]):
            failures += 1
            raise NodeError(COMMUNICATING, Said.REFUSED)
        return await takes(raw)

    for node in rig.nodes.values():
        node.distribute = distribute  # type: ignore[method-assign] # the fault that is tested
    change = await rig.ask("add_members", "c")
    (change,) = await rig.until_at_rest(change)
    met = {after.reason.slug for _, after in rig.steps if after.reason is not None}
    assert change.state is State.SUCCEEDED
    assert met == {"enclave_unreachable"}
    assert not rig.network.groups[GROUP].locked


@pytest.mark.parametrize(
    ("newcomer", "lacks", "slug"),
    [
        ("c", "b", "enclave_unreachable"),
        ("c", "c", "enclave_unreachable"),
        ("stranger", "stranger", "enclave_recipient_away"),
    ],
)
async def test_an_enclave_that_lists_whom_it_knows_is_asked_before_a_lock(
    rig: "Rig", newcomer: str, lacks: str, slug: str
) -> None:
    """A member's key that is missing there is an enclave away, a stranger's may be wrong; nothing is sent meanwhile."""
    await rig.group_of("a", "b")
    listed = frozenset(key(name) for name in ("a", "b", "c", "stranger") if name != lacks)
    for node in rig.nodes.values():
        node.known_keys = listed
    asked = await rig.ask("add_members", newcomer, deadline_seconds=1800)

    def met() -> set[str]:
        return {after.reason.slug for _, after in rig.steps if after.reason is not None}

    async with asyncio.timeout(patient(30)):
        while slug not in met():
            rig.network.mine()
            await rig.clock.sleep(BLOCK_SECONDS)
    rig.clock.skip(1800)
    (change,) = await rig.until_at_rest(asked)
    assert change.state is State.FAILED
    assert met() <= {slug, "deadline_passed"}  # it may pass between two tries as well as at one
    assert actions(rig) == ["create"]


async def test_a_strangers_key_that_nobody_hosts_behind_an_outage_is_not_waited_for_without_end(rig: "Rig") -> None:
    """An outage is over, the other enclaves take all, and nobody knows a stranger's key: parked with it, not locked."""
    await rig.group_of("a", "b")
    tried = asyncio.Event()

    def refuses(what: str) -> bool:
        tried.set()
        return what == "lock"

    refuse(rig, COMMUNICATING, refuses)
    asked = await rig.ask("add_members", "c", "stranger")
    async with asyncio.timeout(patient(30)):
        while not tried.is_set():
            rig.network.mine()
            await rig.clock.sleep(BLOCK_SECONDS)
    for name in ("a", "b", "c"):
        takes = rig.nodes[name].distribute

        async def distribute(raw: bytes, from_block: int | None = None, *, takes: Any = takes) -> bytes:
            if key("stranger") in raw.decode():
                raise NodeError(Reason(slug="enclave_key_unknown", detail="NodeMissingPeerUrl"), Said.REFUSED)
            return cast("bytes", await takes(raw))

        rig.nodes[name].distribute = distribute  # type: ignore[method-assign] # the fault that is tested
    (change,) = await rig.until_at_rest(asked)
    assert change.state is State.PARKED
    assert change.reason is not None
    assert (change.reason.slug, change.reason.members) == ("enclave_recipient_away", (key("stranger"),))
    assert actions(rig) == ["create"]


async def test_nothing_is_tried_twice_in_a_block(rig: "Rig") -> None:
    """Each refused transaction is followed by a block before the next one of its group."""
    await rig.group_of("a", "b")
    heads: list[int] = []

    def refuses(what: str) -> bool:
        heads.append(rig.network.head.number)
        return what == "lock" and len(heads) < 6

    refuse(rig, AWAY, refuses)
    (change,) = await rig.until_at_rest(await rig.ask("add_members", "c"))
    assert change.state is State.SUCCEEDED
    assert len(set(heads)) == len(heads)
