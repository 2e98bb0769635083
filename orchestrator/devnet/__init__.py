"""A network of emulated Besu nodes and enclaves (docs/devnet.md)."""

from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.errors import DevnetError, RpcError
from orchestrator.devnet.runtime import Devnet, DevnetNode, running_devnet, serve

__all__ = ["Devnet", "DevnetConfig", "DevnetError", "DevnetNode", "RpcError", "running_devnet", "serve"]
