"""Reading and beginning traces."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.membership.tracing import LONGEST_STATE, begun, read_trace, span_id

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
ASKER = "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{ASKER}-01"
WRITTEN = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]")


def test_what_came_is_passed_on() -> None:
    """A trace that is read and not taken up is written as it came."""
    trace = read_trace(TRACEPARENT, "vendor=opaque, other=1")
    assert trace is not None
    assert (trace.traceparent, trace.state, trace.traced) == (TRACEPARENT, "vendor=opaque, other=1", False)


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        7,
        "",
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        TRACEPARENT[:-1],
        "ff" + TRACEPARENT[2:],
        f"00-{'0' * 32}-{ASKER}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        TRACEPARENT + "\n",
    ],
)
def test_what_is_no_trace_is_none(wrong: object) -> None:
    """What the specification calls invalid is no trace; a request is not refused for it."""
    assert read_trace(wrong) is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    """Of a version that is not known the parts of version 00 are taken, whatever follows."""
    trace = read_trace(f"42-{TRACE_ID}-{ASKER}-ff-new")
    assert trace is not None
    assert trace.traceparent == TRACEPARENT


@pytest.mark.parametrize("state", [None, 1, "x" * (LONGEST_STATE + 1), "a=\x00", "a=ü"])
def test_a_state_that_can_not_be_one_is_left_out(state: object) -> None:
    """The trace goes on without it."""
    trace = read_trace(TRACEPARENT, state)
    assert trace is not None
    assert trace.state == ""


def test_a_change_goes_on_in_its_requests_trace() -> None:
    """The change's own span is below the one that asked, and what follows goes on from the change's."""
    trace = begun("change", read_trace(TRACEPARENT, "a=1"), ratio=0.0)
    assert (trace.trace_id, trace.parent_id, trace.span_id) == (TRACE_ID, ASKER, span_id("change", "change"))
    assert trace.traced
    assert trace.state == "a=1"


def test_who_asked_decides_whether_the_trace_is_kept() -> None:
    """A request's trace that nobody keeps gets no spans, and goes on as one that nobody keeps."""
    trace = begun("change", read_trace(TRACEPARENT[:-1] + "0"), ratio=1.0)
    assert not trace.traced
    assert trace.traceparent.endswith("-00")


def test_the_ratio_is_kept() -> None:
    """Of the traces that begin here about the wanted part is kept, none of none and all of all."""
    for ratio, least, most in ((0.0, 0, 0), (0.3, 240, 360), (1.0, 1000, 1000)):
        kept = sum(begun(f"change-{number}", None, ratio).traced for number in range(1000))
        assert least <= kept <= most


@given(st.text(), st.text())
def test_ids_are_the_same_each_time_and_of_one_change_only(one: str, other: str) -> None:
    """Whoever begins the trace of a change begins the same; another change has another one."""
    trace = begun(one, None, 1.0)
    assert trace == begun(one, None, 1.0)
    assert WRITTEN.fullmatch(trace.traceparent)
    assert (trace.trace_id == begun(other, None, 1.0).trace_id) == (one == other)


@given(st.text())
def test_whatever_comes_is_read_or_left(text: str) -> None:
    """No text raises, and what is read is written as a trace."""
    trace = read_trace(text, text)
    assert trace is None or WRITTEN.fullmatch(trace.traceparent)
