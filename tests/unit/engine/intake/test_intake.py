"""The intake: every message ends, in the order of its group, whatever it is and whatever it causes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from orchestrator.access.callers import Caller, Door, Role, Scope, anyone
from orchestrator.engine.intake.admission import AdmissionRules, TooManyUnfinishedError
from orchestrator.engine.intake.intake import MOST_DELIVERIES, MOST_FAILURES, Intake
from orchestrator.engine.intake.requests import REQUEST_TYPE, InvalidRequestError, parse_request
from orchestrator.engine.intake.senders import KeysAwayError, Sender
from orchestrator.engine.messages.signed_events import signed_event
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.queues import Trigger
from orchestrator.engine.ports.records import ChangeFilter
from orchestrator.engine.ports.store import StoreError
from orchestrator.membership.model import GroupView, Kind
from orchestrator.membership.reasons.table import Reason
from tests.fakes.triggers import trigger_of
from tests.unit.engine.conftest import GROUP, key

if TYPE_CHECKING:
    from tests.unit.engine.conftest import Rig

OTHER_GROUP = "b3RoZXItZ3JvdXAtb2YtdGhlLXVuaXQtdGVzdHMhISE="


@dataclass
class Queue:
    """A queue that gives back what is postponed, and counts deliveries."""

    waiting: asyncio.Queue[tuple[bytes, int]] = field(default_factory=asyncio.Queue)
    settled: dict[bytes, str] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    postponed_to: "Queue | None" = None
    inlet: str = ""

    def put(self, body: bytes, delivery: int = 1) -> None:
        self.waiting.put_nowait((body, delivery))

    async def triggers(self) -> AsyncIterator[Trigger]:
        while True:
            body, delivery = await self.waiting.get()
            yield self._trigger(body, delivery)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10), self.changed:
            await self.changed.wait_for(lambda: len(self.settled) >= count)

    def _trigger(self, body: bytes, delivery: int) -> Trigger:
        async def settle(how: str) -> None:
            async with self.changed:
                self.settled[body] = how
                self.changed.notify_all()

        async def postpone(_: float) -> None:
            (self.postponed_to or self).put(body, delivery + 1)

        return trigger_of(body, delivery, settle, postpone, inlet=self.inlet)


def message(
    request_id: str, source: str = "/one", group: str = GROUP, kind: str = "create_group", **more: Any
) -> bytes:
    data = {"kind": kind, "privacy_group_id": group, "members": [key("a"), key("b")]}
    event = {"specversion": "1.0", "id": request_id, "source": source, "type": REQUEST_TYPE, "data": data} | more
    return json.dumps({name: value for name, value in event.items() if value is not None}).encode()


def a_group(number: int) -> str:
    return base64.b64encode(bytes([number]) * 32).decode()


async def taken(intake: Intake, queue: Queue, count: int) -> None:
    running = asyncio.create_task(intake.run(queue))
    try:
        await queue.until(count)
    finally:
        running.cancel()
        await asyncio.wait({running})
    assert running.cancelled(), "the intake ended by itself"


async def test_an_addition_whose_creation_went_to_another_replica_is_accepted(rig: "Rig") -> None:
    """A request for a group that nobody knows yet comes again before it is refused: its creation may be on its way."""
    first, later, there = Queue(), Queue(), Queue()
    addition, stray = message("add", kind="add_members"), message("stray", group=OTHER_GROUP, kind="add_members")
    first.postponed_to = later
    first.put(addition)
    first.put(stray)
    running = asyncio.create_task(rig.intake.run(first))
    async with asyncio.timeout(10):
        while later.waiting.qsize() < 2:
            await rig.clock.sleep(1)
    running.cancel()
    there.put(message("create"))
    await taken(Intake(rig.store, rig.fleet, rig.signers, rig.clock, rig.new_id), there, 1)
    await taken(rig.intake, later, 2)
    assert first.settled == {}
    assert later.settled[addition] == "accepted"
    assert "no configured node has this group" in later.settled[stray]


async def test_base64_that_is_not_ascii_is_a_dead_letter(rig: "Rig") -> None:
    """A message whose data_base64 is no ASCII text is buried, and the one behind it is accepted."""
    queue = Queue()
    poison = message("poison", data=None, data_base64="é")
    good = message("good")
    queue.put(poison)
    queue.put(good)
    await taken(rig.intake, queue, 2)
    assert queue.settled[good] == "accepted"
    assert "data_base64" in queue.settled[poison]


async def test_a_message_that_fails_unforeseen_is_a_dead_letter_in_the_end(
    rig: "Rig", monkeypatch: pytest.MonkeyPatch
) -> None:
    """What fails at each delivery is delivered a few times and then buried; others are accepted meanwhile."""
    accept = rig.store.accept
    tries = []

    async def failing(change: Any, *arguments: Any, **more: Any) -> Any:
        if change.request_id == "poison":
            tries.append(change)
            raise RuntimeError("a defect")
        return await accept(change, *arguments, **more)

    monkeypatch.setattr(rig.store, "accept", failing)
    queue = Queue()
    poison, good = message("poison"), message("good", group=OTHER_GROUP)
    queue.put(poison)
    queue.put(good)
    await taken(rig.intake, queue, 2)
    assert queue.settled[good] == "accepted"
    assert "RuntimeError" in queue.settled[poison]
    assert len(tries) == MOST_FAILURES


async def test_what_the_store_never_takes_is_not_delivered_for_ever(
    rig: "Rig", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that the store refuses for good is buried, one that it can't take now is given back."""

    class RefusedError(StoreError):
        passing = False

    refusals = iter([StoreError("away"), StoreError("away"), *[RefusedError("never")] * MOST_FAILURES])

    async def refuse(*_: Any, **__: Any) -> Any:
        raise next(refusals)

    monkeypatch.setattr(rig.store, "accept", refuse)
    queue = Queue()
    queue.put(message("r"))
    await taken(rig.intake, queue, 1)
    assert "RefusedError" in queue.settled[message("r")]


