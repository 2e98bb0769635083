"""The audit against emulated nodes of each version."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from orchestrator.besu import FlexiblePrivacyGroups, HttpNode, Node, open_session, signer_from_key
from orchestrator.cli.main import app
from orchestrator.cli.verbs.audit import examine
from orchestrator.config import load_config
from orchestrator.devnet import Devnet, DevnetConfig, running_devnet
from orchestrator.engine.audit.comparison import AuditReport
from orchestrator.membership.model import Verdict
from tests.integration.lost_additions import losing_the_next_addition
from tests.patience import patient

# The well-known public development key of 0xfe3b….
OWNER_KEY = "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63"
OWNER = signer_from_key(OWNER_KEY)
AN_HOUR = 3600.0
VERSIONS = ["21.1.7", "22.4.4", "23.10.3", "25.4.1"]


@dataclass
class Audited:
    """A devnet of three members' nodes, its owner's client and a configuration file."""

    devnet: Devnet
    owner: FlexiblePrivacyGroups
    file: Path

    @property
    def keys(self) -> list[str]:
        return [node.enclave_key for node in self.devnet.nodes]

    async def group(self, *members: int) -> str:
        created = await self.owner.create([self.keys[number - 1] for number in members])
        return created.privacy_group_id

    async def write(self, group: str) -> None:
        """Execute two transactions in the group."""
        await self.owner.lock(group)
        await self.owner.unlock(group)

    async def audit(self) -> AuditReport:
        return await examine(load_config(self.file, {}))

    async def command(self, *arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, ["audit", "--config", str(self.file), *arguments])


@asynccontextmanager
async def network(folder: Path, version: str = "23.10.3", **settings: object) -> AsyncIterator[Audited]:
    given = {"base_port": 0, "block_period_seconds": 0.1, "replay_ms_per_transaction": 0, "besu_version": version}
    async with (
        running_devnet(DevnetConfig(**{**given, **settings})) as devnet,  # type: ignore[arg-type] # keywords of the test
        open_session() as session,
    ):
        first = devnet.nodes[0]
        text = ""
        for node in devnet.nodes:
            text += f'[[nodes]]\nname = "m{node.number}"\nhttp = "{node.http_url}"\n'
            text += f'enclave_keys = ["{node.enclave_key}"]\n'
        file = folder / "orchestrator.toml"
        file.write_text(text)
        node_of_owner = Node(HttpNode(session, first.http_url))
        owner = FlexiblePrivacyGroups(node_of_owner, OWNER, first.enclave_key, poll_seconds=0.02)
        yield Audited(devnet, owner, file)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_group_through_its_life_never_differs_and_then_does(tmp_path: Path, version: str) -> None:
    """Created, extended and reduced, members agree; a transaction that one misses is found at its block."""
    async with network(tmp_path, version) as audited:
        group = await audited.group(1, 2)
        await audited.write(group)
        assert not (await audited.audit()).differing
        await audited.owner.add(group, [audited.keys[2]])
        assert [len(c.compared) for c in (await audited.audit()).comparisons] == [3]
        await audited.owner.remove(group, audited.keys[1])
        await audited.write(group)
        report = await audited.audit()
        assert not report.differing
        assert [set(c.compared) for c in report.comparisons] == [{audited.keys[0], audited.keys[2]}]

        await audited.devnet.call(1, "devnet_missNextTransaction", [3, group])
        locked = await audited.owner.lock(group)
        (found,) = (await audited.audit()).differing
        # Two members are left: the roots can't tell which of them missed it, what it lacks can.
        assert (found.undecided, found.reference, found.first_block) == (True, "", locked.block_number)
        assert {odd.node for odd, _ in found.differing} == {"m1", "m3"}
        assert found.lacking == {audited.keys[2]: (locked.pmt_hash,)}


async def test_a_member_that_loses_the_add_one_block_later_is_found(tmp_path: Path) -> None:
    """The member that had the addition at its block and lost it differs from the next block on."""
    async with network(tmp_path) as audited:
        group = await audited.group(1, 2)
        async with losing_the_next_addition(audited.devnet, 3):
            added = await audited.owner.add(group, [audited.keys[2]])
        assert added is not None
        await audited.devnet.call(1, "devnet_mine", [3])
        (found,) = (await audited.audit()).differing
        ((odd, verdict),) = found.differing
        assert (odd.node, verdict, found.first_block) == ("m3", Verdict.DIVERGED, added.block_number + 1)


async def test_25_5_0_is_seen_by_the_audit(tmp_path: Path) -> None:
    """A node that never received the group is missing it."""
    async with network(tmp_path, "25.5.0", validators=2) as audited:
        group = await audited.group(1, 2)
        await audited.owner.add(group, [audited.keys[2]])
        await audited.devnet.call(1, "devnet_mine", [2])
        (found,) = (await audited.audit()).differing
        assert [(odd.node, verdict) for odd, verdict in found.differing] == [("m3", Verdict.MISSING)]


async def test_a_replay_that_runs_is_no_difference(tmp_path: Path) -> None:
    """While a new member replays, it is behind and not judged; afterwards it agrees."""
    async with network(tmp_path, history=10, validators=1) as audited:
        third = audited.devnet.emulation.network.nodes[2]
        third.replay_seconds_each = AN_HOUR
        (group,) = await audited.owner.find([audited.keys[0]])
        await audited.owner.add(group.privacy_group_id, [audited.keys[2]])
        report = await audited.audit()
        assert not report.differing
        await audited.devnet.call(1, "devnet_mine", [8])
        report = await audited.audit()
        assert set(report.skipped) == {"m3"}
        assert not report.differing
        third.replay_seconds_each = 0.0
        async with asyncio.timeout(patient(30)):
            while third.replaying is not None:  # noqa: ASYNC110 - nodes tell nobody
                await asyncio.sleep(0.02)
        report = await audited.audit()
        assert (dict(report.skipped), report.differing) == ({}, ())
        assert [set(compared.compared) for compared in report.comparisons] == [set(audited.keys)]


async def test_the_command_tells_monitoring(tmp_path: Path) -> None:
    """The exit code is 0 while members agree and 1 when they differ or nothing can be compared; --json says who."""
    async with network(tmp_path) as audited:
        group = await audited.group(1, 2, 3)
        well = await audited.command()
        await audited.devnet.call(1, "devnet_diverge", [2, group])
        ill = await audited.command("--json")
        shown = await audited.command()
        for number in (2, 3):
            await audited.devnet.call(1, "devnet_setNode", [number, False])
        alone = await audited.command()
    assert well.exit_code == 0, well.output
    assert "1 groups: 1 agree" in well.stdout
    document = json.loads(ill.stdout)
    assert ill.exit_code == 1
    assert document["agree"] is False
    assert [entry["node"] for entry in document["groups"][0]["differing"]] == ["m2"]
    assert "members differ since block" in shown.stdout
    assert alone.exit_code == 1
    assert "nothing was compared" in alone.stdout
