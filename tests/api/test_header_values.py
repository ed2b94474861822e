"""Ranges, entity tags and Accept headers, as pure functions, over everything that a header may hold."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exposr_api.answers.conditional import UnsatisfiableRangeError, matches_any, matches_strongly, requested_range
from exposr_api.answers.negotiation import prefers_prometheus

TAG = '"abc"'
HEADERS = st.text(st.characters(max_codepoint=255), max_size=60)
RANGE_LIKE = st.from_regex(r"\A(bytes|Bytes|lines)= ?[0-9]{0,6}-?[0-9]{0,6}(,[0-9]{1,3}-)?\Z")
NUMBERS = st.integers(0, 200)


@settings(deadline=None)
@given(header=HEADERS | RANGE_LIKE, size=NUMBERS)
def test_a_range_is_inside_the_file_or_none_or_refused(header: str, size: int) -> None:
    try:
        found = requested_range(header, None, TAG, size)
    except UnsatisfiableRangeError:
        return
    assert found is None or 0 <= found.start < found.stop <= size


@settings(deadline=None)
@given(first=NUMBERS, last=NUMBERS, size=st.integers(1, 200))
def test_first_and_last_are_both_included(first: int, last: int, size: int) -> None:
    header = f"bytes={first}-{last}"
    if last < first:
        assert requested_range(header, None, TAG, size) is None
    elif first >= size:
        with pytest.raises(UnsatisfiableRangeError):
            requested_range(header, None, TAG, size)
    else:
        found = requested_range(header, None, TAG, size)
        assert found is not None
        assert bytes(range(size))[found.start : found.stop] == bytes(range(first, min(last + 1, size)))


@settings(deadline=None)
@given(count=st.integers(1, 300), size=st.integers(1, 200))
def test_a_suffix_is_the_end_of_the_file(count: int, size: int) -> None:
    found = requested_range(f"bytes=-{count}", None, TAG, size)
    assert found is not None
    assert bytes(range(size))[found.start : found.stop] == bytes(range(size))[-count:]


@settings(deadline=None)
@given(if_range=HEADERS)
def test_a_resume_of_anything_but_these_bytes_starts_again(if_range: str) -> None:
    found = requested_range("bytes=1-", if_range, TAG, 10)
    assert (found is not None) == (if_range.strip() == TAG)


@settings(deadline=None)
@given(header=HEADERS)
def test_tags_match_only_when_they_are_named(header: str) -> None:
    if matches_any(header, TAG):
        assert TAG in header or header.strip() == "*"
    if matches_strongly(header, TAG):
        assert TAG in header or header.strip() == "*"


def test_without_the_header_nothing_is_known_and_anything_may_be_expected() -> None:
    assert not matches_any(None, TAG)
    assert matches_strongly(None, TAG)


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain",
        "text/plain;version=0.0.4",
        "TEXT/PLAIN",
        "text/*",
        "application/openmetrics-text",
        "application/json;q=0.1, text/plain;q=0.2",
        "application/json;q=0, */*",
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1",  # Prometheus 3
    ],
)
def test_who_prefers_text_gets_prometheus(accept: str) -> None:
    assert prefers_prometheus(accept)


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",  # curl, requests
        "application/json",
        "application/json, text/plain, */*",  # axios
        "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8",  # browsers
        "text/plain;q=0",
        "text/plain;q=nonsense",
        "text/plain;q=nan",
        "application/*, text/plain;q=0.9",
        ";;;,,,",
    ],
)
def test_everybody_else_gets_json(accept: str | None) -> None:
    assert not prefers_prometheus(accept)


@settings(deadline=None)
@given(accept=HEADERS)
def test_no_accept_header_is_too_odd(accept: str) -> None:
    prefers_prometheus(accept)
