"""The configured webhooks as what posts to them, with what they keep secret."""

from functools import partial
from pathlib import Path
from typing import Final

from orchestrator.app.configured.secret_texts import secret_text
from orchestrator.config import Config, WebhookConfig
from orchestrator.events.webhooks.delivery import Endpoint

_LONGEST_AUTHORIZATION: Final = 16 << 10


def endpoints(config: Config) -> tuple[Endpoint, ...]:
    """Return the configured webhooks.

    Raises:
        ConfigError: A secret's file can't be read.
    """
    return tuple(
        Endpoint(
            name=webhook.name,
            url=webhook.url,
            secret=_signing_secret(webhook),
            authorization=None
            if webhook.authorization_file is None
            else partial(_authorization, webhook.authorization_file),
            origin=webhook.origin,
            types=webhook.types,
            allow_private=webhook.allow_private,
        )
        for webhook in config.webhooks
    )


def _signing_secret(webhook: WebhookConfig) -> bytes | None:
    if webhook.secret is not None:
        return webhook.secret.get_secret_value().encode()
    return None if webhook.secret_file is None else secret_text(webhook.secret_file).encode()


def _authorization(path: Path) -> str:
    """Return an ``Authorization`` header's value; the file may be replaced while the daemon runs."""
    with path.open(encoding="utf-8") as file:
        text = file.read(_LONGEST_AUTHORIZATION + 1).strip()
    if not text or len(text) > _LONGEST_AUTHORIZATION or not (text.isascii() and text.isprintable()):
        raise ValueError(f"{path} must hold one line of ASCII: a token, or the whole value of the header")
    return text if " " in text else f"Bearer {text}"
