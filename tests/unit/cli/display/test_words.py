"""What keys and ids are called in what is shown."""

from orchestrator.cli.display.words import Words

FIRST, SECOND, THIRD = (
    "A1aVtMxLCUHmBVHXoZzzBgPbW/wj5axDpW9X8l91SGo=",
    "Ko2bVqD+nNlNYL5EE7y3IdOnviftjiizpjRt+HTuFBs=",
    "k2",
)


def test_sentences_call_each_member_as_lists_do() -> None:
    """A node's name stands for its member; of several on one node each is told by its key, too."""
    words = Words(nodes={"alone": (THIRD,), "tenants": (FIRST, SECOND)}, full=False)
    for key in (FIRST, SECOND, THIRD):
        assert words.named(f"{key} differs") == f"{words.member(key)} differs"
    assert words.member(FIRST) != words.member(SECOND)
