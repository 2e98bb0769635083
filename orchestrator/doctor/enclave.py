"""Asking an enclave at its own address: is it up, whose is it, and does it keep offchain groups?

Orion and Tessera answer ``GET /upcheck`` and ``POST /findPrivacyGroup`` on the port for clients.
"""

import json
import ssl
from collections.abc import Sequence
from typing import Any, Final

import aiohttp

from orchestrator.besu.client.enclave_probe import upcheck
from orchestrator.doctor.findings import EnclaveSeen, KeysSeen, Unanswered
from orchestrator.doctor.proofs import NotForClientsError, is_node, keys_of_enclave

MEMBER_SETS: Final = 64
"""Sets of members that are asked for, at most."""

_SECONDS: Final = 10.0
_ANSWER_BYTES: Final = 1 << 20
_OFFCHAIN: Final = "PANTHEON"
"""Type of groups that were made by ``priv_createPrivacyGroup``; "LEGACY" ones only stand for lists of recipients."""


async def ask_enclave(
    session: aiohttp.ClientSession,
    url: str,
    member_sets: Sequence[tuple[str, ...]],
    tls: ssl.SSLContext | None,
    *,
    own: Sequence[str] = (),
    others: Sequence[str] = (),
) -> EnclaveSeen | Unanswered:
    """Return what an enclave answers.

    Args:
        session: An HTTP session.
        url: The enclave's address for clients.
        member_sets: Sets of enclave keys that an offchain group may have; it lists groups of exactly one set at a time.
        tls: For "https"; None for the system's authorities.
        own: The keys that it is to host.
        others: Keys of other nodes' enclaves.
    """
    url = url.rstrip("/")
    limit = aiohttp.ClientTimeout(total=_SECONDS)
    try:
        status = await upcheck(session, url, tls, _SECONDS)
        if status != 200:
            return EnclaveSeen(status=status, offchain_groups=None, is_node=await is_node(session, url, tls))
        keys = await _keys(session, url, tls, own, others)
        found: dict[str, None] = {}
        for members in member_sets[:MEMBER_SETS]:
            body = {"addresses": list(members)}
            async with session.post(
                f"{url}/findPrivacyGroup", json=body, timeout=limit, ssl=tls or True, allow_redirects=False
            ) as response:
                if response.status == 404:
                    continue
                if response.status != 200:
                    return EnclaveSeen(status=status, offchain_groups=None, keys=keys)
                found.update(dict.fromkeys(_offchain_ids(await _read(response))))
    except ValueError as error:
        return Unanswered("enclave_unreachable", f"{url} answered something else than an enclave does: {error}")
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        return Unanswered("enclave_unreachable", f"{url} does not answer ({type(error).__name__})")
    return EnclaveSeen(status=status, offchain_groups=tuple(found), keys=keys)


async def _keys(
    session: aiohttp.ClientSession, url: str, tls: ssl.SSLContext | None, own: Sequence[str], others: Sequence[str]
) -> KeysSeen | Unanswered:
    try:
        return await keys_of_enclave(session, url, tls, own, others)
    except NotForClientsError as error:
        return Unanswered("not_for_clients", str(error))


def member_sets(enclave_keys: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Return the sets of two and more of some enclave keys, smallest first, at most `MEMBER_SETS` of them."""
    sets: list[tuple[str, ...]] = [(key,) for key in enclave_keys]
    found: list[tuple[str, ...]] = []
    while sets and len(found) < MEMBER_SETS:
        # Keys are added in their order only, so that each set comes once.
        larger = [(*members, key) for members in sets for key in enclave_keys[enclave_keys.index(members[-1]) + 1 :]]
        sets = larger[:MEMBER_SETS]
        found += sets
    return tuple(found[:MEMBER_SETS])


async def _read(response: aiohttp.ClientResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(1 << 16):
        size += len(part)
        if size > _ANSWER_BYTES:
            raise ValueError(f"it lists more than {_ANSWER_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def _offchain_ids(answered: bytes) -> list[str]:
    listed: Any = json.loads(answered)
    groups = [group for group in listed if isinstance(group, dict)] if isinstance(listed, list) else []
    return [str(group.get("privacyGroupId"))[:64] for group in groups if group.get("type") == _OFFCHAIN]
