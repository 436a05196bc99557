"""Neighbours among shard sets in parts: the answers of one search, and only what is missing."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import sources
from click.testing import CliRunner

from raymetrics.cli import main
from raymetrics.distributed import memory_limits, neighbors
from raymetrics.distributed.nearest_views import nearest_views
from raymetrics.distributed.neighbor_files import write_neighbor_file
from raymetrics.distributed.neighbors import survey_views
from raymetrics.errors import InsufficientResources, NotEnoughData, StorageError
from raymetrics.metrics import Convention, ManifoldSurvey, get_convention, survey_manifolds
from raymetrics.metrics.survey_needs import BallKind, Reach, SurveyNeeds
from raymetrics.neighbors import ENGINES
from raymetrics.shards.store import Store
from raymetrics.shards.view import Selection, View
from tests.conftest import write_set
from tests.helpers.exact_search import ExactSearch

COLUMN = "made_up_pre_logits"
PARTS = 120  # rows to a part: several parts on either side
ASKED = Convention(k=(1, 3, 5))
NEEDS = SurveyNeeds.of_convention(count=True, realism=True)


@pytest.fixture
def sides(tmp_path: Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Features of both sides, which are also shard sets "real" and "generated" under tmp_path;
    with duplicates across sides and across parts."""
    real = rng.normal(5, 1, (330, 12)).astype(np.float32)
    generated = rng.normal(5.1, 0.9, (250, 12)).astype(np.float32)
    generated[:20], generated[200:220], real[300:310] = real[:20], real[:20], real[:10]
    for name, features in (("real", real), ("generated", generated)):
        write_set(str(tmp_path / name), {"pre_logits": features}, shard_rows=50)
    return {"real": real, "generated": generated}


def views(folder: Path) -> dict[str, View]:
    return {name: View.from_shards(rm_open(folder / name)) for name in ("real", "generated")}


def rm_open(path: Path):
    from raymetrics.shards.shard_set import open_shards

    return open_shards(str(path))


def assert_same(found: ManifoldSurvey, expected: ManifoldSurvey) -> None:
    np.testing.assert_array_equal(found.real_radii, expected.real_radii)
    np.testing.assert_array_equal(found.generated_radii, expected.generated_radii)
    np.testing.assert_array_equal(found.generated_in_real.hits, expected.generated_in_real.hits)
    np.testing.assert_array_equal(
        found.generated_in_real.occupancy, expected.generated_in_real.occupancy
    )
    np.testing.assert_array_equal(
        found.generated_in_real.realism, expected.generated_in_real.realism
    )
    np.testing.assert_array_equal(found.real_in_generated.hits, expected.real_in_generated.hits)
    np.testing.assert_array_equal(
        found.real_in_generated.occupancy, expected.real_in_generated.occupancy
    )


