"""SoftHSM: a token that speaks PKCS#11, in software, in a directory of its own."""

import os
import subprocess
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from tests.servers.programs import ProgramMissingError, find_program

LABEL = "owners"
PIN = "pin-nobody-shall-see-1234"
_SECP256K1 = "1.3.132.0.10"
_PLACES = ("/usr/lib/softhsm", "/usr/lib64/softhsm", "/usr/local/lib/softhsm")


def softhsm_module() -> Path:
    """Return SoftHSM's library."""
    for place in _PLACES:
        if (found := Path(place) / "libsofthsm2.so").exists():
            return found
    raise ProgramMissingError(
        "libsofthsm2.so not found: run `make setup`, which installs the servers that the tests need"
    )


class SoftHsm:
    """One token of SoftHSM. The library is the process's: one of these at a time.

    Args:
        folder: Where the token is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.module = softhsm_module()
        self._tokens, self._hidden = folder / "tokens", folder / "unplugged"
        self._tokens.mkdir()
        configuration = folder / "softhsm2.conf"
        configuration.write_text(
            f"directories.tokendir = {self._tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        initialise = ("--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "12345678")
        subprocess.run([find_program("softhsm2-util"), *initialise], check=True, capture_output=True)
        self._library = pkcs11.lib(str(self.module))
        self._library.reinitialize()

    def put(self, label: str, key: bytes, key_id: bytes) -> None:
        """Store a private key that nobody can read again."""
        with self._library.get_token(token_label=LABEL).open(rw=True, user_pin=PIN) as session:
            session.create_object(
                {
                    Attribute.CLASS: ObjectClass.PRIVATE_KEY,
                    Attribute.KEY_TYPE: KeyType.EC,
                    Attribute.TOKEN: True,
                    Attribute.PRIVATE: True,
                    Attribute.SENSITIVE: True,
                    Attribute.EXTRACTABLE: False,
                    Attribute.SIGN: True,
                    Attribute.LABEL: label,
                    Attribute.ID: key_id,
                    Attribute.EC_PARAMS: encode_named_curve_parameters(_SECP256K1),
                    Attribute.VALUE: key,
                }
            )

    def rename(self, label: str, other: str) -> None:
        """Give a key another label."""
        self._library.reinitialize()
        with self._library.get_token(token_label=LABEL).open(rw=True, user_pin=PIN) as session:
            session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)[Attribute.LABEL] = other
        self.end_sessions()

    def end_sessions(self) -> None:
        """Let all sessions of the process die, as when the token is restarted."""
        self._library.reinitialize()

    def unplug(self) -> None:
        """Take the token away."""
        if self._tokens.exists():
            self._tokens.rename(self._hidden)
            self._tokens.mkdir()
            self.end_sessions()

    def plug(self) -> None:
        """Bring it back."""
        if self._hidden.exists():
            self._tokens.rmdir()
            self._hidden.rename(self._tokens)
