"""A real NATS server with JetStream, answering in about 0.1 s."""

import json
import secrets
import socket
import time
import urllib.request

from tests.patience import within
from tests.servers import programs
from tests.servers.loopback_server import LoopbackCluster, LoopbackServer
from tests.servers.ports import consecutive_ports

_ELECTION_SECONDS = 30.0
_LOOK_SECONDS = 0.1


class NatsServer(LoopbackServer):
    """NATS with JetStream on 127.0.0.1; its streams live in its own directory and survive ``kill`` and ``restart``.

    ``settings`` is added to its configuration file as it is (credentials, TLS, limits); without ``jetstream`` it has
    none.
    """

    name = "nats-server"
    start_seconds = 10.0

    def __init__(self, settings: str = "", *, jetstream: bool = True) -> None:
        super().__init__()
        self._jetstream = jetstream
        self.server_name = f"test-{self.port}-{secrets.token_hex(4)}"
        store = self.directory / "jetstream"
        storing = f'jetstream {{ store_dir: "{store}", max_mem: 64MB, max_file: 1GB }}' if jetstream else ""
        configuration = f"""
        listen: "127.0.0.1:{self.port}"
        server_name: "{self.server_name}"
        {storing}
        {settings}
        """
        (self.directory / "nats.conf").write_text(configuration)

    @property
    def url(self) -> str:
        """Address for clients, without credentials."""
        return f"nats://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """See LoopbackServer."""
        return [programs.nats_server(), "--config", str(self.directory / "nats.conf")]

    def is_ready(self) -> bool:
        """The server greets with INFO, and says there who it is, and whether JetStream is on.

        Another one on that port is no sign of this one's life: it may have got it a moment before.
        """
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                greeting = connection.makefile("rb").readline()
        except OSError:
            return False
        if not greeting.startswith(b"INFO "):
            return False
        told = json.loads(greeting[5:])
        return told.get("server_name") == self.server_name and bool(told.get("jetstream")) == self._jetstream


class NatsCluster(LoopbackCluster[NatsServer]):
    """Three NATS servers that know each other; streams with three copies live while two of them do.

    Attributes:
        servers: They.
    """

    def __init__(self) -> None:
        routes, watched = consecutive_ports(3), consecutive_ports(3)
        others = ", ".join(f'"nats://127.0.0.1:{routes + place}"' for place in range(3))
        self._watched = watched
        self.servers = tuple(
            NatsServer(
                f'http: "127.0.0.1:{watched + place}"\n'
                f'cluster {{ name: "test", listen: "127.0.0.1:{routes + place}", routes: [{others}] }}'
            )
            for place in range(3)
        )

    @property
    def url(self) -> str:
        """Address for clients: all three."""
        return ",".join(server.url for server in self.servers)

    def leader_of(self, stream: str) -> NatsServer:
        """Return the server that leads a stream; waits while they choose one.

        Raises LookupError when none does for long.
        """
        for _ in within(_ELECTION_SECONDS):
            for place, server in enumerate(self.servers):
                if server.is_running() and (leader := self._leader_told_by(place, stream)):
                    return next(one for one in self.servers if leader == one.server_name)
            time.sleep(_LOOK_SECONDS)
        raise LookupError(stream)

    def _leader_told_by(self, place: int, stream: str) -> str | None:
        address = f"http://127.0.0.1:{self._watched + place}/jsz?streams=true&config=false"
        try:
            with urllib.request.urlopen(address, timeout=5) as answer:
                found = json.load(answer)
        except OSError:
            return None
        details = [one for account in found.get("account_details") or () for one in account.get("stream_detail") or ()]
        leaders = [(one.get("cluster") or {}).get("leader") for one in details if one["name"] == stream]
        return next(filter(None, leaders), None)
