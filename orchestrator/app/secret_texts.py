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
    """Return the store's URL with its password, if it has one in a file.

    Raises:
        ConfigError: The file can't be read.
    """
    if config.store.password_file is None:
        return config.store.url
    parts = urlsplit(config.store.url)
    password = quote(secret_text(config.store.password_file), safe="")
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))
