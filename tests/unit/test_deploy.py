from pathlib import Path

from orchestrator.config import load_config

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    """The example names only what the configuration knows, once the files that it names exist."""
    config_file = tmp_path / "orchestrator.toml"
    config_file.write_text((DEPLOY / "orchestrator.toml").read_text())
    for name in ("store.password", "nats.creds", "owner.key"):
        (tmp_path / name).write_text("8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63")
        (tmp_path / name).chmod(0o600)
    config = load_config(config_file, {})
    assert [node.name for node in config.nodes] == ["member1", "member2"]


def test_the_unit_gives_the_daemon_time_to_finish_its_locks() -> None:
    """systemd waits longer than the daemon may take to finish lock windows and publish what is committed."""
    unit = (DEPLOY / "systemd" / "orchestrator.service").read_text()
    (stop,) = [line for line in unit.splitlines() if line.startswith("TimeoutStopSec=")]
    assert int(stop.partition("=")[2]) > 20 + 5


def test_the_unit_keeps_keys_out_of_files() -> None:
    """systemd lets the daemon write no core dump, and no file that others can read."""
    unit = (DEPLOY / "systemd" / "orchestrator.service").read_text().splitlines()
    assert {"LimitCORE=0", "UMask=0077"} <= set(unit)
