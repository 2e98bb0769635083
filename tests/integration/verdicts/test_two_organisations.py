"""Two organisations' daemons on one message queue: the adder's sees nodes 1 and 2, the joiner's node 3."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from orchestrator.app import store_url
from orchestrator.app.daemon import run_daemon
from orchestrator.config import Config, load_config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.engine.attestation import inquiries
from orchestrator.engine.attestation.join_places import CHECKPOINT
from orchestrator.guard.service import running_guard
from orchestrator.membership.guard.received_bundles import Approval
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.guard.approvals import ApprovalFile
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.integration.lost_additions import held_at_the_next_addition
from tests.patience import patient

# Well-known public development accounts and their keys: the group's owner, and the joiner's.
OWNER = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
JOINER = "0x627306090abab3a6e1400e9345bc60c78a8bef57"
JOINER_KEY = "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3"
SOMEBODY_ELSE = "0xf17f52151ebef6c7334fad080c5704d77216b732"


@dataclass
class Adder:
    """The adder's daemon, as its HTTP interface shows it."""

    devnet: Devnet
    http: ClientSession
    address: str

    @property
    def keys(self) -> list[str]:
        return [node.enclave_key for node in self.devnet.nodes]

    async def ask(self, request_id: str, data: dict[str, Any]) -> dict[str, Any]:
        headers = {"Idempotency-Key": request_id}
        async with self.http.post(f"{self.address}/v1/changes", json=data, headers=headers) as answer:
            assert answer.status < 300, await answer.text()
            asked: dict[str, Any] = await answer.json()
        return asked

    async def until(self, change: dict[str, Any], *states: str) -> dict[str, Any]:
        async with asyncio.timeout(patient(40)):
            while True:
                async with self.http.get(f"{self.address}/v1/changes/{change['change_id']}") as answer:
                    found: dict[str, Any] = await answer.json()
                if found["state"] in states:
                    return found
                await asyncio.sleep(0.05)

    async def group(self) -> str:
        asked = await self.ask("create", {"kind": "create_group", "members": self.keys[:2]})
        created = await self.until(asked, "succeeded", "failed", "parked")
        assert created["state"] == "succeeded"
        return str(created["privacy_group_id"])

    async def add_the_third(self, group: str) -> dict[str, Any]:
        data = {"kind": "add_members", "privacy_group_id": group, "members": [self.keys[2]]}
        return await self.ask("add", data)

    def third(self, change: dict[str, Any]) -> dict[str, Any]:
        (found,) = [entry for entry in change["progress"] if entry["enclave_key"] == self.keys[2]]
        return dict(found)


def configured(folder: Path, name: str, queue: str, body: str, blocks: str) -> Config:
    home = folder / name
    home.mkdir()
    for account, key in (("owner", OWNER_KEY), ("joiner", JOINER_KEY)):
        (home / f"{account}.key").write_text(key)
        (home / f"{account}.key").chmod(0o600)
    text = f'[store]\nurl = "sqlite:///store.db"\n[broker]\nurl = "{queue}"\n'
    text += f'[broker.names]\nrequests = "{name}.requests"\ndead = "{name}.dead"\nevents = "{name}.events"\n'
    text += f'[api]\nlisten = "127.0.0.1:0"\n[chain]\n{blocks}'
    file = home / "orchestrator.toml"
    file.write_text(text + body)
    return load_config(file, {})


@asynccontextmanager
async def daemon(config: Config) -> AsyncIterator[str]:
    await asyncio.to_thread(migrate, store_url(config))
    stopping = asyncio.Event()
    ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    running = asyncio.create_task(run_daemon(config, stopping, ready.set_result))
    try:
        async with asyncio.timeout(patient(20)):
            yield await ready
    finally:
        stopping.set()
        await asyncio.wait_for(running, patient(30))


async def first_look(config: Config) -> None:
    """Wait until a daemon knows which groups were there before: they are no news."""
    async with asyncio.timeout(patient(20)), Database(store_url(config)) as database:
        outbox = SqlOutbox(database)
        while True:
            if None not in [await outbox.checkpoint(f"{CHECKPOINT}/{node.name}") for node in config.nodes]:
                return
            await asyncio.sleep(0.05)


