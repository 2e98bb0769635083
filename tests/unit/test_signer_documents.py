"""The configurations in docs/signers.md load, with the files that they name."""

import re
from pathlib import Path

import pytest

from orchestrator.config import load_config

DOCUMENT = Path(__file__).parents[2] / "docs" / "signers.md"
NODE = """
[[nodes]]
name = "member1"
http = "http://127.0.0.1:8545"
enclave_keys = ["A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo="]
"""
BLOCKS = re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_a_documented_account_loads(block: str, tmp_path: Path) -> None:
    """Each block is a configuration of accounts without a mistake."""
    module = tmp_path / "module.so"
    block = re.sub(r'module = "[^"]+"', f'module = "{module}"', block)
    for name in {module.name, *re.findall(r'(?:_file|keystore) = "([^"]+)"', block)}:
        (tmp_path / name).write_text("something")
        (tmp_path / name).chmod(0o600)
    (tmp_path / "orchestrator.toml").write_text(NODE + block)
    assert load_config(tmp_path / "orchestrator.toml", {}).accounts
