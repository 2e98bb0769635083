"""A real RabbitMQ server: its own node, port mapper, cookie and data, all on loopback."""

import base64
import os
import secrets
import socket
import subprocess
import uuid
from pathlib import Path

from tests.patience import patient
from tests.servers import programs
from tests.servers.loopback_server import LoopbackCluster, LoopbackServer
from tests.servers.ports import free_port

_AMQP_GREETING = b"AMQP\x00\x00\x09\x01"
_METHOD_FRAME = b"\x01"
_CALL_SECONDS = 30
_NEEDED = ("rabbitmq_prelaunch", "rabbitmq_amqp1_0")
_JOINING = """
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = {node}
"""


class PortMapper(LoopbackServer):
    """Erlang's ``epmd``, without which no node starts. A private one: the machine's own stays out of it."""

    name = "epmd"
    start_seconds = 10.0

    def command(self) -> list[str]:
        """See LoopbackServer."""
        return [programs.find_program("epmd"), "-port", str(self.port), "-address", "127.0.0.1"]


class RabbitMQServer(LoopbackServer):
    """RabbitMQ on 127.0.0.1, with AMQP 1.0 by its plugin; durable and quorum queues survive ``kill`` and ``restart``.

    ``settings`` is added to its ``rabbitmq.conf`` as it is (TLS listeners, limits). One that is made ``beside`` another
    joins its cluster when it starts for the first time, for which that one runs; it is closed first.

    Attributes:
        node: The name by which servers of a cluster know it.
    """

    name = "rabbitmq"
    start_seconds = 60.0
    stop_seconds = 30.0

    def __init__(self, settings: str = "", *, beside: "RabbitMQServer | None" = None) -> None:
        super().__init__()
        self.node = f"test-{self.port}@localhost"
        self._distribution_port = free_port()
        self._beside = beside
        self._cookie: str = secrets.token_hex(16) if beside is None else beside._cookie
        self._port_mapper: PortMapper = PortMapper() if beside is None else beside._port_mapper
        joining = "" if beside is None else _JOINING.format(node=beside.node)
        (self.directory / "rabbitmq.conf").write_text(
            f"""
listeners.tcp.default = 127.0.0.1:{self.port}
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
log.file = false
{joining}
{settings}
"""
        )
        (self.directory / "enabled_plugins").write_text("[rabbitmq_amqp1_0].\n")
        self._plugins = _lay_out_plugins(self.directory / "plugins")

    @property
    def url(self) -> str:
        """Address of the default virtual host; tests use one from ``create_virtual_host``."""
        return self.url_of("%2F")

    def url_of(self, virtual_host: str) -> str:
        """Address of ``virtual_host``."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/{virtual_host}"

    def create_virtual_host(self) -> str:
        """Create an empty virtual host that ``guest`` may use and return its name."""
        name = f"test-{uuid.uuid4().hex[:16]}"
        self._evaluate(
            f'ok = rabbit_vhost:add(<<"{name}">>, <<"tests">>), '
            f"ok = rabbit_auth_backend_internal:set_permissions("
            f'<<"guest">>, <<"{name}">>, <<".*">>, <<".*">>, <<".*">>, <<"tests">>).'
        )
        return name

    def delete_virtual_host(self, name: str) -> None:
        """Delete ``name`` with its queues; its connections end."""
        self._evaluate(f'ok = rabbit_vhost:delete(<<"{name}">>, <<"tests">>).')

    def create_user(self, virtual_host: str, *, configure: str, write: str, read: str) -> str:
        """Create a user with rights in ``virtual_host``, regular expressions each, and return its name and password."""
        name = f"user-{uuid.uuid4().hex[:16]}"
        self._evaluate(
            f'ok = rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{name}">>, <<"tests">>), '
            f"ok = rabbit_auth_backend_internal:set_permissions("
            f'<<"{name}">>, <<"{virtual_host}">>, '
            f'<<"{_escaped(configure)}">>, <<"{_escaped(write)}">>, <<"{_escaped(read)}">>, <<"tests">>).'
        )
        return name

    def import_definitions(self, definitions: str) -> None:
        """Declare what a JSON document of definitions names, as ``rabbitmqctl import_definitions`` does."""
        encoded = base64.b64encode(definitions.encode()).decode()
        self._evaluate(f'ok = rabbit_definitions:import_raw(base64:decode(<<"{encoded}">>)).')

    def limit_messages(self, most_bytes: int) -> None:
        """Refuse larger messages on connections that are opened from now on; 128 MiB is what it begins with."""
        self._evaluate(f"ok = application:set_env(rabbit, max_message_size, {most_bytes}).")

    def write_tables(self) -> None:
        """Have the tables written that RabbitMQ writes with a delay of 3 s.

        Call it between declaring a quorum queue and ``kill``: RabbitMQ 3.10 finds no leader ever again for a queue
        that was declared less than those 3 s before.
        """
        self._evaluate("lists:foreach(fun dets:sync/1, dets:all()).")

    def command(self) -> list[str]:
        """See LoopbackServer."""
        return [programs.rabbitmq_server()]

    def environment(self) -> dict[str, str]:
        """Everything that would otherwise come from the machine's own RabbitMQ."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RABBITMQ_", "ERL_"))}
        erlang = f"-noinput -setcookie {self._cookie} -kernel inet_dist_use_interface {{127,0,0,1}} +S 2:2 +sbwt none"
        return kept | {
            "HOME": str(self.directory),
            "ERL_EPMD_PORT": str(self._port_mapper.port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_ALLOW_INPUT": "1",  # the script then becomes the server instead of watching over it
            "RABBITMQ_CONF_ENV_FILE": str(self.directory / "no-such-file"),
            "RABBITMQ_CONFIG_FILE": str(self.directory / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.directory / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(self.directory / "generated"),
            "RABBITMQ_LOG_BASE": str(self.directory / "log"),
            "RABBITMQ_MNESIA_BASE": str(self.directory / "data"),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_PLUGINS_DIR": str(self._plugins),
            "RABBITMQ_PID_FILE": str(self.directory / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": erlang,
        }

    def start(self) -> None:
        """Start the port mapper and the node; see LoopbackServer."""
        self._port_mapper.start()
        super().start()

    def close(self) -> None:
        """End both processes and remove their directories."""
        super().close()
        if self._beside is None:
            self._port_mapper.close()

    def is_ready(self) -> bool:
        """The server answers AMQP's greeting, which it does once it has booted."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(_AMQP_GREETING)
                return connection.recv(1) == _METHOD_FRAME
        except OSError:
            return False

    def leader_of(self, queue: str) -> str:
        """Return the name of the node that leads a quorum queue, as this one knows it; it may be down."""
        name = f'rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)'
        found = self._evaluate(f"{{ok, Q}} = rabbit_amqqueue:lookup({name}), {{_, Node}} = amqqueue:get_pid(Q), Node.")
        return found.strip("'")

    def _evaluate(self, expression: str) -> str:
        # erl_call asks the running node in 20 ms; rabbitmqctl starts a whole Erlang machine for each call.
        outcome = subprocess.run(
            [programs.find_program("erl_call"), "-c", self._cookie, "-n", self.node, "-e"],
            input=expression + "\n",
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=patient(_CALL_SECONDS),
            check=False,
        )
        if outcome.returncode != 0 or not outcome.stdout.startswith("{ok, "):
            msg = f"RabbitMQ refused {expression!r}: {outcome.stdout}{outcome.stderr}"
            raise RuntimeError(msg)
        return outcome.stdout.removeprefix("{ok, ").removesuffix("}")


class RabbitMQCluster(LoopbackCluster[RabbitMQServer]):
    """Three RabbitMQ servers that are one; quorum queues live while two of them do.

    Attributes:
        servers: They.
    """

    def __init__(self) -> None:
        first = RabbitMQServer()
        self.servers = (first, RabbitMQServer(beside=first), RabbitMQServer(beside=first))

    @property
    def url(self) -> str:
        """Address for clients: all three, without credentials; who gives none is the user ``guest`` to aiormq."""
        return ",".join(f"amqp://127.0.0.1:{server.port}/%2F" for server in self.servers)

    def leader_of(self, queue: str) -> RabbitMQServer:
        """Return the server that leads a quorum queue of the default virtual host."""
        asked = next(server for server in self.servers if server.is_running())
        leader = asked.leader_of(queue)
        return next(server for server in self.servers if server.node == leader)


def _lay_out_plugins(folder: Path) -> Path:
    """Return a folder with the server's own parts and the one plugin that is used.

    In the folders of the forty plugins that Debian brings each module is looked for: half a second of each start.
    """
    folder.mkdir()
    for part in (Path(programs.rabbitmq_server()).resolve().parents[1] / "plugins").iterdir():
        if not part.name.startswith("rabbitmq_") or part.name.startswith(_NEEDED):
            (folder / part.name).symlink_to(part)
    return folder


def _escaped(pattern: str) -> str:
    return pattern.replace("\\", "\\\\")
