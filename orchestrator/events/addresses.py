"""Which addresses webhooks may be posted to: public ones only, unless private ones are allowed.

A name is resolved once for each connection, every address that it has is checked, and the connection goes to exactly
the addresses that were checked: a name that answers differently the second time gains nothing.
"""

import errno
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_LOW_32_BITS: Final = 0xFFFFFFFF


class PrivateAddressError(OSError):
    """A host is, or has an address that is, not public."""


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the public internet, also when it is wrapped in an IPv6 address."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return _is_public(parsed)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address.teredo is not None:
            inner = address.teredo[1]
        if inner is None and any(address in network for network in _NAT64):
            inner = IPv4Address(int(address) & _LOW_32_BITS)
        if inner is not None:
            return _is_public(inner)
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def check_literal(host: str) -> None:
    """Refuse a host that is written as an address that is not public; names are left to the resolver.

    Raises:
        PrivateAddressError: It is one.
    """
    literal = host.strip("[]")
    try:
        ip_address(literal.partition("%")[0])
    except ValueError:
        return
    _require_public(host, literal)


class PublicResolver(AbstractResolver):
    """Resolves names to public addresses only.

    Args:
        inner: Makes the resolver that is asked; called on the event loop.
    """

    def __init__(self, inner: Callable[[], AbstractResolver] = ThreadedResolver) -> None:
        self._inner = inner()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name.

        Raises:
            PrivateAddressError: One of them is not public.
        """
        found = await self._inner.resolve(host, port, family)
        for result in found:
            _require_public(host, result["host"])
        return found

    async def close(self) -> None:
        """Let the inner resolver go."""
        await self._inner.close()


def _require_public(host: str, address: str) -> None:
    if not is_public(address):
        raise PrivateAddressError(
            errno.EACCES,
            f"{host} is at {address}, which is no public address: "
            "set allow_private for this webhook if it is meant to be in your own network",
        )
