"""A group that a stranger's copy of a marker split is whole again after one command."""

from pathlib import Path

import pytest

from orchestrator.cli.curing import cured
from orchestrator.config import Config, load_config
from orchestrator.guard.cure import CureError
from tests.fakes.guarded_network import OTHER_KEY, OWNER_KEY, GuardedNetwork, guarded_network

OWNER = "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73"


def configured(network: GuardedNetwork, folder: Path, *numbers: int) -> Config:
    key = folder / "owner.key"
    key.write_text(OWNER_KEY)
    key.chmod(0o600)
    nodes = "".join(
        f'[[nodes]]\nname = "member{seen.number}"\nhttp = "{seen.http_url}"\nenclave_keys = ["{seen.enclave_key}"]\n'
        for seen in network.devnet.nodes
        if seen.number in numbers
    )
    path = folder / "orchestrator.toml"
    path.write_text(f'{nodes}[[accounts]]\naddress = "{OWNER}"\nkey_file = "owner.key"\n')
    return load_config(path, {})


async def test_a_split_group_is_whole_again(tmp_path: Path) -> None:
    """Sender and newcomer are removed through the third member's node and added again in one call."""
    async with guarded_network(enclave_http=False) as network:
        group = network.group("G")
        await network.create(group, 1, 2)
        payload, _ = await network.add(group, 3)
        await network.write(group, 2, key=OTHER_KEY)
        copy = network.marker(payload)
        await network.block(copy)
        await network.write(group, 1)
        assert network.root(1, group) != network.root(2, group)
        pmt_hash = "0x" + copy.hash.hex()
        told: list[str] = []
        config = configured(network, tmp_path, 1, 2, 3)
        await cured(config, group, pmt_hash, dry_run=True, tell=told.append)
        assert told[-1] == f"through member2: remove and add {network.keys[0]}, {network.keys[2]}"
        assert network.root(1, group) != network.root(2, group)
        with pytest.raises(CureError, match="nobody shows what the group should be"):
            await cured(configured(network, tmp_path, 1, 3), group, pmt_hash, dry_run=True, tell=told.append)
        with pytest.raises(CureError, match="no node that can be seen executed"):
            await cured(config, group, "0x" + "12" * 32, dry_run=True, tell=told.append)
        await network.call(1, "devnet_setBlockPeriod", 0.05)
        assert await cured(config, group, pmt_hash, dry_run=False, tell=told.append)
        await network.call(1, "devnet_setBlockPeriod", 0)
        await network.imported()
        assert network.root(1, group) == network.root(2, group) == network.root(3, group)
        assert set(await network.members(2, group)) == set(network.keys[:3])
