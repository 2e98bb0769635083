"""Tokens that speak PKCS#11 in particular: PINs, sessions, several accounts on one token, and what is named wrongly."""

import asyncio
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from eth_hash.auto import keccak

from orchestrator.app.configured.accounts import opened_account, opened_accounts
from orchestrator.besu import Signer, SignerAwayError, SignerError, SignerRefusedError
from orchestrator.besu.codec.account_signatures import signature_by
from orchestrator.config import AccountConfig
from tests.contract.signers import kinds
from tests.contract.signers.kinds import ADDRESS, OTHER_ADDRESS, Kind, in_thread, secret_file
from tests.servers.softhsm import PIN, SoftHsm

MESSAGE = b"\xf8 what is signed"


@pytest.fixture
def token(hsm: SoftHsm, tmp_path: Path) -> Iterator[Kind]:
    with kinds.softhsm(hsm, tmp_path) as made:
        yield made


def account(kind: Kind, address: str = ADDRESS, **table: Any) -> AccountConfig:
    given = {**kind.settings["pkcs11"], **table}
    kept = {name: value for name, value in given.items() if value is not None}
    return AccountConfig.model_validate({"address": address, "pkcs11": kept}, context={"folder": kind.folder})


async def signs(signer: Signer) -> None:
    signature = await signer.sign(MESSAGE)
    assert signature_by(signer.address, keccak(MESSAGE), signature.r, signature.s) == signature


async def refused(signer: Signer, what: str) -> None:
    with pytest.raises(SignerRefusedError, match=what) as caught:
        await signer.sign(MESSAGE)
    assert PIN not in str(caught.value)


class CountingTokens:
    """PKCS#11 as it is; keeps which PINs tokens are asked to take."""

    def __init__(self) -> None:
        self.tried: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(pkcs11, name)

    def lib(self, module: str) -> Any:
        return Counted(pkcs11.lib(module), self.tried)


class Counted:
    """A library or a token."""

    def __init__(self, real: Any, tried: list[str]) -> None:
        self._real, self._tried = real, tried

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def get_token(self, **given: Any) -> Any:
        return Counted(self._real.get_token(**given), self._tried)

    def open(self, **given: Any) -> Any:
        self._tried += [given["user_pin"]] if "user_pin" in given else []
        return self._real.open(**given)


async def test_a_key_is_named_by_label_or_id(token: Kind) -> None:
    """Either will do, and both must fit."""
    for table in ({}, {"key_label": None, "key_id": "01"}, {"key_id": "0x01"}):
        async with opened_account(account(token, **table)) as signer:
            await signs(signer)
    async with opened_account(account(token, key_id="02")) as signer:
        await refused(signer, r"label owner, id 02 \(NoSuchKey\)")


async def test_two_accounts_share_a_token(token: Kind) -> None:
    """A process logs in to a token once: both sign, at the same time, and each goes on when the other is closed."""
    other = account(token, OTHER_ADDRESS, key_label="other")
    async with opened_account(account(token)) as signer:
        async with AsyncExitStack() as stack:
            second = (await opened_accounts(stack, [other]))[OTHER_ADDRESS]
            await asyncio.gather(*(signs(one) for one in (signer, second) * 5))
        await signs(signer)


async def test_a_session_that_died_is_opened_again(token: Kind, hsm: SoftHsm) -> None:
    """When the token is restarted the next signature opens a session anew, for each account."""
    other = account(token, OTHER_ADDRESS, key_label="other")
    async with AsyncExitStack() as stack:
        signers = await opened_accounts(stack, [account(token), other])
        for _ in range(3):
            for signer in signers.values():
                await signs(signer)
            await in_thread(hsm.end_sessions)


async def test_no_session_of_before_is_taken_for_one_of_another_account(token: Kind, hsm: SoftHsm) -> None:
    """A library that began anew gives out the same handles again, for other keys: each account opens its own anew."""
    other = account(token, OTHER_ADDRESS, key_label="other")
    async with AsyncExitStack() as stack:
        signers = (await opened_accounts(stack, [account(token), other])).values()
        for order in (signers, reversed(signers), signers):
            for signer in order:
                await signs(signer)
            await in_thread(hsm.unplug)
            await in_thread(hsm.plug)


async def test_a_pin_that_was_refused_is_not_tried_again(
    token: Kind, hsm: SoftHsm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong PIN is tried once, whoever asks, since tokens lock themselves; another one in the file is tried."""
    pins = CountingTokens()
    monkeypatch.setitem(sys.modules, "pkcs11", pins)
    pin = secret_file(token.folder / "pin", "no-such-pin")
    async with AsyncExitStack() as stack:
        signers = await opened_accounts(stack, [account(token), account(token, OTHER_ADDRESS, key_label="other")])
        for signer in (*signers.values(), *signers.values()):
            await refused(signer, "refuse[sd] the PIN")
        assert pins.tried == ["no-such-pin"]
        secret_file(pin, PIN)
        for signer in signers.values():
            await signs(signer)
    assert set(pins.tried[1:]) == {PIN}


async def test_what_is_named_wrongly_is_told(token: Kind, tmp_path: Path) -> None:
    """A token that nobody knows, a key that is not there, and a library that is none."""
    async with opened_account(account(token, token="nobody")) as signer:
        with pytest.raises(SignerAwayError, match=r"token nobody of .*NoSuchToken.*plugged in"):
            await signer.sign(MESSAGE)
    async with opened_account(account(token, key_label="nothing")) as signer:
        await refused(signer, "label nothing")
    nothing = tmp_path / "library.so"
    nothing.write_text("no library")
    async with opened_account(account(token, module=str(nothing))) as signer:
        await refused(signer, "can't be loaded")


async def test_a_pin_file_that_others_can_read_is_told(token: Kind) -> None:
    """Its mode is looked at whenever a session is opened, not only at the start."""
    async with opened_account(account(token)) as signer:
        (token.folder / "pin").chmod(0o644)
        with pytest.raises(SignerError, match="chmod 600"):
            await signer.sign(MESSAGE)
        (token.folder / "pin").chmod(0o600)
        await signs(signer)


async def test_without_the_package_the_extra_is_named(token: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who configures a token without the extra learns what to install, before anything starts."""
    monkeypatch.setitem(sys.modules, "pkcs11", None)
    with pytest.raises(SignerError, match=r"pip install 'besu-membership-orchestrator\[pkcs11\]'"):
        async with opened_account(account(token)):
            raise AssertionError("it opened")
