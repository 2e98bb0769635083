"""Whether the accounts' signers sign, tried with a signature that is of nothing."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from orchestrator.app.configured.accounts import AccountError, opened_account
from orchestrator.besu.client.signer_ports import SignerError
from orchestrator.besu.codec.statements import statement_message
from orchestrator.config import AccountConfig
from orchestrator.engine.ports.clock import Clock
from orchestrator.engine.ports.nodes import NodeError
from orchestrator.engine.ports.signers import StatementSigner

log = structlog.get_logger()

AT_ONCE: Final = 8
"""Accounts that are tried at a time: a keystore takes a second of processor time."""

RETRY_SECONDS: Final = 60.0
"""Between two tries of an account that did not sign at the start."""

_TEST_STATEMENT: Final = b"orchestrator: does this account sign? This statement says nothing."
"""No transaction begins like a personal message (EIP-191), and nothing that the daemon states with these words."""


async def signing_troubles(accounts: Sequence[AccountConfig]) -> dict[str, str | None]:
    """Return by an account's address why it does not sign; None for one that does.

    Args:
        accounts: From the configuration; each is opened, asked for one signature, and closed.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def trouble(account: AccountConfig) -> str | None:
        try:
            async with slots, opened_account(account) as signer:
                await signer.sign(statement_message(_TEST_STATEMENT))
        except (SignerError, AccountError) as error:
            return str(error)
        return None

    found = await asyncio.gather(*map(trouble, accounts))
    return {account.address: said for account, said in zip(accounts, found, strict=True)}


class SignerTrial:
    """Says after the start which accounts' signers do not sign, before a change needs them; then when they do.

    Args:
        accounts: Those whose keys something else holds, as the configuration writes them.
        signer: Signs as them.
        clock: Time.
    """

    def __init__(self, accounts: Sequence[str], signer: StatementSigner, clock: Clock) -> None:
        self._accounts = tuple(accounts)
        self._signer = signer
        self._clock = clock

    async def run(self) -> None:
        """Try each account until it has signed once, and end then."""
        left, told = list(self._accounts), set[str]()
        while left:
            troubles = dict(zip(left, await asyncio.gather(*map(self._trouble, left)), strict=True))
            for account, trouble in troubles.items():
                if trouble is None:
                    log.info("signer signs", account=account)
                elif account not in told:
                    log.warning("signer does not sign", account=account, reason=trouble)
                    told.add(account)
            left = [account for account, trouble in troubles.items() if trouble is not None]
            if left:
                await self._clock.sleep(RETRY_SECONDS)

    async def _trouble(self, account: str) -> str | None:
        try:
            await self._signer.sign_statement(account, _TEST_STATEMENT)
        except NodeError as error:
            return str(error)
        return None
