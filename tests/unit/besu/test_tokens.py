import os
from pathlib import Path

import pytest

from orchestrator.besu.tokens import TokenError, TokenFile


def test_a_renewed_token_is_used_at_once(tmp_path: Path) -> None:
    """The file is read again when it has changed, also when it was replaced by another of the same size."""
    path = tmp_path / "token"
    path.write_text("first.token\n")
    token = TokenFile(path)
    assert token.headers() == {"Authorization": "Bearer first.token"}
    renewed = tmp_path / "renewed"
    renewed.write_text("other.token\n")
    os.utime(renewed, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    renewed.replace(path)
    assert token.headers() == {"Authorization": "Bearer other.token"}


def test_a_token_is_never_shown(tmp_path: Path) -> None:
    """The representation names the file only."""
    path = tmp_path / "token"
    path.write_text("secret.token")
    token = TokenFile(path)
    token.headers()
    assert "secret" not in repr(token)


@pytest.mark.parametrize("text", ["", "\n", "two tokens", "a\nb", "a\x00b", "tokén", "x" * 20_000])
def test_a_file_without_one_token_is_refused(tmp_path: Path, text: str) -> None:
    """What cannot be a header's value is refused, and not shown."""
    path = tmp_path / "token"
    path.write_text(text)
    with pytest.raises(TokenError, match=str(path)) as refusal:
        TokenFile(path).headers()
    assert len(str(refusal.value)) < 500


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A token file that is not there is named with the reason."""
    with pytest.raises(TokenError, match="No such file"):
        TokenFile(tmp_path / "nowhere").headers()
