"""From a configured account to its signer: a key in this process, or a service that holds it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager

from orchestrator.besu.client.checked_signer import CheckedSigner
from orchestrator.besu.client.signer_ports import KeyService, Signer
from orchestrator.besu.client.signers import LocalSigner, signer_from_key, signer_from_key_file, signer_from_keystore
from orchestrator.besu.key_services.certificates import CertificateFiles
from orchestrator.besu.key_services.installed import installed_service
from orchestrator.besu.key_services.pkcs11_token import TokenKey, pkcs11_token
from orchestrator.besu.key_services.web3signer import web3signer
from orchestrator.besu.transport.token_files import TokenFile
from orchestrator.config import AccountConfig, Pkcs11Config, Web3SignerConfig


class AccountError(Exception):
    """An account's key can't be had; the message names the account and the file, never what is in it."""


async def opened_accounts(stack: AsyncExitStack, accounts: Sequence[AccountConfig]) -> dict[str, Signer]:
    """Return the signers of configured accounts by their addresses, in order.

    Args:
        stack: Closes them.
        accounts: From the configuration.

    Raises:
        SignerError, AccountError: See `opened_account`.
    """
    return {account.address: await stack.enter_async_context(opened_account(account)) for account in accounts}


@asynccontextmanager
async def opened_account(account: AccountConfig) -> AsyncIterator[Signer]:
    """Use the signer of a configured account while the context lasts.

    A service is not asked yet: one that is away now keeps nothing from starting. A keystore is decrypted in a thread.

    Raises:
        SignerError: Its key can't be read, or is another account's; or the service can't be used as it is configured.
        AccountError: No way to a key is configured.
    """
    service = _service(account)
    if service is None:
        yield await asyncio.to_thread(_local, account)
        return
    name, opening = service
    async with opening as opened:
        yield CheckedSigner(
            account.address, name, opened, timeout_seconds=account.sign_timeout_seconds, at_once=account.sign_at_once
        )


def _local(account: AccountConfig) -> LocalSigner:
    if account.private_key is not None:
        signer = signer_from_key(account.private_key.get_secret_value())
        if signer.address != account.address.lower():
            raise AccountError(f"accounts: the private key of {account.address} is the key of {signer.address}")
        return signer
    if account.key_file is not None:
        return signer_from_key_file(account.key_file, expected_address=account.address)
    if account.keystore is not None and account.password_file is not None:
        return signer_from_keystore(account.keystore, account.password_file, expected_address=account.address)
    raise AccountError(f"accounts: {account.address} has neither a key nor a signer that holds it")


def _service(account: AccountConfig) -> tuple[str, AbstractAsyncContextManager[KeyService]] | None:
    address = account.address.lower()
    if account.web3signer is not None:
        return account.web3signer.url, _web3signer(account.web3signer, address, account.sign_at_once)
    if account.pkcs11 is not None:
        key = _token_key(account.pkcs11)
        return str(key), pkcs11_token(key)
    if account.installed is not None:
        name = account.installed.name
        return f"the signer {name}", installed_service(name, address, account.installed.settings)
    return None


def _web3signer(config: Web3SignerConfig, address: str, at_once: int) -> AbstractAsyncContextManager[KeyService]:
    token = TokenFile(config.token_file) if config.token_file is not None else None
    certificates = CertificateFiles(config.ca_file, config.certificate_file, config.key_file)
    certificates.context()  # what is wrong with them ends the start
    return web3signer(config.url, address, config.public_key, token=token, certificates=certificates, at_once=at_once)


def _token_key(config: Pkcs11Config) -> TokenKey:
    key_id = None if config.key_id is None else bytes.fromhex(config.key_id)
    return TokenKey(
        module=config.module, token=config.token, label=config.key_label, key_id=key_id, pin_file=config.pin_file
    )