async def test_no_message_is_delivered_without_end(rig: "Rig") -> None:
    """A message that was delivered a thousand times is buried before it is read."""
    queue = Queue()
    queue.put(message("r"), MOST_DELIVERIES + 1)
    await taken(rig.intake, queue, 1)
    assert "never settled" in queue.settled[message("r")]


async def test_an_addition_right_behind_the_creation_is_accepted(rig: "Rig") -> None:
    """Requests of one group are accepted in the order in which they came in: what builds on another finds it."""
    queue = Queue()
    bodies = [message("create"), *(message(f"add-{n}", kind="add_members") for n in range(3))]
    for body in bodies:
        queue.put(body)
    await taken(rig.intake, queue, 4)
    assert set(queue.settled.values()) == {"accepted"}
    assert [change.request_id for change in await rig.store.changes(ChangeFilter(privacy_group_id=GROUP))][::-1] == [
        "create",
        "add-0",
        "add-1",
        "add-2",
    ]


async def test_additions_to_one_group_are_stored_together(rig: "Rig", monkeypatch: pytest.MonkeyPatch) -> None:
    """All that wait for one group are with the store, in their order, before it has committed the first."""
    await rig.ask("create_group", "a", "b")
    accept, given, all_given = rig.store.accept, [], asyncio.Event()

    async def late(change: Any, *arguments: Any, **more: Any) -> Any:
        given.append(change.request_id)
        if len(given) == 3:
            all_given.set()
        await asyncio.wait_for(all_given.wait(), 5)
        return await accept(change, *arguments, **more)

    monkeypatch.setattr(rig.store, "accept", late)
    queue = Queue()
    for number in range(3):
        queue.put(message(f"add-{number}", kind="add_members"))
    await taken(rig.intake, queue, 3)
    assert set(queue.settled.values()) == {"accepted"}
    assert given == ["add-0", "add-1", "add-2"]


async def test_an_addition_behind_one_that_failed_is_accepted(rig: "Rig") -> None:
    """A group whose creation is under way is known, also when the newest change of it has ended otherwise."""
    creation = await rig.ask("create_group", "a", "b")
    late = await rig.ask("add_members", "c", deadline_seconds=1)
    await rig.clock.sleep(5)
    assert (await rig.ask("add_members", "c")).privacy_group_id == creation.privacy_group_id == late.privacy_group_id


