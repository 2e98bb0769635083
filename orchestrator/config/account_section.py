"""The section ``[[accounts]]``: keys, and what holds keys elsewhere."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo

from orchestrator.besu.codec.account_signatures import InvalidSignatureError, address_of_public_key
from orchestrator.besu.codec.identifiers import InvalidIdentifierError, hex_to_bytes
from orchestrator.config import values
from orchestrator.config.kinds import File, Name, SecretFile, Section

_OPEN_FILES = ("ca_file", "certificate_file")
_SECRET_WORDS = ("key", "passphrase", "password", "pin", "secret", "token")
# With the byte 04 in front, by which an uncompressed point is known; Web3Signer leaves it out.
_LONGEST_KEY_BYTES = 65


def check_public_key(public_key: str) -> str:
    """A public key of secp256k1 in hexadecimal, in lower case."""
    try:
        address_of_public_key(hex_to_bytes(public_key, max_bytes=_LONGEST_KEY_BYTES))
    except (InvalidIdentifierError, InvalidSignatureError):
        raise ValueError("must be a public key of secp256k1: 0x and 128 digits, as Web3Signer lists it") from None
    return public_key.lower()


def check_key_id(key_id: str) -> str:
    """A key's id in hexadecimal."""
    try:
        given = bytes.fromhex(key_id.removeprefix("0x"))
    except ValueError:
        given = b""
    if not given:
        raise ValueError('must be the hexadecimal digits of the key\'s CKA_ID, such as "01"')
    return given.hex()


def check_settings(settings: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """Whatever an installed signer takes: secrets by files only, which are checked as all others are."""
    checked = dict(settings)
    for key, value in settings.items():
        if key.endswith("_file"):
            if not isinstance(value, str | Path):
                raise ValueError(f"{key} must be the path of a file")
            check = values.check_file if key in _OPEN_FILES else values.check_secret_file
            checked[key] = str(check(Path(value), info))
        # What the settings of somebody else's signer mean is not known here: only by its name a secret shows.
        elif key.rpartition("_")[2] in _SECRET_WORDS:
            raise ValueError(f"{key} looks like a secret, which must not stand in the configuration: give {key}_file")
    return checked


class Web3SignerConfig(Section):
    """``[accounts.web3signer]``: Consensys Web3Signer in its eth1 mode."""

    url: Annotated[str, AfterValidator(values.check_http_url)] = Field(
        description="https://host:9000; http on loopback only."
    )
    public_key: Annotated[str, AfterValidator(check_public_key)] | None = Field(
        default=None,
        description="The key's name there, 0x and 128 digits; without it the account's is looked for in its list.",
    )
    ca_file: File | None = Field(default=None, description="PEM of the authority that signed its certificate.")
    certificate_file: File | None = Field(default=None, description="PEM of our client certificate.")
    key_file: SecretFile | None = Field(default=None, description="PEM of the client certificate's key.")
    token_file: SecretFile | None = Field(
        default=None, description="File with a bearer token for what stands before it; read again when it changes."
    )


class Pkcs11Config(Section):
    """``[accounts.pkcs11]``: a token that speaks PKCS#11; needs the extra ``pkcs11``."""

    module: File = Field(description="The token's library, such as /usr/lib/softhsm/libsofthsm2.so.")
    token: str = Field(min_length=1, max_length=32, description="The token's label.")
    key_label: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="The key's label (CKA_LABEL); give it or key_id, or both."
    )
    key_id: Annotated[str, AfterValidator(check_key_id)] | None = Field(
        default=None, max_length=512, description="The key's id (CKA_ID) in hexadecimal."
    )
    pin_file: SecretFile = Field(description="File with the user's PIN; read when a session is opened.")


class InstalledConfig(Section):
    """``[accounts.installed]``: a signer that an installed package brings (entry points ``orchestrator.signers``)."""

    name: Name = Field(description="The entry point's name.")
    settings: Annotated[dict[str, Any], AfterValidator(check_settings)] = Field(
        default={}, max_length=64, description="What it takes; keys that end in _file are paths of closed files."
    )

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The files of its settings that only their owner may read."""
        return tuple(
            Path(value) for key, value in self.settings.items() if key.endswith("_file") and key not in _OPEN_FILES
        )


class AccountConfig(Section):
    """``[[accounts]]``: an owner of groups, by its key or by what holds it (docs/signers.md)."""

    address: Annotated[str, AfterValidator(values.check_address)] = Field(description="0x and 40 digits; unique.")
    keystore: File | None = Field(default=None, description="Keystore V3 file.")
    password_file: Annotated[Path, AfterValidator(values.check_password_file)] | None = Field(
        default=None, description="File with the keystore's password."
    )
    key_file: SecretFile | None = Field(
        default=None, description="File with the private key in hexadecimal; readable by its owner only (mode 0600)."
    )
    private_key: SecretStr | None = Field(default=None, description="The private key; by environment only.")
    web3signer: Web3SignerConfig | None = None
    pkcs11: Pkcs11Config | None = None
    installed: InstalledConfig | None = None
    sign_timeout_seconds: Annotated[float, Field(ge=0.1, le=60)] = Field(
        default=10.0, description="How long a signature is waited for, where something else holds the key."
    )
    sign_at_once: int = Field(
        default=8, ge=1, le=256, description="Signatures asked for at a time, where something else holds the key."
    )

    @property
    def is_elsewhere(self) -> bool:
        """Whether something else holds its key."""
        return any((self.web3signer, self.pkcs11, self.installed))

    @property
    def secret_files(self) -> tuple[Path, ...]:
        """The files with secrets that it names."""
        named = [self.password_file, self.key_file]
        if self.web3signer is not None:
            named += [self.web3signer.key_file, self.web3signer.token_file]
        if self.pkcs11 is not None:
            named.append(self.pkcs11.pin_file)
        if self.installed is not None:
            named += self.installed.secret_files
        return tuple(path for path in named if path is not None)