@asynccontextmanager
async def organisations(
    folder: Path,
    queue: str,
    *,
    believed: str,
    proof_blocks: int = 3,
    verdict_blocks: int = 60,
    attestations: str = "ignore",
    answers: bool = True,
    guarded: bool = False,
) -> AsyncIterator[Adder]:
    blocks = f"proof_blocks = {proof_blocks}\nverdict_blocks = {verdict_blocks}\n"
    settings = DevnetConfig(base_port=0, block_period_seconds=0.2, replay_ms_per_transaction=5, enclave_http=guarded)
    async with running_devnet(settings) as devnet, ClientSession() as http:
        nodes = [
            f'[[nodes]]\nname = "m{node.number}"\nhttp = "{node.http_url}"\nws = "{node.ws_url}"\n'
            f'enclave_keys = ["{node.enclave_key}"]\n'
            for node in devnet.nodes
        ]
        nodes[0] += f'speaker = "{OWNER}"\n'
        adder = nodes[0] + nodes[1] + f'[[accounts]]\naddress = "{OWNER}"\nkey_file = "owner.key"\n'
        adder += f'[[peers]]\nenclave_key = "{devnet.nodes[2].enclave_key}"\naccount = "{believed}"\n'
        if guarded:
            nodes[2] += f'enclave = "{devnet.nodes[2].enclave_url}"\n'
        joiner = nodes[2] + f'speaker = "{JOINER}"\n[[accounts]]\naddress = "{JOINER}"\nkey_file = "joiner.key"\n'
        if answers:
            joiner += f'[[peers]]\nenclave_key = "{devnet.nodes[0].enclave_key}"\naccount = "{OWNER}"\n'
        if guarded:
            joiner += '[guard]\nlisten = "127.0.0.1:0"\naccept = "asked"\n'
        joining = configured(folder, "joiner", queue, joiner, blocks)
        asking = blocks + f'attestations = "{attestations}"\n'
        async with (
            _guarding(devnet, joining) if guarded else nullcontext(),
            daemon(joining),
            daemon(configured(folder, "adder", queue, adder, asking)) as address,
        ):
            await first_look(joining)
            yield Adder(devnet, http, address)


@asynccontextmanager
async def _guarding(devnet: Devnet, config: Config) -> AsyncIterator[None]:
    """Put a guard before the third node's enclave."""
    async with running_guard(config) as guard:
        await devnet.call(1, "devnet_setEnclaveUrl", [3, guard.address])
        yield


async def test_the_joiners_word_proves_its_member(tmp_path: Path, nats_url: str) -> None:
    """The new member is in sync by the joiner's signed word, and the result says by whose."""
    async with organisations(tmp_path, nats_url, believed=JOINER) as adder:
        added = await adder.until(await adder.add_the_third(await adder.group()), "succeeded", "failed", "parked")
        assert added["state"] == "succeeded", added
        third = adder.third(added)
        assert (third["verdict"], third["attested_by"]) == ("in_sync", JOINER)
        assert third["in_sync_through"] >= added["effect"]["block_number"] + 3
        others = [entry for entry in added["progress"] if entry["enclave_key"] != third["enclave_key"]]
        assert {(entry["verdict"], entry["attested_by"]) for entry in others} == {("in_sync", None)}


async def test_the_word_of_another_account_does_not_count(tmp_path: Path, nats_url: str) -> None:
    """Signed by an account that is not the configured one, the new member stays unobserved, and nothing hangs."""
    async with organisations(tmp_path, nats_url, believed=SOMEBODY_ELSE, verdict_blocks=20) as adder:
        added = await adder.until(await adder.add_the_third(await adder.group()), "succeeded", "failed", "parked")
        assert added["state"] == "succeeded", added
        third = adder.third(added)
        assert (third["verdict"], third["attested_by"]) == ("unobserved", None)


async def test_a_joiner_that_diverged_parks_the_addition(tmp_path: Path, nats_url: str) -> None:
    """When the joiner's own daemon says that its node has another state, the addition is not called a success."""
    async with organisations(tmp_path, nats_url, believed=JOINER, proof_blocks=20) as adder:
        asked = await adder.add_the_third(await adder.group())
        async with held_at_the_next_addition(adder.devnet):
            await adder.until(asked, "replaying")
            await adder.devnet.call(1, "devnet_diverge", [3, asked["privacy_group_id"]])
        parked = await adder.until(asked, "succeeded", "failed", "parked")
        assert parked["state"] == "parked", parked
        assert parked["reason"]["slug"] == "member_diverged"
        assert (adder.third(parked)["verdict"], adder.third(parked)["attested_by"]) == ("diverged", JOINER)


