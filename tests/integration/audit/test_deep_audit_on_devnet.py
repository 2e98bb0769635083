"""The deep audit, and the watch over new blocks, against emulated nodes that replay as real ones do."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

from typer.testing import CliRunner

from orchestrator.app.configured.node_access import connect_nodes
from orchestrator.besu.client.own_markers import OwnMarkers, one_time_account
from orchestrator.besu.codec.management_contract import MANAGEMENT_PROXY, Method, encode_add_participants, encode_call
from orchestrator.besu.codec.private_transaction import PrivateTransaction, sign_private_transaction
from orchestrator.cli.main import app
from orchestrator.cli.verbs.deep_audit import DeepResult, examine
from orchestrator.config import load_config
from orchestrator.devnet.encoding import to_base64
from orchestrator.engine.blocks.block_watch import BlockWatch, WatchRules
from orchestrator.engine.nodes.fleet import Fleet
from orchestrator.engine.nodes.watcher import ChainWatcher
from orchestrator.engine.runtime.clock import SystemClock
from orchestrator.membership.damage.findings import Damage
from orchestrator.membership.news.status import EventType
from orchestrator.store.commits.database import Database
from orchestrator.store.commits.schema_version import migrate
from orchestrator.store.stores.block_watch_store import SqlWatchRecord
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.fakes.migrated_stores import migrated
from tests.integration.audit.test_audit_on_devnet import OWNER, OWNER_KEY, Audited, network
from tests.integration.lost_additions import losing_the_next_addition, send_call
from tests.patience import patient


async def deep(audited: Audited) -> DeepResult:
    return await examine(load_config(audited.file, {}))


async def written_with_pairs(audited: Audited, group: str) -> None:
    """Have a public account send twice in every block while the group is written to."""
    await audited.devnet.call(1, "devnet_publicTraffic", [1, 2])
    await audited.write(group)
    await audited.devnet.call(1, "devnet_publicTraffic", [0, 0])


async def test_a_group_that_is_closed_is_found_and_another_is_not(tmp_path: Path) -> None:
    """Accounts that send twice close the group that is written to meanwhile; the other stays open."""
    async with network(tmp_path) as audited:
        closed, quiet = await audited.group(1, 2), await audited.group(1, 2)
        await audited.write(quiet)
        assert (await deep(audited)).report.findings == ()
        await written_with_pairs(audited, closed)
        result = await deep(audited)
        shown = await asyncio.to_thread(
            CliRunner().invoke, app, ["audit", "--deep", "--config", str(audited.file), "--json"]
        )
    found = {(finding.damage, finding.privacy_group_id) for finding in result.report.findings}
    assert found == {(Damage.UNEXTENDABLE, closed)}
    assert "2 transactions in it" in result.report.findings[0].detail
    assert result.report.account_twice >= 1
    document = json.loads(shown.stdout)
    assert (shown.exit_code, document["damaged"]) == (0, False)
    assert document["findings"][0]["privacy_group_id"] == closed


async def test_a_member_that_lost_its_addition_is_damage(tmp_path: Path) -> None:
    """A member whose node lost the group by another group's window of one block is named with its repair."""
    async with network(tmp_path) as audited:
        group = await audited.group(1, 2)
        async with losing_the_next_addition(audited.devnet, 3):
            await audited.owner.add(group, [audited.keys[2]])
        await audited.devnet.call(1, "devnet_mine", [3])
        result = await deep(audited)
    worst = result.report.findings[0]
    assert result.damaged
    assert worst.damage in (Damage.DIFFERS, Damage.BEYOND_REPAIR)
    assert (worst.privacy_group_id, worst.members, worst.node) == (group, (audited.keys[2],), "m3")


async def test_a_torn_bundle_is_found_while_all_members_agree(tmp_path: Path) -> None:
    """A node that joined another group between two transactions of this one must not send additions to it."""
    async with network(tmp_path, block_period_seconds=0) as audited:
        group, other = bytes(31) + b"X", bytes(31) + b"G"
        add = partial(encode_add_participants, audited.devnet.emulation.network.behaviour.abi)
        lock, unlock = encode_call(Method.LOCK), encode_call(Method.UNLOCK)
        for calls in (
            [(group, add(audited.keys[:2])), (other, add(audited.keys[:1]))],
            [(group, lock)],
            [(group, unlock)],
            [],
            [(group, lock), (other, lock)],
            [(group, unlock)],
            [(other, add(audited.keys[1:2]))],
            [],
        ):
            for of_group, call in calls:
                await send_call(audited.devnet, of_group, call)
            await audited.devnet.call(1, "devnet_mine", [1])
        result = await deep(audited)
    (finding,) = result.report.findings
    assert not result.damaged
    assert (finding.damage, finding.privacy_group_id, finding.node) == (Damage.TORN, to_base64(group), "m2")


