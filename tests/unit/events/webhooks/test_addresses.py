"""Which addresses webhooks may be posted to."""

import socket

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from orchestrator.events.webhooks.addresses import PrivateAddressError, PublicResolver, check_literal, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",  # noqa: S104 - refused here
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "ff02::1",
        "2001:db8::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2002:c0a8:101::",
        "no address",
        "",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    """Private, loopback, link-local, shared, reserved and wrapped ones of these are not public."""
    assert not is_public(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.215.14", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_addresses_that_are_public(address: str) -> None:
    """Addresses of the internet are public, also behind a NAT64 prefix."""
    assert is_public(address)


def test_a_literal_private_host_is_refused() -> None:
    """A URL with an address instead of a name is checked too; names are the resolver's."""
    for host in ("127.0.0.1", "[::1]", "169.254.169.254"):
        with pytest.raises(PrivateAddressError, match="allow_private"):
            check_literal(host)
    check_literal("1.1.1.1")
    check_literal("example.org")


@pytest.mark.parametrize(
    "host",
    [
        "①②⑦.0.0.1",
        "127。0。0。1",
        "\uff11\uff12\uff17\uff0e0\uff0e0\uff0e\uff11",
        "127.1",
        "0x7f000001",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.1.",
    ],
)
def test_a_private_host_in_another_writing_is_refused(host: str) -> None:
    """A host is looked at as it is connected to: other digits, other dots and other bases are the same address."""
    with pytest.raises(PrivateAddressError):
        check_literal(host)


@pytest.mark.parametrize("host", ["a" * 64 + ".example.org", "a." * 127 + "aa"])
def test_a_host_that_no_resolver_takes_is_refused(host: str) -> None:
    """A name with a label of more than 63 characters, or of more than 253, is refused as such."""
    with pytest.raises(PrivateAddressError, match="too long"):
        check_literal(host)


class Names(AbstractResolver):
    """Answers with given addresses."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=0)
            for address in self.addresses
        ]

    async def close(self) -> None: ...


async def test_a_name_with_one_private_address_is_refused() -> None:
    """Every address of a name is looked at, not only the first."""
    with pytest.raises(PrivateAddressError, match=r"example\.org is at 10\.0\.0\.1"):
        await PublicResolver(lambda: Names("1.1.1.1", "10.0.0.1")).resolve("example.org", 443)


async def test_exactly_the_checked_addresses_are_connected_to() -> None:
    """What was checked is what is returned: there is no second look-up that could answer otherwise."""
    found = await PublicResolver(lambda: Names("1.1.1.1", "1.0.0.1")).resolve("example.org", 443)
    assert [result["host"] for result in found] == ["1.1.1.1", "1.0.0.1"]


@pytest.mark.parametrize("name", ["localhost", "2130706433", "0x7f.1", "127.1"])
async def test_other_spellings_of_loopback_are_refused(name: str) -> None:
    """What the system's resolver takes for loopback is loopback."""
    resolver = PublicResolver()
    with pytest.raises(PrivateAddressError):
        await resolver.resolve(name, 80)
    await resolver.close()
