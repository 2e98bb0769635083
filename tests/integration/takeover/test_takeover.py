from pathlib import Path

import pytest

from tests.integration.takeover.replicas import two_replicas
from tests.servers.postgresql_server import PostgreSQLServer

LEASE_SECONDS = 2.0


@pytest.mark.timeout(300)
async def test_the_other_replica_goes_on_and_a_woken_one_sends_nothing(
    tmp_path: Path, postgresql_server: PostgreSQLServer
) -> None:
    """Whether one replica is killed or stopped, the other one ends each change once, and who is woken sends nothing."""
    async with two_replicas(tmp_path, postgresql_server, seed=3, groups=3, lease_seconds=LEASE_SECONDS) as replicas:
        for how in ("stop", "stop", "kill"):
            trial = await replicas.trial(how)
            assert trial.held
            assert (trial.stale, trial.wrong) == ((), ())
