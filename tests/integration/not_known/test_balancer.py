"""Many groups while each node's address is a balancer over replicas of which two are late."""

import asyncio
import base64
from dataclasses import replace
from datetime import timedelta
from random import Random

from orchestrator.engine.audit.auditor import Auditor, AuditRules
from orchestrator.store.stores.change_store import SqlChangeStore
from orchestrator.store.stores.outbox_store import SqlOutbox
from tests.integration.not_known.changes import CALM, SEED, empty_store, keep_errors, make_blocks
from tests.simulation import virtual_time
from tests.simulation.checks import Checks
from tests.simulation.endings import Endings
from tests.simulation.messages import MessageQueue
from tests.simulation.owner import OwnerClient
from tests.simulation.replica import Replica
from tests.simulation.traffic import Application
from tests.simulation.world import LifeClock, World

GROUPS = 50
LAGS_SECONDS = (0.0, 0.4, 1.5)
BLOCK_SECONDS = 1.0
PATIENCE_SECONDS = 1200.0


def test_late_replicas_behind_every_address_do_not_change_an_end() -> None:
    """50 groups: created and extended, all succeed unlocked; no reorganisation and no divergence is told of any."""
    virtual_time.run(_create_and_extend())


async def _create_and_extend() -> None:
    errors: list[str] = []
    keep_errors(errors)
    chance = Random(SEED)  # noqa: S311 - a plan that can be repeated
    async with empty_store() as database:
        world = World(SEED, replace(CALM, groups=GROUPS, block_seconds=BLOCK_SECONDS), chance, database)
        world.checks = checks = Checks(world, database, errors)
        queue, network = MessageQueue(world), world.emulation.network
        for node in network.nodes:
            assert world.emulation.apis[0].call("devnet_setReplicas", [node.number, list(LAGS_SECONDS)])
        keys = [node.key for node in network.nodes]
        groups = [base64.b64encode(chance.randbytes(32)).decode() for _ in range(GROUPS)]
        world.spawn(make_blocks(world))
        await asyncio.sleep(2.5 * BLOCK_SECONDS)
        replica = Replica(world, queue, "r1")
        world.spawn(replica.run())
        await asyncio.sleep(BLOCK_SECONDS)
        auditor = _auditor(replica, SqlChangeStore(database, _clock(replica)), SqlOutbox(database))
        for kind, members in (("create_group", keys[:2]), ("add_members", keys[2:])):
            for group in groups:
                asked = {"kind": kind, "privacy_group_id": group, "members": members}
                queue.publish(f"{kind} {group}", asked)
            until = world.loop.time() + PATIENCE_SECONDS
            while world.loop.time() < until and not errors and (queue.unsettled or not checks.at_rest()):
                await asyncio.sleep(BLOCK_SECONDS)
                await auditor.audit_once()
        await asyncio.sleep(4 * BLOCK_SECONDS)
        report = await auditor.audit_once()
        owner, others = OwnerClient(world), Application(world)
        Endings(world=world, checks=checks, queue=queue, owner=owner, application=others, groups=groups).check()
        assert checks.broken == []
        assert checks.rows("SELECT kind, state, COUNT(*) FROM changes GROUP BY 1, 2 ORDER BY 1") == [
            ("add_members", "succeeded", GROUPS),
            ("create_group", "succeeded", GROUPS),
        ]
        for group in groups:
            state = checks.ledger.truth.executed(group)[-1][1].state.contract
            assert (set(state.participants), state.can_execute) == (set(keys), True)
        assert [watcher.reorganisations for watcher in replica.fleet.watchers] == [0, 0, 0]
        assert checks.rows("SELECT COUNT(*) FROM outbox WHERE type LIKE '%diverged%'") == [(0,)]
        assert len(report.comparisons) == GROUPS
        assert replica.life is not None
        replica.life.die("the end")


def _clock(replica: Replica) -> LifeClock:
    assert replica.life is not None
    return LifeClock(replica.life)


def _auditor(replica: Replica, store: SqlChangeStore, outbox: SqlOutbox) -> Auditor:
    """Audit the replica's nodes; an observer is never idle, so that a divergence of a moment would be told."""
    rules = AuditRules(holder="r1", every_blocks=1, lease=timedelta(minutes=10))
    return Auditor(replica.fleet, store, outbox, _clock(replica), rules)
