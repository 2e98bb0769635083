"""What every signer promises, wherever its key is."""

import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from eth_hash.auto import keccak

from orchestrator.app.configured.accounts import opened_account
from orchestrator.app.configured.signer_checks import SignerTrial, signing_troubles
from orchestrator.besu import (
    PrivateTransaction,
    Signer,
    SignerAwayError,
    SignerError,
    SignerRefusedError,
    WrongSignatureError,
    decode_private_transaction,
    unsigned_private_transaction,
)
from orchestrator.besu.adapter.signatures import Accounts, Outcome
from orchestrator.besu.codec.account_signatures import ORDER, signature_by
from orchestrator.besu.codec.statements import signer_of
from orchestrator.config import AccountConfig
from orchestrator.engine.ports.nodes import NodeError
from tests.contract.signers.kinds import ADDRESS, KEY, TOKEN, Kind, in_thread, secret_file, threads_of_tokens
from tests.fakes.clock import JumpingClock
from tests.patience import within
from tests.servers.softhsm import PIN

TRANSACTION = PrivateTransaction(
    private_nonce=7,
    private_from="BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo=",
    to="0x" + "00" * 19 + "7c",
    data=b"\xf8\x3d" * 2_000,
    privacy_group_id="DyAOiF/ynpc+JXa2YAGB0bCitSlOMNm+ShmB/7M6C4w=",
    chain_id=1337,
)
MESSAGES = tuple(keccak(bytes([number])) * (number + 1) for number in range(6))
IMPATIENCE = {"sign_timeout_seconds": 0.3}
"""For signers that shall be too slow. Others get what is usual: on a busy machine they are too slow for this, too."""

# Keystore V3 with a key derivation that takes no time, made by the library that everybody uses.
MAKE_KEYSTORE = """
import json, sys
from eth_account import Account
print(json.dumps(Account.encrypt(sys.argv[1], "password", kdf="pbkdf2", iterations=1)))
"""


def local(kind: str, folder: Path) -> AccountConfig:
    """Return an account whose key is in this process."""
    given: dict[str, Any] = {"address": ADDRESS}
    if kind == "key_file":
        given["key_file"] = str(secret_file(folder / "owner.key", KEY.hex()))
    else:
        made = subprocess.run([sys.executable, "-c", MAKE_KEYSTORE, KEY.hex()], check=True, capture_output=True)
        (folder / "owner.json").write_bytes(made.stdout)
        given |= {"keystore": "owner.json", "password_file": str(secret_file(folder / "password", "password"))}
    return AccountConfig.model_validate(given, context={"folder": folder})


async def signs(signer: Signer) -> None:
    """Fail unless a signer signs transactions and statements as its account."""
    assert signer.address == ADDRESS
    unsigned = unsigned_private_transaction(TRANSACTION)
    signed = decode_private_transaction(unsigned.signed(await signer.sign(unsigned.message)))
    assert (signed.transaction, signed.sender) == (TRANSACTION, ADDRESS)
    for message in MESSAGES:
        signature = await signer.sign(message)
        assert signature == signature_by(ADDRESS, keccak(message), signature.r, signature.s)
        assert 0 < signature.s <= ORDER // 2
        assert signature.recovery_id in (0, 1)
    accounts = Accounts({ADDRESS: signer}, gas_limit=3_000_000, gas_price=0)
    assert signer_of(b"statement", await accounts.sign_statement(ADDRESS, b"statement")) == ADDRESS


async def comes_to_sign(signer: Signer) -> None:
    """Wait until a signer signs that gets little time for it."""
    for _ in within(30):
        with suppress(SignerAwayError):
            await signs(signer)
            return
    raise AssertionError("it does not sign")


@pytest.mark.parametrize("way", ["key_file", "keystore"])
async def test_a_key_in_this_process_signs(way: str, tmp_path: Path) -> None:
    """A key file and a keystore sign as their account; nothing of the key is in what is shown of the signer."""
    account = await asyncio.to_thread(local, way, tmp_path)
    async with opened_account(account) as signer:
        await signs(signer)
        assert KEY.hex()[:8] not in repr(signer)


async def test_a_key_elsewhere_signs(kind: Kind) -> None:
    """Each kind signs as its account: low s, a recovery id of Ethereum, transactions and statements alike."""
    async with opened_account(kind.account()) as signer:
        await signs(signer)


async def test_many_signatures_at_once_are_each_their_own(kind: Kind) -> None:
    """Asked for at the same time, each message gets its own signature."""
    async with opened_account(kind.account()) as signer:
        signatures = await asyncio.gather(*(signer.sign(message) for message in MESSAGES))
    for message, signature in zip(MESSAGES, signatures, strict=True):
        assert signature_by(ADDRESS, keccak(message), signature.r, signature.s) == signature


async def test_a_signer_that_is_away_is_waited_for(kind: Kind) -> None:
    """One that goes away and comes back is away in between, and signs again without anything being opened anew."""
    async with opened_account(kind.account()) as signer:
        await signs(signer)
        await in_thread(kind.leave)
        for _ in range(2):
            with pytest.raises(SignerAwayError):
                await signer.sign(MESSAGES[0])
        await in_thread(kind.come_back)
        await signs(signer)


async def test_a_signer_that_is_away_at_the_start_keeps_nothing_from_starting(kind: Kind) -> None:
    """It is opened while it is away, and signs once it is there."""
    await in_thread(kind.leave)
    async with opened_account(kind.account()) as signer:
        with pytest.raises(SignerAwayError):
            await signer.sign(MESSAGES[0])
        await in_thread(kind.come_back)
        await signs(signer)


