"""A real PostgreSQL server in a temporary directory."""

import os
import pwd
import shutil
import signal
import subprocess
import uuid

import psycopg

from tests.patience import patient
from tests.servers import programs
from tests.servers.loopback_server import LoopbackServer, ServerStartError

_USER = "orchestrator"
_PROGRAM_SECONDS = 60


class PostgreSQLServer(LoopbackServer):
    """PostgreSQL on 127.0.0.1, user ``orchestrator`` without a password; data survive ``kill`` and ``restart``.

    The server refuses to run as root, so root runs it as ``postgres``. ``durable=False`` leaves out the waits for the
    disk: a killed server still recovers all that was committed, because the operating system keeps what was written.
    """

    name = "postgresql"
    start_seconds = 30.0
    stop_signal = signal.SIGINT  # "fast": ends open sessions instead of waiting for them

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__()
        self._durable = durable
        self._data = self.directory / "data"
        self._initialise()

    @property
    def url(self) -> str:
        """Address of the server's own database ``postgres``; tests use one from ``create_database``."""
        return self.url_of("postgres")

    def url_of(self, database: str) -> str:
        """Address of ``database``."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str = "template1") -> str:
        """Create an empty database, or a copy of one that nobody uses, and return its name."""
        name = f"test_{uuid.uuid4().hex[:16]}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return name

    def drop_database(self, name: str) -> None:
        """Drop ``name``, ending the sessions that still use it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def command(self) -> list[str]:
        """See LoopbackServer."""
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "shared_buffers": "32MB",
            "max_connections": "200",
            "fsync": "on" if self._durable else "off",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        return [programs.postgresql("postgres"), "-D", str(self._data), *options]

    def environment(self) -> dict[str, str]:
        """Without the variables that change what PostgreSQL's programs do."""
        return {key: value for key, value in os.environ.items() if not key.startswith("PG")}

    def run_as(self) -> str | None:
        """An unprivileged user when the tests run as root, as which it refuses to run."""
        return programs.unprivileged_user()

    def is_ready(self) -> bool:
        """The server accepts a session."""
        try:
            psycopg.connect(self.url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _make_data(self) -> list[str]:
        return [
            *(programs.postgresql("initdb"), "-D", str(self._data), "-U", _USER, "--auth=trust"),
            *("--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
        ]

    def _initialise(self) -> None:
        if (user := self.run_as()) is not None:
            shutil.chown(self.directory, user)
        try:
            self._run(self._make_data())
        except ServerStartError:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    def _run(self, command: list[str]) -> None:
        """Run one of PostgreSQL's programs as the user that the server runs as."""
        user = self.run_as()
        outcome = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environment(),
            user=user,
            group=None if user is None else pwd.getpwnam(user).pw_gid,
            extra_groups=None if user is None else [],
            capture_output=True,
            text=True,
            timeout=patient(_PROGRAM_SECONDS),
            check=False,
        )
        if outcome.returncode != 0:
            msg = f"{command[0]} ended with code {outcome.returncode}: {outcome.stderr.strip()}"
            raise ServerStartError(msg)

    def require_standbys(self) -> None:
        """Have each commit wait until a standby has it, so that a failover loses nothing."""
        self.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.execute("SELECT pg_reload_conf()")

    def follow_nobody(self) -> None:
        """Have the next start be one of a standby without a primary: it answers reads until it is promoted."""
        signal_file = self._data / "standby.signal"
        signal_file.touch()
        if (user := self.run_as()) is not None:
            shutil.chown(signal_file, user)

    def execute(self, statement: str, database: str = "postgres") -> None:
        """Run a statement of SQL as the server's superuser."""
        with psycopg.connect(self.url_of(database), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement.encode())


class PostgreSQLStandby(PostgreSQLServer):
    """A standby that follows a primary by streaming: it answers reads, and refuses writes."""

    name = "postgresql-standby"

    def __init__(self, primary: PostgreSQLServer) -> None:
        self._primary = primary
        super().__init__()

    def _make_data(self) -> list[str]:
        return [
            *(programs.postgresql("pg_basebackup"), "-D", str(self._data), "-R", "-X", "stream", "-c", "fast"),
            *("--no-sync", "-d", self._primary.url),
        ]

    def promote(self) -> None:
        """Make it the primary, as `pg_ctl promote` does, and wait until it takes writes."""
        self._run([programs.postgresql("pg_ctl"), "promote", "--wait", "-D", str(self._data)])
