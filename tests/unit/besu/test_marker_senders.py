from orchestrator.besu.marker_senders import MarkerSenders


def test_nothing_is_said_before_two_markers_were_seen() -> None:
    """One PMT, however often it is looked at, does not tell whether its key is fixed."""
    seen = MarkerSenders()
    seen.note("0x01", "0xaa")
    seen.note("0x01", "0xaa")
    assert seen.fixed is None


def test_two_markers_of_one_sender_mean_a_fixed_key() -> None:
    """Two PMTs with the same sender come from a node with a fixed marker key."""
    seen = MarkerSenders()
    seen.note("0x01", "0xaa")
    seen.note("0x02", "0xaa")
    assert seen.fixed is True


def test_markers_of_different_senders_mean_random_keys() -> None:
    """PMTs that each have a sender of their own come from a node that draws a key for each."""
    seen = MarkerSenders()
    seen.note("0x01", "0xaa")
    seen.note("0x02", "0xbb")
    assert seen.fixed is False
