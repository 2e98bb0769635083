"""A real NATS server with JetStream, answering in about 0.1 s."""

import json
import socket

from tests.servers import programs
from tests.servers.loopback_server import LoopbackServer


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
        store = self.directory / "jetstream"
        storing = f'jetstream {{ store_dir: "{store}", max_mem: 64MB, max_file: 1GB }}' if jetstream else ""
        configuration = f"""
        listen: "127.0.0.1:{self.port}"
        server_name: "test-{self.port}"
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
        """The server greets with INFO, and says there whether JetStream is on."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                greeting = connection.makefile("rb").readline()
        except OSError:
            return False
        return greeting.startswith(b"INFO ") and bool(json.loads(greeting[5:]).get("jetstream")) == self._jetstream
