"""Who a node is on the network: from its enode to the address that validators are listed by. Pure."""

import re
from typing import Any, Final

from eth_hash.auto import keccak

from orchestrator.besu.codec.identifiers import bytes_to_hex
from orchestrator.besu.errors import ProtocolError

_ENODE: Final = re.compile(r"enode://([0-9a-fA-F]{128})@")


def address_of_enode(enode: Any) -> str:
    """Return the address of a node, "0x…", from "enode://<public key>@host:port".

    Raises:
        ProtocolError: it is no enode.
    """
    matched = _ENODE.match(enode) if isinstance(enode, str) else None
    if matched is None:
        raise ProtocolError("net_enode answered something else than an enode")
    return bytes_to_hex(keccak(bytes.fromhex(matched[1]))[-20:])
