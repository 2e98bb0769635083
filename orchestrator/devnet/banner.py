"""What a devnet says when it answers: its nodes, their enclave keys and the accounts. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.devnet.accounts import DEVELOPMENT_KEYS
from orchestrator.devnet.config import DevnetConfig


@dataclass(frozen=True, slots=True)
class DevnetNode:
    """Where a node of a running devnet answers.

    Attributes:
        number: from 1.
        http_url, ws_url: addresses on loopback.
        enclave_key: the node's own, base64.
        enclave_url: its enclave's address; empty where enclaves have no ports.
    """

    number: int
    http_url: str
    ws_url: str
    enclave_key: str
    enclave_url: str = ""


def banner_lines(config: DevnetConfig, nodes: Iterable[DevnetNode]) -> Iterator[str]:
    """Yield the lines, each short enough for a terminal of 80 columns."""
    period = f"a block each {config.block_period_seconds:g} s" if config.block_period_seconds else "blocks on demand"
    yield f"Emulated Besu {config.besu_version}, chain id {config.chain_id}, {period}"
    for node in nodes:
        yield f"member{node.number}  {node.http_url}  {node.ws_url}"
        yield f"  enclave key  {node.enclave_key}"
    yield "Accounts of every development chain, never to hold anything of value:"
    for address, key in DEVELOPMENT_KEYS.items():
        yield address
        yield f"  private key  {key}"
