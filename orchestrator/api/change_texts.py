"""Changes as the text that is sent, kept for as long as they are what is stored.

Whoever follows a change reads the same again and again: what is stored is asked for each time, which costs one small
read shared with other readers, and read in full and written out only when it is another state than the text's.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from orchestrator.access.callers import Scope
from orchestrator.api.documents.changes import detail_document
from orchestrator.api.ports.changes import ChangeRecord
from orchestrator.api.web.conditional import tag_of
from orchestrator.engine.archives.whole_changes import WholeChange
from orchestrator.membership.model import ENDED

MOST_KEPT: Final = 1_000
MOST_KEPT_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeText:
    """One state of a change.

    Attributes:
        mark: Which (`ChangeVersion.mark`).
        body: A `ChangeDetailDocument` in JSON.
        tag: Its entity tag.
        ended: Whether nothing more will happen to the change.
    """

    mark: str
    body: bytes
    tag: str
    ended: bool


class ChangeTexts:
    """The texts of the changes that were asked for last.

    Args:
        record: Reads changes.
        most_bytes: How much is kept.
    """

    def __init__(self, record: ChangeRecord, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._record = record
        self._most_bytes = most_bytes
        self._bytes = 0
        self._kept: OrderedDict[str, ChangeText] = OrderedDict()

    async def text(self, change_id: str, scope: Scope) -> ChangeText | None:
        """Return a change as it is stored now; None when there is none, or none that the scope sees.

        Raises:
            StoreError: The store does not answer, or what is stored can't be read.
        """
        version = await self._record.version(change_id)
        # Also before what is kept is shown: it was made for another caller.
        if version is None or not scope.sees(version.privacy_group_id):
            return None
        kept = self._kept.get(change_id)
        if kept is not None and kept.mark == version.mark:
            self._kept.move_to_end(change_id)
            return kept
        whole = await self._record.whole(change_id)
        if whole is None:
            return None
        # It may have moved on since its version was read: the text is kept under the mark of what it shows.
        text = _text(whole)
        self._keep(change_id, text)
        return text

    def _keep(self, change_id: str, text: ChangeText) -> None:
        old = self._kept.pop(change_id, None)
        self._bytes += len(text.body) - (0 if old is None else len(old.body))
        self._kept[change_id] = text
        while self._bytes > self._most_bytes or len(self._kept) > MOST_KEPT:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest.body)


CHANGE_TEXTS = web.AppKey("change_texts", ChangeTexts)


def _text(whole: WholeChange) -> ChangeText:
    document = detail_document(whole.change, whole.history, whole.attempts, whole.times)
    body = document.model_dump_json().encode()
    return ChangeText(mark=whole.version.mark, body=body, tag=tag_of(body), ended=whole.change.state in ENDED)
