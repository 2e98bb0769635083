"""A real pgbouncer between a client and PostgreSQL."""

import shutil

from tests.servers import programs
from tests.servers.loopback_server import LoopbackServer
from tests.servers.postgresql_server import PostgreSQLServer


class PgBouncerServer(LoopbackServer):
    """pgbouncer on 127.0.0.1 before a PostgreSQL server, whose users it lets in without a password.

    ``settings`` is added to the section ``[pgbouncer]`` of its configuration as it is, ``databases`` to the other one.
    """

    name = "pgbouncer"
    start_seconds = 10.0

    def __init__(self, behind: PostgreSQLServer, settings: str, databases: str = "") -> None:
        super().__init__()
        databases = databases or f"* = host=127.0.0.1 port={behind.port}"
        (self.directory / "users.txt").write_text('"orchestrator" ""\n')
        (self.directory / "pgbouncer.ini").write_text(
            f"""
[databases]
{databases}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {self.directory}/users.txt
{settings}
"""
        )
        if (user := self.run_as()) is not None:
            for path in (self.directory, *self.directory.iterdir()):
                shutil.chown(path, user)

    def url_of(self, database: str) -> str:
        """Address of a database of the server behind it."""
        return f"postgresql://orchestrator@127.0.0.1:{self.port}/{database}"

    def command(self) -> list[str]:
        """See LoopbackServer."""
        return [programs.find_program("pgbouncer"), str(self.directory / "pgbouncer.ini")]

    def run_as(self) -> str | None:
        """An unprivileged user when the tests run as root, as which it refuses to run."""
        return programs.unprivileged_user()
