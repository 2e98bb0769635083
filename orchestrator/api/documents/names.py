"""The JSON documents that the API answers with about names."""

import re
from typing import Final

from pydantic import ConfigDict, Field

from orchestrator.api.documents.shared import Document

NAME_PATTERN: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,39}$"
"""Shorter than any group id, so that no name can be taken for one."""
_NAME: Final = re.compile(NAME_PATTERN.removesuffix("$") + r"\Z")


class NodeNameDocument(Document):
    """One configured node."""

    name: str
    enclave_keys: list[str] = Field(description="The members that it hosts; the first one sends.")


class GroupNameDocument(Document):
    """A name that stands for a group."""

    name: str
    privacy_group_id: str


class NamesDocument(Document):
    """All names."""

    nodes: list[NodeNameDocument]
    groups: list[GroupNameDocument]


class NamedGroup(Document):
    """The group that a name is to stand for."""

    model_config = ConfigDict(extra="forbid")

    privacy_group_id: str = Field(description="The group's id, base64 or base64url.", max_length=64)


def is_name(text: str) -> bool:
    """Return whether a text may be the name of a group."""
    return _NAME.match(text) is not None
