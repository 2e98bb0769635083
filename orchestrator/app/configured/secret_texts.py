"""What the files with secrets hold, and what is put together with it."""

from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from orchestrator.config import Config, ConfigError


def secret_text(path: Path) -> str:
    """Return what a secret's file holds, without what is around it.

    Raises:
        ConfigError: It can't be read, or is no text; the message names it and shows nothing of it.
    """
    try:
        return path.read_text("utf-8-sig").strip()
    except OSError as error:
        raise ConfigError([f"{path}: can't be read: {error.strerror}"]) from error
    except UnicodeDecodeError:
        raise ConfigError([f"{path}: is no text in UTF-8; write the secret again"]) from None


def store_url(config: Config) -> str:
    """Return the store's URL with what files hold of it: its password, and where certificates are.

    Raises:
        ConfigError: The file can't be read.
    """
    store = config.store
    parts = urlsplit(store.url)
    files = (("sslrootcert", store.ca_file), ("sslcert", store.certificate_file), ("sslkey", store.key_file))
    said = [f"{name}={quote(str(path), safe='')}" for name, path in files if path is not None]
    # Left to itself libpq prefers TLS, takes what there is, and compares no certificate with the authority that was
    # named.
    if store.ca_file is not None and "sslmode=" not in parts.query:
        said.append("sslmode=verify-full")
    if said:
        parts = parts._replace(query="&".join([*filter(None, [parts.query]), *said]))
    if store.password_file is None:
        return urlunsplit(parts) if said else store.url
    password = quote(secret_text(store.password_file), safe="")
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))
