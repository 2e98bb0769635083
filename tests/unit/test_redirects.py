"""What is asked where the configuration says is asked nowhere else."""

import ast
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2] / "orchestrator"
ASKING: Final = frozenset({"get", "post", "put", "delete", "head", "options", "request"})
NOT_THE_DAEMON: Final = ("client.py", "devnet")
"""Who asks the daemon, perhaps by a proxy that sends on to TLS, and the emulated nodes."""


def asks(call: ast.Call) -> bool:
    """Whether a call is a request on an HTTP session, by the names that sessions have here."""
    asked = call.func
    if not isinstance(asked, ast.Attribute) or asked.attr not in ASKING:
        return False
    return ast.unparse(asked.value).endswith("session")


def test_no_redirect_is_followed() -> None:
    """A node, an enclave, a receiver or an issuer can't send the daemon to an address of its choice."""
    found, following = 0, []
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] in NOT_THE_DAEMON:
            continue
        text = path.read_text()
        if "session." not in text:  # parsing all of them takes seconds
            continue
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.Call) or not asks(node):
                continue
            found += 1
            said = [keyword.value for keyword in node.keywords if keyword.arg == "allow_redirects"]
            if not (said and isinstance(said[0], ast.Constant) and said[0].value is False):
                following.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert following == []
    assert found >= 10
