"""Everything without Ray, as `Resources(local=True)`, `local=True` and `--local` ask for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import raymetrics as rm
from raymetrics.cli import main
from raymetrics.distributed.extraction.dry_run import plan_extraction
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.fold import map_in_order
from raymetrics.distributed.resources import Resources
from raymetrics.distributed.session import is_local, session, shared_session, uses_ray
from raymetrics.errors import SampleRangeError
from raymetrics.studies.evaluate import evaluate
from raymetrics.studies.match.draw import draw_matched
from raymetrics.studies.reweight.optimize import reweight_shards

pytestmark = pytest.mark.usefixtures("refuse_ray")

LOCAL = Resources(local=True)


@pytest.fixture(scope="module")
def folder(refuse_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sets")
    extract("mnist", "digits", str(folder / "real"), "0-79", resources=LOCAL)
    extract("digits", "digits", str(folder / "generated"), "0-119", shard_rows=50, resources=LOCAL)
    return folder


def sides(folder: Path) -> dict[str, str]:
    return {"real": str(folder / "real"), "generated": str(folder / "generated")}


def test_numbers(folder: Path) -> None:
    results = evaluate(**sides(folder), metrics=["fid", "pr"], any_size=True, local=True)
    assert all(np.isfinite(result.value) for result in results)


def test_a_match(folder: Path, tmp_path: Path) -> None:
    result = draw_matched(
        real=str(folder / "real"), generated="digits", to=str(tmp_path), n=20, shard_rows=20,
        run_code=True, any_size=True, resources=LOCAL,
    )  # fmt: skip
    assert result.complete
    again = draw_matched(
        real=str(folder / "real"), generated="digits", to=str(tmp_path), n=20, shard_rows=20,
        run_code=True, any_size=True, resources=LOCAL,
    )  # fmt: skip
    assert again.shards_made == 0
    np.testing.assert_array_equal(again.sample_ids, result.sample_ids)


def test_weights(folder: Path, tmp_path: Path) -> None:
    weights = reweight_shards(**sides(folder), to=str(tmp_path), any_size=True, local=True)
    assert weights.converged


def test_studies_start_no_ray_anywhere(folder: Path, tmp_path: Path) -> None:
    """Neither where they draw, extract and search, nor where they compute numbers of that."""
    both = {**sides(folder), "any_size": True}
    matched = rm.match(
        **both, to=str(tmp_path / "match"), n=20, shard_rows=20, resources=LOCAL, run_code=True
    )
    assert matched.numbers
    drawn = rm.reweight(**both, to=str(tmp_path / "weights"), seeds=2, local=True)
    assert drawn.numbers
    assert rm.realism(**both, to=str(tmp_path / "realism"), local=True).results
    paths = rm.interpolate(
        **both, to=str(tmp_path / "paths"), paths=2, resources=LOCAL, run_code=True
    )
    assert paths.results


def test_an_option_of_verbs(folder: Path) -> None:
    words = ["--real", str(folder / "real"), "--generated", str(folder / "generated")]
    line = ["evaluate", *words, "--metrics", "fid", "--any-size", "--local"]
    done = CliRunner().invoke(main, line, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert not is_local()


def test_sessions_inside_of_a_local_one_are_local() -> None:
    with session(local=True), shared_session(), session():
        assert is_local()
        assert not uses_ray()
    assert not is_local()


def test_a_map_in_order() -> None:
    with session(local=True):
        assert [*map_in_order(pow, [1, 2, 3], 2)] == [1, 4, 9]


def test_a_plan(folder: Path, tmp_path: Path) -> None:
    plan = str(plan_extraction("digits", ["digits"], str(tmp_path), "0-9", resources=LOCAL))
    assert "this process: 1 x " in plan
    assert "Ray" not in plan


@pytest.mark.parametrize(
    "workers", [{"actors": 2}, {"fused": True}, {"generators": 1}, {"gpus": 1}]
)
def test_no_process_has_workers(workers: dict[str, int]) -> None:
    (name,) = workers
    with pytest.raises(SampleRangeError, match=f"without workers; leave {name} out"):
        Resources(local=True, **workers)  # type: ignore[arg-type]
