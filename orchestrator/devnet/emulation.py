"""The whole devnet in one process, without sockets: the network and its nodes' methods. Pure; time is a parameter."""

from orchestrator.devnet.config import DevnetConfig
from orchestrator.devnet.network import Network
from orchestrator.devnet.rpc.control import Controls
from orchestrator.devnet.rpc.dispatch import NodeApi


class Emulation:
    """A devnet that answers calls; whoever holds it moves the time.

    Attributes:
        network: nodes, chain, pool.
        controls: what the ``devnet_`` methods change.
        apis: the methods of each node; ``apis[0]`` is node 1's.
    """

    def __init__(self, config: DevnetConfig, *, genesis_timestamp: int = 0, now: float = 0.0) -> None:
        self.network = Network(config, genesis_timestamp=genesis_timestamp, now=now)
        self.controls = Controls(self.network)
        self.apis = [NodeApi(self.network, node, self.controls) for node in self.network.nodes]