async def test_ids_are_unique_within_a_source(rig: "Rig") -> None:
    """The same id of another source is another request; of the same source it is the same, or a conflict."""
    queue = Queue()
    first, again = message("r", source="/one"), message("r", source="/two", group=OTHER_GROUP)
    clash = message("r", source="/one", group=OTHER_GROUP)
    for body in (first, again, clash):
        queue.put(body)
    await taken(rig.intake, queue, 3)
    assert queue.settled[first] == queue.settled[again] == "accepted"
    assert "was used before" in queue.settled[clash]
    assert len(await rig.store.changes()) == 2


async def test_a_sender_with_too_much_unfinished_waits(rig: "Rig") -> None:
    """Over the bound of one source its messages wait, or are rejected as configured; another's are accepted."""
    for when_full, found in (("wait", None), ("reject", "unfinished")):
        rules = AdmissionRules(per_source=2, when_full=when_full)  # type: ignore[arg-type]  # parametrized as text
        intake = Intake(rig.store, rig.fleet, rig.signers, rig.clock, rig.new_id, rules)
        queue = Queue()
        mine = [message(f"{when_full}-{n}", source=f"/{when_full}", group=a_group(n)) for n in range(3)]
        other = message(f"{when_full}-other", source="/other")
        for body in (*mine, other):
            queue.put(body)
        await taken(intake, queue, 3 if found is None else 4)
        assert queue.settled[other] == "accepted"
        said = sorted(str(queue.settled.get(body)) for body in mine)
        assert said.count("accepted") == 2
        assert [word for word in said if word != "accepted" and (found or "None") in word]
        assert intake.admission.turned_away >= 1
    with pytest.raises(TooManyUnfinishedError):
        await intake.submit(
            parse_request("x", {"kind": "create_group", "members": [key("a")]}, source="/reject"), anyone(Door.HTTP)
        )


async def test_all_nodes_are_asked_for_an_unknown_group_at_once(rig: "Rig", monkeypatch: pytest.MonkeyPatch) -> None:
    """A group that no node has is refused after one question to each, and one that a silent node may have is not."""
    under_way, most = 0, 0

    async def slow(*_: Any) -> GroupView:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0.01)
        under_way -= 1
        return GroupView(block_number=1, exists=False)

    for node in rig.nodes.values():
        monkeypatch.setattr(node, "view", slow)
    with pytest.raises(InvalidRequestError, match="no configured node has this group"):
        await rig.ask(Kind.ADD_MEMBERS, "c")
    assert most == len(rig.nodes)

    async def silent(*_: Any) -> GroupView:
        raise NodeError(Reason(slug="node_unreachable"))

    monkeypatch.setattr(rig.nodes["a"], "view", silent)
    assert (await rig.ask(Kind.ADD_MEMBERS, "c")).kind is Kind.ADD_MEMBERS


def limited(name: str, **scope: Any) -> Caller:
    return Caller(name=f"queue:{name}", role=Role.OPERATOR, scope=Scope(**scope), door=Door.QUEUE)


NOBODY = "source nobody asks by {}: it is none of broker.sources"


@pytest.mark.parametrize(
    ("inlet", "asked", "end"),
    [
        ("requests.org1", message("1"), "accepted"),
        ("requests.org1", message("2", kind="add_members"), "source changes of kind add_members are not among"),
        ("requests.org2", message("3"), "accepted"),
        ("requests.org2", message("4", group=OTHER_GROUP), f"source the group {OTHER_GROUP} is not among"),
        ("requests", message("5", source="/org1"), NOBODY.format("requests")),
        ("requests.*", message("6", source="queue:org1"), NOBODY.format("requests.*")),
        ("requests.>", message("7"), NOBODY.format("requests.>")),
        ("REQUESTS.ORG1", message("8"), NOBODY.format("REQUESTS.ORG1")),
        ("requests.org1 ", message("9"), NOBODY.format("requests.org1 ")),
        ("", message("10"), NOBODY.format("")),
    ],
)
async def test_a_source_may_ask_for_what_is_configured(rig: "Rig", inlet: str, asked: bytes, end: str) -> None:
    """By the subject that it came in by: what a message says of itself, or another subject, opens nothing."""
    senders = {
        "requests.org1": [Sender(caller=limited("org1", kinds=frozenset({Kind.CREATE_GROUP})))],
        "requests.org2": [Sender(caller=limited("org2", groups=frozenset({GROUP})))],
    }
    intake = Intake(rig.store, rig.fleet, rig.signers, rig.clock, rig.new_id, senders=senders)
    queue = Queue(inlet=inlet)
    queue.put(asked)
    await taken(intake, queue, 1)
    assert queue.settled[asked].startswith(end)
    assert len(await rig.store.changes()) == (end == "accepted")


