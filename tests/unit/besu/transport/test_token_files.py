import base64
import os
from pathlib import Path

import pytest

from orchestrator.besu.credential_errors import CredentialError
from orchestrator.besu.transport.token_files import BasicCredential, TokenFile


async def test_a_renewed_token_is_used_at_once(tmp_path: Path) -> None:
    """The file is read again when it has changed, also when it was replaced by another of the same size."""
    path = tmp_path / "token"
    path.write_text("first.token\n")
    token = TokenFile(path)
    assert await token.headers() == {"Authorization": "Bearer first.token"}
    renewed = tmp_path / "renewed"
    renewed.write_text("other.token\n")
    os.utime(renewed, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    renewed.replace(path)
    assert await token.headers() == {"Authorization": "Bearer other.token"}


async def test_a_token_is_never_shown(tmp_path: Path) -> None:
    """The representation names the file only."""
    path = tmp_path / "token"
    path.write_text("secret.token")
    token = TokenFile(path)
    await token.headers()
    assert "secret" not in repr(token)


@pytest.mark.parametrize("text", ["", "\n", "two tokens", "a\nb", "a\x00b", "tokén", "x" * 20_000])
async def test_a_file_without_one_token_is_refused(tmp_path: Path, text: str) -> None:
    """What cannot be a header's value is refused, and not shown."""
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(CredentialError, match=str(path)) as refusal:
        await TokenFile(path).headers()
    assert len(str(refusal.value)) < 500


async def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A token file that is not there is named with the reason."""
    with pytest.raises(CredentialError, match="No such file"):
        await TokenFile(tmp_path / "nowhere").headers()


async def test_a_password_is_sent_as_basic_authentication_and_renewed(tmp_path: Path) -> None:
    """User and password travel in one header, UTF-8 in base64; a changed file is another credential."""
    path = tmp_path / "password"
    path.write_text("pässword: one\n")
    credential = BasicCredential("me", path)
    shown = await credential.headers()
    assert base64.b64decode(shown["Authorization"].removeprefix("Basic ")).decode() == "me:pässword: one"
    assert not await credential.renewed(shown)
    path.write_text("another\n")
    assert await credential.renewed(shown)
    assert "another" not in repr(credential)


@pytest.mark.parametrize("text", ["\n", "a\nb", "a\x00b"])
async def test_a_file_without_one_password_is_refused(tmp_path: Path, text: str) -> None:
    """A password of several lines is a mistake, and not shown."""
    path = tmp_path / "password"
    path.write_text(text)
    with pytest.raises(CredentialError, match="one password in one line"):
        await BasicCredential("me", path).headers()
