"""Telling others, signed, what our own node shows of a group that it joined; on the fake network."""

from dataclasses import replace

import pytest

from orchestrator.engine.attestation.attester import GIVE_UP_BLOCKS, Attester
from orchestrator.engine.attestation.verdict_messages import decode_verdict
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.queues import BrokerError
from orchestrator.membership.attempt import Action
from orchestrator.membership.attestation.joined_groups import Join
from orchestrator.membership.attestation.verdicts import SignedVerdict, statement
from orchestrator.membership.guard.judgement import Refusal
from orchestrator.membership.reasons.table import Reason
from tests.fakes.clock import JumpingClock
from tests.fakes.network import FakeNetwork, FakeNode, Group

GROUP = "DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w="
ACCOUNT = "0x627306090abab3a6e1400e9345bc60c78a8bef57"
OTHER_ACCOUNT = "0xf17f52151ebef6c7334fad080c5704d77216b732"


class Accounts:
    """Signs by the end of the text."""

    async def sign_statement(self, account: str, text: bytes) -> bytes:
        return (account.encode() + text[-65:])[-65:]


class Joined:
    """A group of a and b that c was added to, whose daemon tells of it."""

    def __init__(self) -> None:
        self.network = FakeNetwork()
        for key in "ab":
            FakeNode(self.network, f"node-{key}", key)
        self.node = FakeNode(self.network, "node-c", "c")
        self.network.groups[GROUP] = Group(owner="0xo", participants=("a", "b"))
        self.network.mine(2)
        self.network.write(GROUP, 20)
        self.before = self.network.head.number
        self.network.mine(9)
        self.network.act(GROUP, Action.LOCK)
        self.network.act(GROUP, Action.ADD, ["c"])
        self.effect_block = self.network.head.number
        self.published: list[SignedVerdict] = []
        self.queue_answers = True
        self.watcher = ChainWatcher(self.node, JumpingClock())
        fleet = Fleet([self.watcher])
        self.refusals: list[Refusal] = []
        self.attester = Attester(
            fleet, {"node-c": ACCOUNT}, Accounts(), self.publish, JumpingClock(), 3, self.refused_of_late
        )

    async def refused_of_late(self) -> list[Refusal]:
        return self.refusals

    async def publish(self, body: bytes) -> None:
        if not self.queue_answers:
            raise BrokerError("away")
        self.published.append(decode_verdict(body))

    def join(self) -> Join:
        return Join(
            privacy_group_id=GROUP,
            enclave_key="c",
            node="node-c",
            members=("a", "b", "c"),
            reference=None,
            since_block=self.network.head.number,
        )

    async def tell(self) -> None:
        await self.watcher.refresh()
        await self.attester.tell()

    def told(self) -> list[list[int]]:
        return [[root.block_number for root in signed.verdict.roots] for signed in self.published]


@pytest.mark.parametrize("late", [0, 1, 20])
async def test_the_blocks_of_the_proof_are_told(late: int) -> None:
    """The addition's block is found, whenever it was noticed; its root and those of the further blocks are told."""
    joined = Joined()
    joined.network.mine(late)
    joined.attester.follow(joined.join(), joined.before)
    await joined.tell()
    joined.network.mine(3)
    await joined.tell()
    await joined.tell()
    effect = joined.effect_block
    assert joined.told()[-1] == list(range(effect, effect + 4))
    assert len(joined.published) == (1 if late >= 3 else 2)
    last = joined.published[-1]
    assert last.account == ACCOUNT
    assert last.signature == await Accounts().sign_statement(ACCOUNT, statement(last.verdict))
    at_effect = joined.network.blocks[effect]
    assert last.verdict.roots[0].block_hash == at_effect.block_hash
    assert last.verdict.roots[0].state_root == joined.network.groups[GROUP].views[effect].state_root


async def test_what_the_queue_did_not_take_is_told_again() -> None:
    """A verdict that could not be published is published when the message queue is back."""
    joined = Joined()
    joined.attester.follow(joined.join(), joined.before)
    joined.network.mine(3)
    joined.queue_answers = False
    await joined.tell()
    joined.queue_answers = True
    await joined.tell()
    assert len(joined.published) == 1


async def test_a_node_that_lost_the_group_is_told_of_as_well() -> None:
    """When the members don't tell any more where the addition was, all blocks that may be it are told."""
    joined = Joined()
    joined.attester.follow(replace(joined.join(), enclave_key="x"), joined.before)
    joined.network.mine(3)
    await joined.tell()
    assert joined.told() == [list(range(joined.before + 1, joined.effect_block + 4))]


async def test_nothing_is_told_without_a_speaker_or_too_late() -> None:
    """A node without a speaker is not told of, nor is what nobody waits for any more."""
    joined = Joined()
    joined.attester.follow(replace(joined.join(), node="node-a"), joined.before)
    await joined.tell()
    joined.attester.follow(joined.join(), joined.before)
    joined.network.mine(GIVE_UP_BLOCKS + 4)
    await joined.tell()
    assert joined.published == []


async def test_an_addition_that_the_guard_refused_is_told_with_the_rule() -> None:
    """Once for its block, with what the node shows there and at the further blocks; of another node nothing is told."""
    joined = Joined()
    stranger = "k4Z0lZ0wT4xkzSPxUPDz3S0kBzcCpJC3Qv0m6oOcFqE="
    first = joined.effect_block
    joined.refusals = [
        Refusal(node=node, privacy_group_id=stranger, block_number=first, rule="not_agreed_to")
        for node in ("node-c", "node-a")
    ]
    joined.network.mine(3)
    for _ in range(2):
        await joined.tell()
    (told,) = joined.published
    assert (told.verdict.privacy_group_id, told.verdict.refused) == (stranger, "not_agreed_to")
    assert [(root.block_number, root.state_root) for root in told.verdict.roots] == [
        (number, "") for number in range(first, first + 4)
    ]
    assert b"not_agreed_to" in statement(told.verdict)


async def test_a_signer_that_is_away_holds_up_no_other_speaker() -> None:
    """Of one account whose signer hangs one verdict is tried in a round; another account's are told meanwhile."""
    joined = Joined()
    asked: list[str] = []

    class Away(Accounts):
        async def sign_statement(self, account: str, text: bytes) -> bytes:
            asked.append(account)
            if account == ACCOUNT:
                raise NodeError(Reason(slug="signer_away", detail="it hangs"))
            return await super().sign_statement(account, text)

    speakers = {"node-c": ACCOUNT, "node-a": OTHER_ACCOUNT}
    watchers = [ChainWatcher(node, JumpingClock()) for node in joined.network.nodes if node.name in speakers]
    attester = Attester(Fleet(watchers), speakers, Away(), joined.publish, JumpingClock(), 3, joined.refused_of_late)
    joined.network.mine(4)
    for number in range(3):
        attester.follow(replace(joined.join(), enclave_key=f"c{number}"), joined.before)
    attester.follow(replace(joined.join(), enclave_key="a", node="node-a"), joined.before)
    for watcher in watchers:
        await watcher.refresh()
    await attester.tell()
    assert asked == [ACCOUNT, OTHER_ACCOUNT]
    assert [signed.account for signed in joined.published] == [OTHER_ACCOUNT]
