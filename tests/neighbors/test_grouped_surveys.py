"""Surveys without a group, of one pass, are the surveys of the samples that are left."""

from __future__ import annotations

import numpy as np
import pytest

from raymetrics.errors import NotEnoughData
from raymetrics.metrics import Convention, get_convention
from raymetrics.metrics.survey_needs import SurveyNeeds
from raymetrics.neighbors import survey_arrays
from raymetrics.neighbors.grouped_surveys import survey_without_groups
from raymetrics.statistics import assign_groups

GROUPS = 5


@pytest.mark.parametrize("engine", ["tiles", "tiles-full"])
@pytest.mark.parametrize(
    "convention", [Convention(k=[2, 4]), get_convention("prdc"), get_convention("nvidia")],
    ids=["own", "prdc", "nvidia"],
)  # fmt: skip
def test_surveys_are_those_of_the_other_samples(convention: Convention, engine: str) -> None:
    rng = np.random.default_rng(0)
    sides = {
        "real": rng.normal(size=(61, 3)).astype(np.float32),
        "generated": rng.normal(0.3, size=(48, 3)).astype(np.float32),
    }
    sides["generated"][:4] = sides["real"][:4]  # copies
    ids = {side: np.sort(rng.choice(1000, len(x), replace=False)) for side, x in sides.items()}
    surveys = survey_without_groups(
        **sides,
        real_ids=ids["real"],
        generated_ids=ids["generated"],
        groups=GROUPS,
        convention=convention,
        engine=engine,
    )
    for side, found in surveys.items():
        for g, survey in enumerate(found):
            left = dict(sides)
            left[side] = sides[side][assign_groups(ids[side], GROUPS) != g]
            needs = SurveyNeeds.of_convention(count=True)
            expected = survey_arrays(**left, convention=convention, needs=needs, engine=engine)
            np.testing.assert_array_equal(survey.real_radii, expected.real_radii)
            np.testing.assert_array_equal(survey.generated_radii, expected.generated_radii)
            for name in ("generated_in_real", "real_in_generated"):
                part, whole = getattr(survey, name), getattr(expected, name)
                np.testing.assert_array_equal(part.hits, whole.hits)
                np.testing.assert_array_equal(part.occupancy, whole.occupancy > 0)


def test_samples_without_neighbors_are_refused() -> None:
    x = np.zeros((10, 2), np.float32)
    with pytest.raises(NotEnoughData, match=r"10 real samples without each of 5 groups.* other 8"):
        survey_without_groups(
            real=x,
            generated=x,
            real_ids=np.arange(10),
            generated_ids=np.arange(10),
            groups=GROUPS,
            convention=Convention(k=[8]),
        )