async def test_a_split_by_a_stale_addition_is_not_judged_by_numbers(tmp_path: Path) -> None:
    """Sender and new member are two of three, and wrong: the sender is named, and the third is left alone."""
    async with network(tmp_path) as audited:
        group = await audited.group(1, 2)
        await audited.owner.lock(group)
        await audited.devnet.call(1, "devnet_mine", [2])
        raw = await an_addition(audited, group, audited.keys[2])
        payload_key = bytes.fromhex((await audited.devnet.call(1, "priv_distributeRawTransaction", [raw]))[2:])
        await audited.owner.unlock(group)
        await audited.devnet.call(1, "devnet_mine", [2])
        markers = OwnMarkers(gas_limit=3_000_000, gas_price=0)
        marker = markers.make(payload_key, audited.devnet.emulation.network.config.chain_id, one_time_account())
        await audited.devnet.call(1, "eth_sendRawTransaction", ["0x" + marker.raw.hex()])
        await audited.devnet.call(1, "devnet_mine", [3])
        result = await deep(audited)
    (finding,) = result.report.findings
    assert (finding.damage, finding.privacy_group_id, finding.node) == (Damage.SPLIT, group, "m1")
    assert "Never take the larger side for the right one" in finding.never


async def test_a_copied_marker_is_not_judged_by_numbers(tmp_path: Path) -> None:
    """It threw sender and new member back: both are named, and the third, which is as the group is, is left alone."""
    async with network(tmp_path) as audited:
        group, call = await audited.group(1, 2), audited.devnet.call
        await audited.owner.add(group, [audited.keys[2]])
        added = int(await call(1, "eth_blockNumber", []), 16)
        for _ in range(2):
            await audited.write(group)
        blocks = [await call(1, "eth_getBlockByNumber", [hex(number), True]) for number in range(1, added + 1)]
        (copied,) = (one["input"] for block in blocks for one in block["transactions"] if len(one["input"]) == 130)
        markers = OwnMarkers(gas_limit=3_000_000, gas_price=0)
        chain_id = audited.devnet.emulation.network.config.chain_id
        marker = markers.make(bytes.fromhex(copied[2:]), chain_id, one_time_account())
        await call(1, "eth_sendRawTransaction", ["0x" + marker.raw.hex()])
        await call(1, "devnet_mine", [3])
        (seen,) = (await audited.audit()).differing
        result = await deep(audited)
    assert (seen.reference, {one.enclave_key for one, _ in seen.differing}) == (audited.keys[1], {*audited.keys[::2]})
    assert {(one.damage, one.node) for one in result.report.findings} == {(Damage.SPLIT, "m1"), (Damage.SPLIT, "m3")}


async def an_addition(audited: Audited, group: str, key: str) -> str:
    """Sign an addition as it would be sent now."""
    count = await audited.devnet.call(1, "priv_getTransactionCount", [OWNER.address, group])
    behaviour = audited.devnet.emulation.network.behaviour
    transaction = PrivateTransaction(
        private_nonce=int(count, 16),
        private_from=audited.keys[0],
        to=MANAGEMENT_PROXY,
        data=encode_add_participants(behaviour.abi, [key]),
        privacy_group_id=group,
        chain_id=audited.devnet.emulation.network.config.chain_id,
    )
    return "0x" + sign_private_transaction(transaction, OWNER_KEY).hex()


async def test_what_was_read_is_kept_in_the_store(tmp_path: Path) -> None:
    """With a store the second audit reads no old block again; without one nothing is left behind."""
    async with network(tmp_path) as audited:
        group = await audited.group(1, 2)
        await audited.write(group)
        await deep(audited)
        assert await asyncio.to_thread(databases, tmp_path) == []
        audited.file.write_text(f'[store]\nurl = "sqlite:///{tmp_path / "kept.db"}"\n' + audited.file.read_text())
        migrate(f"sqlite:///{tmp_path / 'kept.db'}")
        first, second = await deep(audited), await deep(audited)
    assert first.report.groups == second.report.groups == 1
    assert second.calls <= first.calls


def databases(folder: Path) -> list[Path]:
    return list(folder.glob("*.db"))


async def test_the_watch_tells_when_a_group_is_closed(tmp_path: Path) -> None:
    """On a real chain the watch tells the group, the block and the account soon after the block."""
    async with network(tmp_path) as audited:
        group = await audited.group(1, 2)
        url = migrated(tmp_path / "watch.db")
        async with Database(url) as database, asyncio.timeout(patient(60)):
            await watched(audited, database, group)


async def watched(audited: Audited, database: Database, group: str) -> None:
    clock, outbox = SystemClock(), SqlOutbox(database)
    store = KnowingStore(SqlChangeStore(database, clock), group)
    async with AsyncExitStack() as stack:
        nodes = await connect_nodes(stack, load_config(audited.file, {}).nodes)
        watchers = [ChainWatcher(node, clock, timedelta(milliseconds=20)) for node in nodes]
        looked = asyncio.Event()
        noted: Callable[..., None] = lambda *_: looked.set()  # noqa: E731 - a name for a typed callback
        watch = BlockWatch(
            Fleet(watchers), store, outbox, SqlWatchRecord(database), clock, WatchRules(holder="one"), noted
        )
        tasks = [asyncio.create_task(run()) for run in (*(watcher.run for watcher in watchers), watch.run)]
        try:
            await looked.wait()
            await written_with_pairs(audited, group)
            while not (events := await outbox.after(0, limit=10, types=[EventType.GROUP_UNEXTENDABLE.value])):
                looked.clear()
                await looked.wait()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    (told,) = events
    assert told.event.privacy_group_id == group
    assert told.event.data["flaws"]


class KnowingStore:
    """A store that knows one group."""

    def __init__(self, store: SqlChangeStore, group: str) -> None:
        self.announce = store.announce
        self._group = group

    async def is_ours(self, pmt_hash: str) -> bool:
        return not pmt_hash

    async def groups(self, *, limit: int = 10_000) -> tuple[str, ...]:
        return (self._group,)[:limit]
