from orchestrator.besu.codec.json_rpc import MAX_BATCH
from orchestrator.besu.transport.batch_limit import TRIED_AGAIN_AFTER, BatchLimit


def test_a_refused_batch_is_halved_down_to_single_requests() -> None:
    """Each refusal halves what travels together, and one request at a time is the least."""
    limit = BatchLimit()
    sizes = []
    while limit.most > 1:
        sizes.append(limit.most)
        limit.refuse(limit.most)
    assert sizes == [MAX_BATCH >> halved for halved in range(len(sizes))]
    limit.refuse(1)
    assert limit.most == 1


def test_a_refused_small_batch_counts_by_its_own_size() -> None:
    """A batch of ten that is refused leaves five, whatever the limit was; one of ten more teaches nothing new then."""
    limit = BatchLimit()
    limit.refuse(10)
    assert limit.most == 5
    limit.refuse(20)
    assert limit.most == 5


def test_more_is_tried_again_after_a_while() -> None:
    """A gateway that refused batches may be gone: after many full batches twice as many are tried."""
    limit = BatchLimit()
    limit.refuse(4)
    for _ in range(TRIED_AGAIN_AFTER):
        assert limit.most == 2
        limit.answer(1)  # less than the limit teaches nothing
        limit.answer(2)
    assert limit.most == 4
