"""Checks of single values: each returns the value in its normal form, or a `ValueError` says what to write instead."""

import ipaddress
import os
import re
import stat
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, parse_qs, urlsplit

from pydantic import ValidationInfo

from orchestrator.access.tokens import SIGNING_ALGORITHMS
from orchestrator.besu.codec.identifiers import enclave_key_to_bytes, normal_address, privacy_group_id_to_bytes
from orchestrator.secret_modes import is_too_open, lies_in

STORE_SCHEMES: Final = ("sqlite", "postgresql")
BROKER_SCHEMES: Final = ("embedded", "nats", "tls", "amqp", "amqps", "kafka", "kafkas")
_BESU_VERSION: Final = re.compile(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", re.ASCII)
# Linux has 108 bytes for it (unix(7), `sun_path`), the last of them zero, in which the folder's name has to fit as
# well.
MOST_SOCKET_PATH: Final = 100
MOST_USER: Final = 256
MOST_PORT: Final = 65_535
_SOURCE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")
_LONGEST_SOURCE: Final = 256
_HOST_NAME: Final = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
)
_LONGEST_HOST: Final = 253
LOOPBACK_NAMES: Final = frozenset({"localhost"})


def check_store_url(url: str, info: ValidationInfo) -> str:
    """A database: ``sqlite:///file.db`` or ``postgresql://user@host/name``; a relative file starts at the folder.

    Of PostgreSQL several hosts may be named, separated by commas.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in STORE_SCHEMES:
        raise ValueError('must be "sqlite:///file.db" or "postgresql://user@host/database"')
    if scheme == "sqlite" and (not rest.startswith("/") or len(rest) < 2):
        raise ValueError('must name a file: "sqlite:///file.db" (three slashes; four for an absolute path)')
    if scheme == "postgresql":
        before, at, hosts = urlsplit(url).netloc.rpartition("@")
        for host in hosts.split(","):  # as libpq has several: the first that fits is used
            _parts(f"postgresql://{before}{at}{host}/")
    folder = _folder(info)
    if scheme == "sqlite" and folder is not None:
        return f"sqlite:///{folder / rest[1:]}"
    return url


def check_broker_url(url: str) -> str:
    """A message queue: ``embedded:``, ``nats://…``, ``tls://…``, ``amqp://…``, ``amqps://…``, ``kafka://…``, ``kafkas://…``.

    The servers of a cluster of NATS, RabbitMQ or Kafka are separated by commas.
    """
    if url == "embedded:":
        return url
    for server in url.split(","):
        parts = _parts(server)
        if parts.scheme not in BROKER_SCHEMES or not parts.hostname:
            raise ValueError(
                'must be "embedded:", "nats://host:4222", "tls://host:4222", "amqp://host", "amqps://host", '
                '"kafka://host:9092" or "kafkas://host:9092"'
            )
    if len({server.partition(":")[0] for server in url.split(",")}) > 1:
        raise ValueError("names servers of several kinds: all of them must begin in the same way")
    return url


def check_http_url(url: str) -> str:
    """A node's HTTP address, or a webhook's."""
    return _check_url(url, ("http", "https"), "http://host:8545")


def check_origin(url: str) -> str:
    """Where a page comes from: scheme, host and port, without a path."""
    parts = _parts(url)
    host = parts.netloc.lower()
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in host
        or url != f"{parts.scheme}://{parts.netloc}"
    ):
        raise ValueError('must be scheme and host without a path, such as "https://console.example.org"')
    return f"{parts.scheme}://{host}"


def check_host_name(name: str) -> str:
    """A DNS name."""
    if len(name) > _LONGEST_HOST or not _HOST_NAME.fullmatch(name):
        raise ValueError('must be a DNS name, such as "membership.example.org"')
    return name.lower()


def check_ws_url(url: str) -> str:
    """A node's WebSocket address."""
    return _check_url(url, ("ws", "wss"), "ws://host:8546")


def check_source(uri: str) -> str:
    """A CloudEvents source of our own: an absolute URI, so that no other organisation has the same."""
    if len(uri) > _LONGEST_SOURCE or not _SOURCE.fullmatch(uri):
        raise ValueError(
            'must be an absolute URI of at most 256 characters: "https://org.example/membership", or "urn:uuid:…"'
        )
    return uri


def check_besu_version(text: str) -> str:
    """A version of Besu: three numbers."""
    parse_besu_version(text)
    return text


def parse_besu_version(text: str) -> tuple[int, int, int]:
    """Return (major, minor, patch); raises ValueError for anything else."""
    matched = _BESU_VERSION.fullmatch(text)
    if matched is None:
        raise ValueError('must be three numbers such as "23.10.3"')
    major, minor, patch = map(int, matched.groups())
    return major, minor, patch


def check_enclave_key(key: str) -> str:
    """An enclave public key in base64."""
    enclave_key_to_bytes(key)
    return key


def check_group_id(privacy_group_id: str) -> str:
    """A privacy group id in base64."""
    privacy_group_id_to_bytes(privacy_group_id)
    return privacy_group_id


def check_address(address: str) -> str:
    """An account's address, made lower case."""
    return normal_address(address)


def check_user(name: str) -> str:
    """A user's name of basic authentication: what stands before the first colon."""
    if not name or len(name) > MOST_USER or ":" in name or not name.isprintable():
        raise ValueError(f"must be 1 to {MOST_USER} printable characters without a colon")
    return name


def check_listen(listen: str) -> str:
    """Where something listens that has no access control: ``host:port`` on loopback; other addresses are refused."""
    return _on_loopback(
        listen,
        "there is no access control, so it listens on 127.0.0.1, [::1] or localhost only. Put a reverse proxy with "
        "authentication in front of it to reach it from elsewhere",
    )


