"""Enclave keys and validator accounts of the emulated nodes. Pure.

The first three are those of the recorded networks; the accounts are the well-known public development accounts and
must never hold anything of value.
"""

from typing import Final

from eth_hash.auto import keccak

from orchestrator.devnet.encoding import data, to_base64

RECORDED_ENCLAVE_KEYS: Final = (
    "BULeR8JyUWhiuuCMU/HLA0Q5pzkYT+cHII3ZKBey3Bo=",
    "QfeDAys9MPDs2XHExtc84jKGHxZg/aj52DTh0vtA3Xc=",
    "1iTZde/ndBHvzhcl7V68x44Vx7pl8nwx9LqnM/AfJUg=",
)
RECORDED_VALIDATORS: Final = (
    "0xfe3b557e8fb62b89f4916b721be55ceb828dbd73",
    "0x627306090abab3a6e1400e9345bc60c78a8bef57",
    "0xf17f52151ebef6c7334fad080c5704d77216b732",
)
DEVELOPMENT_KEYS: Final = {
    RECORDED_VALIDATORS[0]: "8f2a55949038a9610f50fb23b5883af3b4ecb3c3bb792cbcefbd1542c692be63",
    RECORDED_VALIDATORS[1]: "c87509a1c067bbde78beb793e6fa76530b6382a4c0241e5e4a9ec0a0f44dc0d3",
    RECORDED_VALIDATORS[2]: "ae6ae8e5ccbfb04590405997ee2d52d2b330726137b875053c36d94e974d162f",
}
"""The well-known public private keys of those accounts: they must never hold anything of value."""

RECORDED_TENANT_KEY: Final = "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo="
"""Second tenant of node 1 in the recorded multi-tenant network."""


def enclave_key_of(node: int) -> str:
    """Enclave key, base64 of 32 bytes, of node ``node`` (from 1)."""
    if node <= len(RECORDED_ENCLAVE_KEYS):
        return RECORDED_ENCLAVE_KEYS[node - 1]
    return to_base64(keccak(b"orchestrator devnet enclave key %d" % node))


def validator_address_of(node: int) -> str:
    """Address, "0x…" in lower case, under which node ``node`` (from 1) makes blocks."""
    if node <= len(RECORDED_VALIDATORS):
        return RECORDED_VALIDATORS[node - 1]
    return data(keccak(b"orchestrator devnet validator %d" % node)[-20:])


DEVELOPMENT_BALANCES_WEI: Final = {
    RECORDED_VALIDATORS[0]: 0xAD78EBC5AC6200000,
    RECORDED_VALIDATORS[1]: 0x90000000000000000000000,
    RECORDED_VALIDATORS[2]: 0x90000000000000000000000,
}
"""What the well-known public development accounts hold at the start, as in the genesis blocks of Besu's examples."""
