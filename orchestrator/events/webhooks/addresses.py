"""Which addresses webhooks may be posted to: public ones only, unless private ones are allowed.

A name is resolved once for each connection, every address that it has is checked, and the connection goes to exactly
the addresses that were checked: a name that answers differently the second time gains nothing.
"""

import errno
import re
import socket
import unicodedata
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from orchestrator.outside_text import presentable

_NAT64: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
_LOW_32_BITS: Final = 0xFFFFFFFF
_OTHER_DOTS: Final = ("\u3002", "\uff0e", "\uff61")
_LONGEST_HOST: Final = 253
_LONGEST_LABEL: Final = 63
_NUMBER_HOST: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+)){0,3}\Z")
"""What `inet_aton`, and with it the system's resolver, reads as an address: parts in any base, and fewer than four."""


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
        # A translator reaches the private IPv4 address within, although the IPv6 address around it is a public one.
        if inner is None and any(address in network for network in _NAT64):
            inner = IPv4Address(int(address) & _LOW_32_BITS)
        if inner is not None:
            return _is_public(inner)
    # `is_global` alone lets multicast through.
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def check_literal(host: str) -> None:
    """Refuse a host that is written as an address that is not public; names are left to the resolver.

    The host is looked at as it will be connected to: the library normalises full-width digits and dots, and numbers in
    other bases, which would pass as names, are addresses to the system's resolver.

    Raises:
        PrivateAddressError: It is one, or no host at all.
    """
    literal = normal_host(host).strip("[]")
    if _NUMBER_HOST.match(literal):
        try:
            literal = socket.inet_ntoa(socket.inet_aton(literal))
        except OSError:
            raise PrivateAddressError(
                errno.EACCES, f"{presentable(host, 100)} is neither a name nor an address"
            ) from None
    try:
        ip_address(literal.partition("%")[0])
    except ValueError:
        return
    _require_public(host, literal)


def normal_host(host: str) -> str:
    """Return a host as it is connected to: compatibility characters replaced, other dots as dots, lower case.

    Raises:
        PrivateAddressError: It is no host: too long, or with a label of more than 63 characters.
    """
    plain = unicodedata.normalize("NFKC", host)
    for dot in _OTHER_DOTS:
        plain = plain.replace(dot, ".")
    plain = plain.lower().rstrip(".")
    if len(plain) > _LONGEST_HOST or any(len(label) > _LONGEST_LABEL for label in plain.split(".")):
        raise PrivateAddressError(
            errno.EACCES, f"{presentable(host, 100)} is no name of a host: it, or a label, is too long"
        )
    return plain


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
        # All of them, not the first: the library tries one address after the other.
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
