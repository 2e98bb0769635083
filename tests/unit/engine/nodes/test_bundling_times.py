from orchestrator.engine.nodes.bundling_times import MOST_GROUPS, BundlingBook


def test_the_last_addition_to_a_group_tells() -> None:
    """By node and group; nothing is made up for a group that got nobody yet."""
    book = BundlingBook()
    book.remember("member1", "g", 0.3)
    book.remember("member1", "g", 5.2)
    assert book.last("member1", "g") == 5.2
    assert book.last("member2", "g") is None
    assert book.last("member1", "h") is None


def test_only_so_much_is_remembered() -> None:
    """The group that got nobody for the longest time goes first."""
    book = BundlingBook()
    for number in range(MOST_GROUPS):
        book.remember("member1", str(number), 1.0)
    book.remember("member1", "0", 2.0)
    book.remember("member1", "new", 3.0)
    assert book.last("member1", "1") is None
    assert book.last("member1", "0") == 2.0