def truth(sides: dict[str, np.ndarray], asked: Convention = ASKED) -> ManifoldSurvey:
    rounded = {side: asked.round_features(features) for side, features in sides.items()}
    return survey_manifolds(
        **rounded,
        ks=asked.ks,
        search=ExactSearch(),
        convention=asked,
        realism=True,
    )


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many cells each search had to find, whoever searched."""
    counts: list[int] = []
    for kind in (neighbors.LocalSearch, neighbors.ActorSearch):
        find_all = kind.find_all

        def counted(self, cells, cut, find_all=find_all) -> Iterator:
            counts.append(len(cells))
            return find_all(self, cells, cut)

        monkeypatch.setattr(kind, "find_all", counted)
    return counts


def test_in_memory_equals_arrays(sides, tmp_path) -> None:
    """And with no Ray at all."""
    found = survey_views(**views(tmp_path), column=COLUMN, convention=ASKED, needs=NEEDS)
    assert_same(found, truth(sides))
    assert found.engine == "tiles"


@pytest.mark.parametrize("engine", ENGINES)
def test_parts_equal_arrays(sides, tmp_path, monkeypatch, engine) -> None:
    """One after another in this process; on actors in the tests below."""
    monkeypatch.setattr(neighbors, "ActorSearch", neighbors.LocalSearch)
    found = survey_views(
        **views(tmp_path),
        column=COLUMN,
        convention=ASKED,
        needs=NEEDS,
        max_rows=PARTS,
        engine=engine,
    )
    assert_same(found, truth(sides))
    assert found.engine == engine


@pytest.mark.parametrize("name", ["prdc", "nvidia"])
def test_conventions(sides, tmp_path, name) -> None:
    asked = get_convention(name)
    found = survey_views(**views(tmp_path), column=COLUMN, convention=asked, needs=NEEDS)
    assert_same(found, truth(sides, asked))


FURTHER = SurveyNeeds(
    count=True,
    kinds=frozenset({BallKind(4, "open"), BallKind(2, clipped=True, sides=("real",))}),
    among_real=frozenset({BallKind(2, clipped=True, sides=("real",))}),
    nearest=frozenset({("real", 6)}),
    nearest_across=5,
    reaches=frozenset({Reach(3, 1.2)}),
)


@pytest.mark.parametrize("same", [False, True])
def test_all_that_metrics_need_in_parts(sides, tmp_path, monkeypatch, computed, same) -> None:
    """Equals that of arrays, also of a set against itself, and is kept."""
    monkeypatch.setattr(neighbors, "ActorSearch", neighbors.LocalSearch)
    both, features = views(tmp_path), dict(sides)
    if same:
        both["generated"], features["generated"] = both["real"], sides["real"].copy()
    asked = {"column": COLUMN, "convention": ASKED, "needs": FURTHER, "max_rows": PARTS}
    found = survey_views(**both, **asked)
    expected = survey_manifolds(
        **features, ks=ASKED.ks, search=ExactSearch(), convention=ASKED, needs=FURTHER
    )
    assert found.ks == ()
    for kind in FURTHER.kinds:
        for name in ("generated_in_real", "real_in_generated", "real_in_real"):
            one, other = (getattr(survey.by_kind[kind], name) for survey in (found, expected))
            assert (one is None) == (other is None)
            if one is not None:
                np.testing.assert_array_equal(one.hits, other.hits)
                np.testing.assert_array_equal(one.occupancy, other.occupancy)
    for name in ("distances", "distances_across"):
        for side in ("real", "generated"):
            one, other = (getattr(survey, name)[side] for survey in (found, expected))
            np.testing.assert_array_equal(one, other)
    (one, other) = (survey.misses[Reach(3, 1.2)] for survey in (found, expected))
    for products, true in zip(one, other, strict=True):
        np.testing.assert_allclose(products, true, rtol=1e-9)
    computed.clear()
    again = survey_views(**both, **asked)
    assert sum(computed) == len(neighbors.partition_view(both["real"], COLUMN, ASKED, PARTS)) * len(
        neighbors.partition_view(both["generated"], COLUMN, ASKED, PARTS)
    )  # the distances across are not kept
    np.testing.assert_array_equal(again.misses[Reach(3, 1.2)][0], one[0])


def test_the_first_samples_only(sides, tmp_path) -> None:
    some = {name: View.from_shards(view.shards, 130) for name, view in views(tmp_path).items()}
    found = survey_views(**some, column=COLUMN, convention=ASKED, needs=NEEDS)
    assert_same(found, truth({name: features[:130] for name, features in sides.items()}))


def test_a_set_against_itself(sides, tmp_path) -> None:
    """Own neighbours are others; but in another's balls a sample may be its own copy."""
    real = views(tmp_path)["real"]
    found = survey_views(real=real, generated=real, column=COLUMN, convention=ASKED, needs=NEEDS)
    assert_same(found, truth({"real": sides["real"], "generated": sides["real"]}))
    assert (found.generated_in_real.hits > 0).all()


@pytest.mark.usefixtures("ray_session")
def test_again_finds_only_what_is_missing(sides, tmp_path, computed, rng) -> None:
    asked = {"column": COLUMN, "convention": ASKED, "needs": NEEDS, "max_rows": PARTS}
    first = survey_views(**views(tmp_path), **asked)
    assert_same(first, truth(sides))
    assert computed == [10, 6, 12]  # every two parts of a set, and parts times parts
    computed.clear()
    assert_same(survey_views(**views(tmp_path), **asked), first)
    assert computed == [0]  # the radii are not even looked for

    cells = [
        path
        for path in (tmp_path / "generated" / "neighbours").glob("cell-*")
        if "base_hits" in np.load(path).files  # not those that radii were merged from
    ]
    assert len(cells) == 12
    cells[3].unlink()
    cells[5].write_bytes(cells[5].read_bytes()[:100])
    next((tmp_path / "real" / "neighbours").glob("radii-*")).unlink()
    computed.clear()
    assert_same(survey_views(**views(tmp_path), **asked), first)
    assert sum(computed) == 2

    # The radii of the real set serve another generated set; nothing else does.
    other = rng.normal(5, 1, (250, 12)).astype(np.float32)
    write_set(str(tmp_path / "other"), {"pre_logits": other}, shard_rows=50)
    computed.clear()
    real, generated = views(tmp_path)["real"], View.from_shards(rm_open(tmp_path / "other"))
    found = survey_views(real=real, generated=generated, **asked)
    assert computed == [6, 12]
    assert_same(found, truth({"real": sides["real"], "generated": other}))


