"""Names with options: taken apart into what they were made of."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raymetrics.errors import SourceError
from raymetrics.option_strings import format_options, parse_options


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("photos", "photos", {}),
        ("photos?size=256&skip=a%252C.png", "photos", {"size": "256", "skip": "a%2C.png"}),
        ("what?.zip", "what?.zip", {}),
        ("what?/photos?size=8", "what?/photos", {"size": "8"}),
        ("a?b=c.zip?", "a?b=c.zip", {}),
        ("s3://bucket/x.zip?exif=ignore", "s3://bucket/x.zip", {"exif": "ignore"}),
        ("vgg16?weights=/data/c++/w.pth", "vgg16", {"weights": "/data/c++/w.pth"}),
        ("sd?prompt=a cat", "sd", {"prompt": "a cat"}),
    ],
)
def test_options_follow_the_last_question_mark(text: str, name: str, options: dict) -> None:
    assert parse_options(text) == (name, options)


@given(
    name=st.text(min_size=1),
    options=st.dictionaries(st.text(min_size=1), st.text()),
)
def test_what_is_joined_comes_apart(name: str, options: dict[str, str]) -> None:
    try:
        plain = parse_options(name) == (name, {})
    except Exception:
        plain = False
    assume(options or plain or "?" in name)
    assert parse_options(format_options(name, options)) == (name, options)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x?size=8&size=9", "'size' of x is given twice"),
        ("x?flat=1&size", "'size' of x has no"),
        ("x?of=8&%6Ff=9", "'of' of x is given twice"),
    ],
)
def test_options_that_are_none(text: str, what: str) -> None:
    with pytest.raises(SourceError, match=what):
        parse_options(text, SourceError)