@pytest.mark.parametrize("attestations", ["prefer", "require"])
async def test_the_joiner_vouches_for_its_node(
    tmp_path: Path, nats_url: str, attestations: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked before the lock, the joiner's daemon says that its node can take the group; the plan names it."""
    monkeypatch.setattr(inquiries, "WAIT_SECONDS", patient(inquiries.WAIT_SECONDS))
    async with organisations(tmp_path, nats_url, believed=JOINER, attestations=attestations) as adder:
        added = await adder.until(await adder.add_the_third(await adder.group()), "succeeded", "failed", "parked")
        assert added["state"] == "succeeded", added
        (vouched,) = added["plan"]["vouched"]
        assert (vouched["enclave_key"], vouched["account"]) == (adder.keys[2], JOINER)
        assert vouched["block_number"] < added["effect"]["block_number"]
        assert added["plan"]["unforeseen"] == []


async def test_nobody_is_added_without_a_word_that_is_required(tmp_path: Path, nats_url: str) -> None:
    """The joiner's daemon does not answer whom it does not know: the addition parks before anything is sent."""
    async with organisations(tmp_path, nats_url, believed=JOINER, attestations="require", answers=False) as adder:
        added = await adder.until(await adder.add_the_third(await adder.group()), "succeeded", "failed", "parked")
        assert (added["state"], added["reason"]["slug"]) == ("parked", "attestation_missing"), added
        assert added["attempts"] == []


async def test_a_word_that_is_preferred_is_waited_for_and_done_without(tmp_path: Path, nats_url: str) -> None:
    """The addition goes on after the wait, and its plan says of whom nothing could be foreseen."""
    async with organisations(tmp_path, nats_url, believed=JOINER, attestations="prefer", answers=False) as adder:
        added = await adder.until(await adder.add_the_third(await adder.group()), "succeeded", "failed", "parked")
        assert added["state"] == "succeeded", added
        assert (added["plan"]["vouched"], added["plan"]["unforeseen"]) == ([], [adder.keys[2]])


async def test_what_only_the_joiner_sees_is_not_added_to(tmp_path: Path, nats_url: str) -> None:
    """A former member's node whose state went another way would halt: its own daemon says so, and nothing is sent."""
    async with organisations(tmp_path, nats_url, believed=JOINER, attestations="prefer") as adder:
        asked = await adder.ask("create", {"kind": "create_group", "members": adder.keys})
        group = str((await adder.until(asked, "succeeded", "failed", "parked"))["privacy_group_id"])
        data = {"kind": "remove_members", "privacy_group_id": group, "members": [adder.keys[2]]}
        removed = await adder.until(await adder.ask("remove", data), "succeeded", "failed", "parked")
        assert removed["state"] == "succeeded", removed
        await adder.devnet.call(1, "devnet_diverge", [3, group])
        added = await adder.until(await adder.add_the_third(group), "succeeded", "failed", "parked")
        assert (added["state"], added["reason"]["slug"]) == ("parked", "former_member_unsafe"), added
        assert added["reason"]["detail"].startswith(f"{JOINER} says of its node at block ")
        assert added["attempts"] == []


async def test_an_addition_that_the_joiners_guard_refuses_is_undone(tmp_path: Path, nats_url: str) -> None:
    """The adder reads why by the joiner's signed word, has the member out again, and adds it once it is agreed to."""
    async with organisations(tmp_path, nats_url, believed=JOINER, guarded=True) as adder:
        group = await adder.group()
        asked = await adder.add_the_third(group)
        parked = await adder.until(asked, "succeeded", "failed", "parked")
        assert (parked["state"], parked["reason"]["slug"]) == ("parked", "refused_by_guard"), parked
        said = f"refused by the member's guard: not agreed to ({JOINER} says so); removed again, seen at block "
        assert parked["reason"]["detail"].startswith(said)
        assert parked["reason"]["members"] == [adder.keys[2]]
        actions = [(attempt["action"], attempt["status"]) for attempt in parked["attempts"]]
        assert actions == [("lock", "effective"), ("add", "effective"), ("remove", "effective")]
        assert (parked["effect"]["participants"], parked["lock_block"]) == (adder.keys[:2], None)
        assert await adder.devnet.call(3, "privx_findFlexiblePrivacyGroup", [[]]) == []

        ApprovalFile(tmp_path / "joiner" / "orchestrator-approvals.json").add(
            Approval(privacy_group_id=group, owner=OWNER)
        )
        async with adder.http.post(f"{adder.address}/v1/changes/{asked['change_id']}/retry") as answer:
            assert answer.status < 300, await answer.text()
        added = await adder.until(asked, "succeeded", "failed")
        assert added["state"] == "succeeded", added
        assert (adder.third(added)["verdict"], adder.third(added)["attested_by"]) == ("in_sync", JOINER)
