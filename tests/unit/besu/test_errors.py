import inspect
import re

import pytest

from orchestrator.besu import credential_errors, errors, transaction_errors
from orchestrator.besu.errors import BesuError, ErrorClass

CLASSES = {
    name: value
    for module in (errors, credential_errors, transaction_errors)
    for name, value in vars(module).items()
    if inspect.isclass(value) and issubclass(value, BesuError)
}


def drawn_tree() -> dict[str, str | None]:
    """Parent of each class as the module's docstring draws it."""
    parents: dict[str, str | None] = {}
    path: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─\s]*)(\w+Error)", line)
        if not found:
            continue
        depth = len(found[1]) // 4
        path = [(level, name) for level, name in path if level < depth]
        parents[found[2]] = path[-1][1] if path else None
        path.append((depth, found[2]))
    return parents


def test_the_drawn_tree_is_the_tree() -> None:
    """The docstring draws every class under its parent, and no other."""
    actual = {name: None if value is BesuError else value.__bases__[0].__name__ for name, value in CLASSES.items()}
    assert drawn_tree() == actual


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_has_a_stable_name_and_a_verdict(name: str) -> None:
    """A machine can match the reason and act on the class of each error."""
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", CLASSES[name].reason)
    assert CLASSES[name].error_class in ErrorClass


def test_only_the_errors_without_a_clear_answer_are_uncertain() -> None:
    """A caller may rely on it that nothing was done, except where the answer was lost or says nothing."""
    uncertain = {name for name, value in CLASSES.items() if not value.certain}
    assert uncertain == {
        "TransportError",
        "NodeTimeoutError",
        "ConnectionLostError",
        "HttpStatusError",
        "ProtocolError",
        "BatchRefusedError",
        "NodeInternalError",
        "NotKnownError",
        "MarkerKnownError",
        "UnknownRpcError",
    }