async def test_a_refusal_is_told_apart_from_being_away(kind: Kind) -> None:
    """A key that is locked, missing or behind another PIN is refused; once it is not any more, it signs."""
    async with opened_account(kind.account()) as signer:
        await signs(signer)
        await in_thread(kind.refuse)
        for _ in range(2):
            with pytest.raises(SignerRefusedError):
                await signer.sign(MESSAGES[0])
        await in_thread(kind.relent)
        await signs(signer)


async def test_another_accounts_signature_is_refused(kind: Kind) -> None:
    """A signer that signs with another account's key is found out, by name, and nothing of it is used."""
    async with opened_account(kind.account()) as signer:
        await in_thread(kind.swap)
        with pytest.raises(WrongSignatureError, match=rf"not of {ADDRESS}.*Look which key it signs with"):
            await signer.sign(MESSAGES[0])


async def test_a_slow_signer_is_away(kind: Kind) -> None:
    """One that does not answer is away after its time, for all who wait at once; then it signs again."""
    async with opened_account(kind.account(sign_at_once=2, **IMPATIENCE)) as signer:
        await comes_to_sign(signer)
        await in_thread(kind.hang)
        asked = await asyncio.gather(*(signer.sign(message) for message in MESSAGES), return_exceptions=True)
        assert all(isinstance(error, SignerAwayError) and "within 0.3 s" in str(error) for error in asked)
        assert len(threads_of_tokens()) <= 1
        kind.go_on()
        await comes_to_sign(signer)


async def test_a_signature_that_nobody_waits_for_any_more_harms_none(kind: Kind) -> None:
    """A caller that leaves in between leaves a signer that signs for the next one."""
    async with opened_account(kind.account()) as signer:
        await signs(signer)
        await in_thread(kind.hang)
        leaving = asyncio.ensure_future(signer.sign(MESSAGES[0]))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(leaving, 0.1)
        kind.go_on()
        await signs(signer)


@pytest.mark.parametrize("trouble", ["leave", "refuse", "swap", "hang"])
async def test_the_engine_is_told_by_a_reason(kind: Kind, trouble: str) -> None:
    """The engine gets a reason of the rules with what happened, and no secret is in it."""
    async with opened_account(kind.account(**(IMPATIENCE if trouble == "hang" else {}))) as signer:
        ends: list[Outcome] = []
        accounts = Accounts(
            {ADDRESS: signer}, gas_limit=3_000_000, gas_price=0, on_signature=lambda end, _: ends.append(end)
        )
        await in_thread(getattr(kind, trouble))
        with pytest.raises(NodeError) as caught:
            await accounts.sign_statement(ADDRESS, b"statement")
    reasons = {"leave": "signer_away", "refuse": "signer_refused", "swap": "signer_wrong", "hang": "signer_away"}
    assert caught.value.reason.slug == reasons[trouble]
    assert [f"signer_{end}" for end in ends] == [reasons[trouble]]
    said = caught.value.reason.detail + repr(signer)
    assert len(said) > 30
    assert not any(secret in said for secret in (PIN, TOKEN, "wrong-pin", KEY.hex()))


async def test_the_doctor_tries_a_signature(kind: Kind) -> None:
    """A signer that signs is well; what is wrong with another is said."""
    account = kind.account()
    assert await signing_troubles([account]) == {ADDRESS: None}
    await in_thread(kind.refuse)
    (said,) = (await signing_troubles([account])).values()
    assert said is not None
    assert len(said) > 30


async def test_after_the_start_it_is_said_who_does_not_sign(kind: Kind, capsys: pytest.CaptureFixture[str]) -> None:
    """It is tried again until it signs; each is said once."""
    await in_thread(kind.leave)

    class Clock(JumpingClock):
        async def sleep(self, seconds: float) -> None:
            assert seconds >= 10
            await in_thread(kind.come_back)

    async with opened_account(kind.account()) as signer:
        accounts = Accounts({ADDRESS: signer}, gas_limit=3_000_000, gas_price=0)
        await SignerTrial([ADDRESS], accounts, Clock()).run()
    told = capsys.readouterr().out
    assert told.index("signer does not sign") < told.index("signer signs")


async def test_what_can_not_be_opened_ends_the_start(tmp_path: Path) -> None:
    """A signer that no package brings is a mistake of the configuration, and the installed ones are named."""
    account = AccountConfig.model_validate({"address": ADDRESS, "installed": {"name": "nowhere"}})
    with pytest.raises(SignerError, match="no installed package brings a signer nowhere"):
        async with opened_account(account):
            raise AssertionError("it opened")


def test_the_example_is_found_by_the_command_line(installed_example: Path, tmp_path: Path) -> None:
    """With the example installed, a daemon of another process finds its signer by name, and its settings' mistakes."""
    script = "import asyncio, json, sys; from orchestrator.app.configured.signer_checks import signing_troubles\n"
    script += "from orchestrator.config import AccountConfig\n"
    script += (
        "print(json.dumps(asyncio.run(signing_troubles([AccountConfig.model_validate(json.loads(sys.argv[1]))]))))"
    )
    account = json.dumps({"address": ADDRESS, "installed": {"name": "kms", "settings": {"url": "http://localhost"}}})
    run = subprocess.run(
        [sys.executable, "-c", script, account],
        capture_output=True,
        check=True,
        env={"PYTHONPATH": str(installed_example)},
        cwd=Path(__file__).parents[3],
    )
    said = json.loads(run.stdout)[ADDRESS]
    assert said == "the signer kms can't be opened: ValueError (settings lack key_id, token_file)"
