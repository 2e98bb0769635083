"""Texts of changes that are kept while they are what is stored."""

from dataclasses import replace

from orchestrator.access.callers import EVERYTHING, Scope
from orchestrator.api.change_texts import MOST_KEPT, ChangeTexts
from orchestrator.engine.archives.whole_changes import WholeChange
from orchestrator.membership.model import State
from tests.fakes.http_api import GROUP, FakeRecord, make_change


class Counting(FakeRecord):
    """Counts what is read in full."""

    read = 0

    async def whole(self, change_id: str) -> WholeChange | None:
        """Return a change."""
        self.read += 1
        return await super().whole(change_id)


async def texts_of(record: Counting, texts: ChangeTexts, change_id: str = "change-1") -> tuple[bytes, int]:
    """Return a change's text, and how often it was read in full for it (the fake reads for each version, too)."""
    before = record.read
    text = await texts.text(change_id, EVERYTHING)
    assert text is not None
    return text.body, record.read - before - 1


async def test_only_what_is_new_is_read_in_full() -> None:
    """The same state is read once; another is read when it is asked for, and never the old one told."""
    record = Counting()
    record.stored["change-1"] = make_change()
    texts = ChangeTexts(record)
    first, full = await texts_of(record, texts)
    assert full == 1
    assert await texts_of(record, texts) == (first, 0)
    record.stored["change-1"] = replace(make_change(), state=State.LOCKING)
    second, full = await texts_of(record, texts)
    assert (full, b'"locking"' in second) == (1, True)


async def test_what_is_kept_is_bounded() -> None:
    """Beyond so many bytes, and so many changes, the one that nobody asked for the longest is let go."""
    record = Counting()
    record.stored = {f"change-{number}": make_change(f"change-{number}") for number in range(MOST_KEPT + 1)}
    size = len((await texts_of(record, ChangeTexts(record)))[0])
    for texts, most in ((ChangeTexts(record, 2 * size + size // 2), 2), (ChangeTexts(record), MOST_KEPT)):
        for number in range(most + 1):
            await texts_of(record, texts, f"change-{number}")
        assert (await texts_of(record, texts, "change-1"))[1] == 0
        assert (await texts_of(record, texts, "change-0"))[1] == 1


async def test_a_text_that_is_kept_is_not_told_to_everybody() -> None:
    """Who may not see the group gets nothing, though another caller was just shown the change."""
    record = Counting()
    record.stored["change-1"] = make_change()
    texts = ChangeTexts(record)
    await texts_of(record, texts)
    assert await texts.text("change-1", Scope(groups=frozenset({GROUP}))) is not None
    assert await texts.text("change-1", Scope(groups=frozenset())) is None
