"""What configurations say of an emulated network."""

from orchestrator.devnet import Devnet


def nodes_of(devnet: Devnet) -> list[dict[str, object]]:
    """Return the tables of all its nodes, each of which hosts one member."""
    return [
        {"name": f"member{node.number}", "http": node.http_url, "ws": node.ws_url, "enclave_keys": [node.enclave_key]}
        for node in devnet.nodes
    ]
