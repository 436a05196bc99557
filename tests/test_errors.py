"""Errors about the request: one line, and the same after a journey through a worker."""

from __future__ import annotations

import pickle

import pytest

from raymetrics import errors
from raymetrics.errors import RaymetricsError, SourceError, SpecMismatch

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", KINDS)
def test_one_line_that_nobody_adds_to(kind: type[RaymetricsError]) -> None:
    error = kind("found x,\n  expected y")
    error.args = (error.args[0] + "\nadvice of Ray's",)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error) == "found x, expected y"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__
    for kind in KINDS:
        assert issubclass(kind, RaymetricsError)
        assert kind.__name__ in errors.__doc__
        assert kind.__doc__
    assert issubclass(SpecMismatch, errors.ShardError)
    assert not issubclass(SourceError, errors.ShardError)