@pytest.mark.usefixtures("ray_session")
def test_actors_find_the_nearest_samples(sides, tmp_path, computed) -> None:
    """One way, with their rows; again from the files."""
    both = views(tmp_path)
    asked = {"column": COLUMN, "k": 4, "max_rows": PARTS}
    expected = ExactSearch().nearest_neighbors(sides["generated"], sides["real"], 4)
    for _ in range(2):
        found = nearest_views(queries=both["generated"], base=both["real"], **asked)
        np.testing.assert_array_equal(found.distances, expected.distances)
        np.testing.assert_array_equal(found.rows, expected.rows)
    assert computed == [12, 0]
    assert neighbors.false_files(both["generated"].shards) == []


@pytest.mark.slow
@pytest.mark.usefixtures("ray_session")
def test_an_actor_that_dies_is_started_again(sides, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(neighbors, "Searcher", sources.DyingSearcher)
    found = survey_views(
        **views(tmp_path), column=COLUMN, convention=ASKED, needs=NEEDS, max_rows=PARTS
    )
    assert (tmp_path / "real" / "died").exists()
    assert_same(found, truth(sides))


def test_a_set_that_is_only_read(sides, tmp_path, monkeypatch) -> None:
    def refuse(self: Store, name: str, data: bytes) -> None:
        raise StorageError("read-only")

    monkeypatch.setattr(Store, "replace", refuse)
    found = survey_views(**views(tmp_path), column=COLUMN, convention=ASKED, needs=NEEDS)
    assert_same(found, truth(sides))
    assert not (tmp_path / "real" / "neighbours").exists()


def test_parts_are_whole_shards_of_at_most_so_many_rows(sides, tmp_path) -> None:
    view = views(tmp_path)["real"]
    cut = neighbors.partition_view(view, COLUMN, ASKED, 120)
    assert [part.rows for part in cut] == [100, 100, 100, 30]
    assert [part.first_row for part in cut] == [0, 100, 200, 300]
    assert len({part.digest for part in cut}) == 4
    assert [part.rows for part in neighbors.partition_view(view, COLUMN, ASKED, 10)] == [50] * 6 + [
        30
    ]
    np.testing.assert_array_equal(cut[1].read(), sides["real"][100:200])


def test_too_few_samples_and_too_little_memory(sides, tmp_path, monkeypatch) -> None:
    both = views(tmp_path)
    few = View.from_shards(both["generated"].shards, 5)
    with pytest.raises(NotEnoughData, match="5 generated samples; it takes at least 6"):
        survey_views(real=both["real"], generated=few, column=COLUMN, convention=ASKED)
    memory = psutil.virtual_memory()._replace(total=1000)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(InsufficientResources, match="12 dimensions have 0.0 GB.*takes 1024"):
        survey_views(**both, column=COLUMN, convention=ASKED)


@pytest.mark.parametrize(
    ("gigabytes", "workers", "dimension", "rows"),
    [
        (24, (2, 1.0, 0.0), 2048, 2**16),  # two actors on a machine
        (256, (8, 12.0, 1.0), 2048, 2**17),  # actors with a GPU each: their memory
        (2048, (8, 12.0, 1.0), 4096, 2**17),  # that of their GPU, 13 GB
    ],
)
def test_max_base_rows(monkeypatch, gigabytes, workers, dimension, rows) -> None:
    memory = psutil.virtual_memory()._replace(total=gigabytes * 1e9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(memory_limits, "search_resources", lambda: workers)
    assert memory_limits.max_base_rows(dimension) == rows


@pytest.mark.parametrize(
    ("workers", "rows", "expected"),
    [
        ((1, 2.0, 0.0), 50_000, 2**16),  # all of them at once
        ((1, 2.0, 0.0), 10**6, 2**16),  # a part that is done in minutes
        ((8, 8.0, 0.0), 50_000, 2**14),  # so few that all actors have work
        ((1, 12.0, 1.0), 10**6, 2**18),  # what a GPU of unknown size holds
    ],
)
def test_partition_rows(monkeypatch, workers, rows, expected) -> None:
    memory = psutil.virtual_memory()._replace(total=256e9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(memory_limits, "search_resources", lambda: workers)
    assert memory_limits.partition_rows(2048, rows) == expected


@pytest.fixture
def kept_radii(sides, tmp_path, monkeypatch) -> Path:
    """The file of the real side's radii, kept by an evaluation."""
    survey_views(**views(tmp_path), column=COLUMN, convention=ASKED, needs=NEEDS)
    (file,) = (tmp_path / "real" / "neighbours").glob("radii-*")
    return file


def poison(file: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Writes false distances, under a digest that is right."""
    distances = change(np.load(file)["distances"].copy())
    write_neighbor_file(Store(str(file.parent)), file.name, {"distances": distances})


def larger(d: np.ndarray) -> np.ndarray:
    return 1000 * d


def one_giant(d: np.ndarray) -> np.ndarray:
    d[17] *= 100
    return d


def nan(d: np.ndarray) -> np.ndarray:
    return np.full_like(d, np.nan)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (larger, "not those of the samples"),
        (one_giant, "not those of the samples"),
        (nan, "not numbers of at least 0"),
        (lambda d: -d, "not numbers of at least 0"),
        (lambda d: d[:, ::-1], "not numbers of at least 0 that ascend"),
        (lambda d: np.full_like(d, np.inf), "infinite"),
        (lambda d: d[:-1], r"holds no distances float64 \[330, 5\]"),
        (lambda d: d.astype(np.float32), "holds no distances float64"),
    ],
)
def test_false_radii_are_found_again(sides, tmp_path, kept_radii, caplog, change, words) -> None:
    """Though their digest is right; a line says so, and they are replaced by the true ones."""
    true = np.load(kept_radii)["distances"]
    poison(kept_radii, change)
    assert neighbors.false_files(rm_open(tmp_path / "real")) == [kept_radii.name]
    found = survey_views(**views(tmp_path), column=COLUMN, convention=ASKED, needs=NEEDS)
    assert_same(found, truth(sides))
    (line,) = caplog.messages
    assert re.search(f"{kept_radii.name} is not used and is made again: .*{words}", line)
    np.testing.assert_array_equal(np.load(kept_radii)["distances"], true)
    assert neighbors.false_files(rm_open(tmp_path / "real")) == []


def damaged(file: Path) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, distances=1000 * np.load(file)["distances"])
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (damaged, "damaged .*digest"),  # no digest
        (lambda file: damaged(file).replace(b"distances", b"distancez"), "damaged"),
        (lambda file: file.read_bytes()[:200], "damaged"),
        (lambda _: b"", "damaged"),
    ],
)
def test_damaged_files_are_found_again(sides, tmp_path, kept_radii, caplog, write, words) -> None:
    kept_radii.write_bytes(write(kept_radii))
    done = CliRunner().invoke(main, ["inspect", str(tmp_path / "real"), "--verify"])
    assert done.exit_code == 2
    assert re.search(f"1 files in .*neighbours .*{kept_radii.name}; remove them", done.stderr)
    found = survey_views(**views(tmp_path), column=COLUMN, convention=ASKED, needs=NEEDS)
    assert_same(found, truth(sides))
    (line,) = caplog.messages
    assert re.search(f"{kept_radii.name} is not used and is made again: .*{words}", line)


def test_a_file_under_another_name_is_not_used(sides, tmp_path, kept_radii, caplog) -> None:
    (generated,) = (tmp_path / "generated" / "neighbours").glob("radii-*")
    kept_radii.write_bytes(generated.read_bytes())
    found = survey_views(**views(tmp_path), column=COLUMN, convention=ASKED, needs=NEEDS)
    assert_same(found, truth(sides))
    assert "not the ones that were written" in caplog.text


@pytest.mark.parametrize("name", ["raymetrics", "nvidia", "prdc"])
def test_true_radii_are_used(sides, tmp_path, computed, caplog, name) -> None:
    """Of samples that stand there several times too, whose neighbors are their copies."""
    both = views(tmp_path)
    drawn = np.sort(np.random.default_rng(3).integers(250, size=300))
    both["generated"] = View.from_shards(
        both["generated"].shards, selection=Selection.from_ids(drawn)
    )
    asked = {"column": COLUMN, "convention": get_convention(name)}
    first = survey_views(**both, **asked)
    computed.clear()
    assert_same(survey_views(**both, **asked), first)
    assert computed == [0]  # not even what lies in whose balls
    assert caplog.messages == []
    assert neighbors.false_files(both["real"].shards) == []


def test_false_cells_are_found_again(sides, tmp_path, computed, caplog) -> None:
    asked = {"column": COLUMN, "convention": ASKED, "needs": NEEDS}
    first = survey_views(**views(tmp_path), **asked)
    (cell,) = (tmp_path / "generated" / "neighbours").glob("cell-*")
    true = dict(np.load(cell))
    store = Store(str(cell.parent))
    for name, wrong in {
        "base_hits": true["base_hits"] + 1000,
        "queries_hits": true["queries_hits"][:, :1],
        "base_occupancy": true["base_occupancy"] + 1000,
        "queries_realism": np.full(330, np.nan),
    }.items():
        false = {key: array for key, array in true.items() if key != "digest"}
        write_neighbor_file(store, cell.name, {**false, name: wrong})
        computed.clear()
        assert_same(survey_views(**views(tmp_path), **asked), first)
        assert computed == [1]
        assert name in caplog.messages[-1]