async def test_a_source_of_too_low_a_role_asks_for_nothing(rig: "Rig") -> None:
    """The queue's door asks the table of roles, too."""
    viewer = Caller(name="queue:org1", role=Role.VIEWER, scope=Scope(), door=Door.QUEUE)
    senders = {"requests.org1": [Sender(caller=viewer)]}
    intake = Intake(rig.store, rig.fleet, rig.signers, rig.clock, rig.new_id, senders=senders)
    queue, asked = Queue(inlet="requests.org1"), message("1")
    queue.put(asked)
    await taken(intake, queue, 1)
    assert queue.settled[asked] == "source this needs the role operator; this caller is viewer"
    assert not await rig.store.changes()


async def test_sources_do_not_share_ids(rig: "Rig") -> None:
    """The same source and id by another subject is another request: nobody joins, or learns of, somebody else's."""
    senders = {f"requests.{name}": [Sender(caller=limited(name))] for name in ("org1", "org2")}
    intake = Intake(rig.store, rig.fleet, rig.signers, rig.clock, rig.new_id, senders=senders)
    for inlet, members in (("requests.org1", ["a", "b"]), ("requests.org2", ["a", "c"]), ("requests.org1", ["a", "b"])):
        queue = Queue(inlet=inlet)
        data = {"kind": "create_group", "privacy_group_id": GROUP, "members": [key(name) for name in members]}
        asked = message("same", data=data)
        queue.put(asked)
        await taken(intake, queue, 1)
        assert queue.settled[asked] == "accepted"
    assert {source for source, _ in await rig.store.unfinished()} == {"queue:org1", "queue:org2"}


async def test_a_request_whose_keys_are_away_comes_again(rig: "Rig") -> None:
    """Nothing is concluded about a signature whose key can't be had now; when it can, the request is accepted."""
    private = Ed25519PrivateKey.generate()
    asked_for = []

    def keys() -> dict[str, Any]:
        asked_for.append("keys")
        if len(asked_for) < 3:
            raise KeysAwayError("the file is gone")
        return {"main": private.public_key()}

    senders = {"requests": [Sender(caller=limited("org1"), keys=keys)]}
    intake = Intake(rig.store, rig.fleet, rig.signers, rig.clock, rig.new_id, senders=senders)
    asked = {**json.loads(message("1")), "time": rig.clock.now().isoformat()}
    signed = json.dumps(signed_event(asked, private, "main")).encode()
    queue = Queue(inlet="requests")
    queue.put(signed)
    await taken(intake, queue, 1)
    assert (queue.settled[signed], len(asked_for)) == ("accepted", 3)
    assert {source for source, _ in await rig.store.unfinished()} == {"queue:org1"}


async def test_a_source_has_a_bound_of_its_own(rig: "Rig") -> None:
    """What one source may have unfinished is what is configured for it, whatever it calls itself."""
    rules = AdmissionRules(per_source=100, of_source={"queue:org1": 2}, when_full="reject")
    senders = {"requests.org1": [Sender(caller=limited("org1"))]}
    intake = Intake(rig.store, rig.fleet, rig.signers, rig.clock, rig.new_id, rules, senders=senders)
    queue = Queue(inlet="requests.org1")
    for number in range(4):
        queue.put(message(str(number), source=f"/{number}", group=a_group(number)))
    await taken(intake, queue, 4)
    assert sorted(end.split(" ")[0] for end in queue.settled.values()) == ["accepted", "accepted", "source", "source"]
