"""One account's signer of each kind, on services that are really run."""

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.contract.signers import kinds
from tests.contract.signers.kinds import KEY, OTHER_KEY, Kind
from tests.servers.softhsm import SoftHsm

ELSEWHERE: dict[str, Callable[[Path], AbstractContextManager[Kind]]] = {
    "web3signer": kinds.web3signer,
    "web3signer-mutual-tls": kinds.web3signer_mutual_tls,
    "kms": kinds.kms,
}


@pytest.fixture(scope="session")
def installed_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the documented example is installed."""
    return kinds.installed_example(tmp_path_factory.mktemp("example"))


@pytest.fixture
def hsm(tmp_path_factory: pytest.TempPathFactory) -> SoftHsm:
    """A token with the owner's key and another one."""
    token = SoftHsm(tmp_path_factory.mktemp("hsm"))
    token.put("owner", KEY, b"\x01")
    token.put("other", OTHER_KEY, b"\x02")
    return token


@pytest.fixture(params=[*ELSEWHERE, "pkcs11"])
def kind(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kind]:
    """Each kind of signer whose key is elsewhere."""
    making: AbstractContextManager[Kind]
    if request.param == "pkcs11":
        making = kinds.softhsm(request.getfixturevalue("hsm"), tmp_path)
    else:
        making = ELSEWHERE[request.param](tmp_path)
    if request.param == "kms":
        monkeypatch.syspath_prepend(request.getfixturevalue("installed_example"))
        monkeypatch.delitem(sys.modules, "orchestrator_kms_signer", raising=False)
    with making as made:
        yield made