def check_api_listen(listen: str) -> str:
    """Where the HTTP API listens: ``host:port``; beyond loopback callers have to prove who they are."""
    host, port = split_listen(listen)
    if host not in LOOPBACK_NAMES:
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ValueError(f'{host} is no IP address; write the address of an interface, or "localhost"') from None
    if not 0 <= port <= MOST_PORT:
        raise ValueError(f"port {port} does not exist; give one up to {MOST_PORT} (0 takes a free one)")
    return listen


def is_loopback_listen(listen: str) -> bool:
    """Return whether only programs of this machine reach what listens there."""
    host, _ = split_listen(listen)
    return host in LOOPBACK_NAMES or _is_loopback(host)


def check_algorithm(name: str) -> str:
    """An algorithm that JSON Web Tokens may be signed by."""
    if name not in SIGNING_ALGORITHMS:
        raise ValueError(
            f"must be one of {', '.join(SIGNING_ALGORITHMS)}: with a shared secret who verifies could have signed"
        )
    return name


def check_guard_listen(listen: str) -> str:
    """Where a guard listens: ``host:port`` on loopback, or ``unix:/path``.

    Whoever reaches it reaches the enclave, which has no access control: other addresses are refused.
    """
    if listen.startswith("unix:"):
        if not listen.startswith("unix:/") or len(listen) > MOST_SOCKET_PATH:
            raise ValueError(f'must be "unix:/path", at most {MOST_SOCKET_PATH} characters')
        return listen
    return _on_loopback(
        listen,
        "whoever reaches the guard reaches the enclave, so it listens on 127.0.0.1, [::1], localhost or a Unix socket "
        "only",
    )


def _on_loopback(listen: str, why: str) -> str:
    host, port = split_listen(listen)
    if host not in LOOPBACK_NAMES and not _is_loopback(host):
        raise ValueError(f"{host} is not a loopback address; {why}")
    if not 0 <= port <= MOST_PORT:
        raise ValueError(f"port {port} does not exist; give one up to {MOST_PORT} (0 takes a free one)")
    return listen


def split_listen(listen: str) -> tuple[str, int]:
    """Return host and port of ``host:port``; raises ValueError when it is none."""
    host, separator, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not (port.isascii() and port.isdigit()):
        raise ValueError('must be "host:port", such as "127.0.0.1:8080"')
    return host, int(port)


def in_folder(path: Path, info: ValidationInfo) -> Path:
    """A path that need not exist yet; a relative one starts at the configuration's folder."""
    folder = _folder(info)
    return path if folder is None else folder / path


def check_file(path: Path, info: ValidationInfo) -> Path:
    """A file that can be read and is not empty."""
    return _readable(path, info, may_be_empty=False)


def _readable(path: Path, info: ValidationInfo, *, may_be_empty: bool) -> Path:
    path = in_folder(path, info)
    if _folder(info) is not None:
        try:
            with path.open("rb") as file:
                empty = not file.read(1)
        except OSError as error:
            raise ValueError(f"{path} can't be read: {error.strerror}") from error
        if empty and not may_be_empty:
            raise ValueError(f"{path} is empty")
    return path


def check_secret_file(path: Path, info: ValidationInfo) -> Path:
    """A file with a secret (key, password, token): see `orchestrator.secret_modes` for who may have a right to it."""
    return _closed(_readable(path, info, may_be_empty=False), info)


def check_password_file(path: Path, info: ValidationInfo) -> Path:
    """The same with the password of a keystore, which may be the empty one."""
    return _closed(_readable(path, info, may_be_empty=True), info)


def _closed(path: Path, info: ValidationInfo) -> Path:
    if _folder(info) is not None and (said := secret_trouble(path)) is not None:
        raise ValueError(said)
    return path


def secret_trouble(path: Path) -> str | None:
    """Return what is wrong with a secret's file: that it can't be read, or that others can; None when nothing is."""
    try:
        # Opened, since its mode alone does not say whether we may: access lists and mounts decide as well.
        with path.open("rb"):
            found = path.stat()
    except OSError as error:
        return f"{path} can't be read: {error.strerror}"
    mode = stat.S_IMODE(found.st_mode)
    handed_over = lies_in(str(path), os.environ.get("CREDENTIALS_DIRECTORY", ""))
    if is_too_open(mode, owner=found.st_uid, reader=os.getuid(), handed_over=handed_over):
        return (
            f"{path} has mode {mode:04o}, so others can read the secret; run: chmod 600 {path}, or have it handed over "
            "with mode 0400 or 0440 (docs/servers.md)"
        )
    return None


def has_password(url: str) -> bool:
    """Return whether an address (or one of several, separated by commas) carries a password or token."""
    return any(_has_password(server) for server in url.split(","))


def _has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    # NATS takes a token in the place of a user's name.
    token = parts.scheme in ("nats", "tls") and parts.username is not None
    return token or parts.password is not None or "password" in parse_qs(parts.query)


def _folder(info: ValidationInfo) -> Path | None:
    """The configuration's folder; None when no file is being loaded, and then nothing is looked up."""
    context: dict[str, Any] = info.context or {}
    return context.get("folder")


def _check_url(url: str, schemes: tuple[str, ...], example: str) -> str:
    parts = _parts(url)
    if parts.scheme not in schemes or not parts.hostname:
        raise ValueError(f'must be an address such as "{example}" ({" or ".join(schemes)})')
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password; they would show up in logs")
    if parts.fragment:
        raise ValueError("must not hold a fragment (#…)")
    return url


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        # A port that is no number is not told before somebody asks for it.
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"is no address: {error}") from error
    return parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
