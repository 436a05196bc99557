"""An audit has the same numbers on Ray as in one process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import raymetrics as rm
from tests.helpers.audit_world import UNEVEN, write_world

pytestmark = pytest.mark.usefixtures("ray_session")


def test_workers_change_no_number(tmp_path: Path) -> None:
    real, generated = str(tmp_path / "real"), str(tmp_path / "generated")
    write_world(Path(real), np.random.default_rng([7, 1]), 1200)
    write_world(Path(generated), np.random.default_rng([7, 2]), 1200, rates=UNEVEN)
    on_ray, here = (
        rm.audit(
            real=real, generated=generated, to=str(tmp_path / name), seeds=2, n=200, local=local
        )
        for name, local in (("ray", False), ("here", True))
    )
    assert on_ray.verdict == here.verdict
    assert [(r.label, r.value, r.spread) for r in on_ray.numbers] == [
        (r.label, r.value, r.spread) for r in here.numbers
    ]
