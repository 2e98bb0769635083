"""Asking with credentials: what a refusal means, and asking once more with others."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from orchestrator.besu.codec.json_rpc import Answer, Call
from orchestrator.besu.credential_errors import CredentialError, CredentialsRefusedError
from orchestrator.besu.errors import UnauthorizedError
from orchestrator.besu.transport.credentials import Credential

Asking = Callable[[Mapping[str, str]], Awaitable[list[Answer]]]
"""Asks with these headers; a gateway's refusal of them is a `CredentialsRefusedError`."""

PROBE: Final = Call("eth_chainId")
"""What every token that is of any use may ask."""


async def ask_proven(credential: Credential | None, url: str, ask: Asking, probe: Asking) -> list[Answer]:
    """Ask, and where our credentials are refused for all of it look for others and ask once more.

    A refusal is certain: nothing was done, of sends neither (docs/besu.md#multi-tenancy, 2).

    Args:
        credential: What proves us; None for nothing.
        url: The node's, for messages.
        ask: Asks what is to be known.
        probe: Asks `PROBE`. A node says the same to a token that has ended and to a tenant outside the group
            (docs/besu.md#multi-tenancy, 3): what anybody may ask tells them apart.

    Raises:
        CredentialsRefusedError: Nothing is answered to our credentials.
        CredentialError: They can't be had.
    """
    if credential is None:
        return await ask({})
    shown = await credential.headers()
    try:
        answers = await ask(shown)
    except CredentialsRefusedError:
        if not await credential.renewed(shown):
            raise
    else:
        if not _all_refused(answers):
            return answers
        if not await credential.renewed(shown):
            return await _distinguished(credential, url, answers, shown, probe)
    shown = await credential.headers()
    answers = await ask(shown)
    return await _distinguished(credential, url, answers, shown, probe) if _all_refused(answers) else answers


async def _distinguished(
    credential: Credential, url: str, answers: list[Answer], shown: Mapping[str, str], probe: Asking
) -> list[Answer]:
    (probed,) = await probe(shown)
    if isinstance(probed.error, UnauthorizedError):
        raise CredentialsRefusedError(
            f"{url} takes no request at all with {credential!r} ({probed.error.message}): has it ended, or is it for "
            "another node?"
        )
    return answers


async def has_others(credential: Credential | None, refused: Mapping[str, str]) -> bool:
    """Return whether there are other credentials now than those that were refused; False where they can't be had."""
    try:
        return credential is not None and await credential.renewed(refused)
    except CredentialError:
        return False  # the next connection tells why


def _all_refused(answers: Sequence[Answer]) -> bool:
    return all(isinstance(answer.error, UnauthorizedError) for answer in answers)
