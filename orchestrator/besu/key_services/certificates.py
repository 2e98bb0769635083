"""The certificates by which a service and we know each other, read anew when their files change."""

import os
import ssl
from pathlib import Path

from orchestrator.besu.client.signer_ports import SignerError


class CertificateFiles:
    """A context for TLS from files that something else renews.

    Args:
        ca_file: Authorities that are trusted; None for the system's.
        certificate_file, key_file: Our certificate and its key; None for none.
    """

    def __init__(
        self, ca_file: Path | None, certificate_file: Path | None = None, key_file: Path | None = None
    ) -> None:
        self._ca_file = ca_file
        self._certificate_file = certificate_file
        self._key_file = key_file
        self._seen: list[tuple[int, int, int]] = []
        self._context: ssl.SSLContext | None = None

    def context(self) -> ssl.SSLContext | None:
        """Return the context as the files are now; None when there are none.

        Raises:
            SignerError: They can't be used.
        """
        files = [path for path in (self._ca_file, self._certificate_file, self._key_file) if path is not None]
        try:
            seen = [(found.st_mtime_ns, found.st_size, found.st_ino) for found in map(os.stat, files)]
            if files and (self._context is None or seen != self._seen):
                context = ssl.create_default_context(cafile=self._ca_file)
                if self._certificate_file is not None:
                    context.load_cert_chain(self._certificate_file, self._key_file, password=_no_password)
                self._context, self._seen = context, seen
        except (OSError, ssl.SSLError) as error:
            raise SignerError(
                f"the certificates {', '.join(map(str, files))} can't be used ({error}): they and the key must be PEM, "
                "and belong together"
            ) from None
        return self._context


def _no_password() -> str:
    # Without this OpenSSL asks at the terminal.
    raise OSError("the key is encrypted: decrypt it, and let its file's mode protect it")
