"""A set is continued by what it was begun with, or refused in words: one set, one generator.

Everything happens in this process, without Ray: what is made is not the question here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from raymetrics import user_code
from raymetrics.cli import main
from raymetrics.distributed.extraction.dry_run import plan_extraction
from raymetrics.distributed.extraction.extract import extract
from raymetrics.distributed.extraction.set_in_progress import Extraction
from raymetrics.distributed.session import session
from raymetrics.errors import SourceError, SpecMismatch
from raymetrics.shards.shard_set import open_shards
from raymetrics.studies.comparison import comparable_columns
from raymetrics.studies.match.request import make_match_request
from tests.conftest import write_set
from tests.helpers.user_modules import ModuleFolder

GENERATOR = """
from pathlib import Path
import numpy as np
import grown_layers

class Model:
    def __init__(self, ckpt="", run="", side="8"):
        self.weight = float(Path(ckpt).read_text()) if ckpt else 1.0
        self.side = int(side)

    def __call__(self, ids):
        noise = [np.random.default_rng(int(k)).random((3, self.side, self.side)) for k in ids]
        x = grown_layers.layer(self.weight * np.stack(noise))
        return (255 * x).clip(0, 255).astype(np.uint8)
"""
LAYERS = "def layer(x):\n    return x / 2\n"
FEATURES = """
from pathlib import Path
import numpy as np

def colors(images):
    return images.reshape(len(images), -1)[:, :12].astype(np.float32)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleFolder]:
    found = ModuleFolder(tmp_path, monkeypatch)
    found.write(grown_gen=GENERATOR, grown_layers=LAYERS, grown_features=FEATURES)
    with session(local=True):
        yield found


def grown(folder: ModuleFolder, samples: str, query: str = "", to: str = "set") -> Extraction:
    """As a new process would."""
    folder.forget()
    source = f"grown_gen:Model{query}"
    place = str(folder.path / to)
    return extract(source, "grown_features:colors", place, samples, shard_rows=8)


def files(folder: ModuleFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder.path / "set").iterdir()}


def test_a_checkpoint_that_was_overwritten_is_no_continuation(folder) -> None:
    """Its features were taken for those of the new one, and extended by them."""
    ckpt = folder.path / "latest.pt"
    ckpt.write_text("1.0")
    query = f"?ckpt={ckpt}"
    grown(folder, "0-9", query)
    before = files(folder)
    ckpt.write_text("0.5")
    for samples in ("0-9", "0-29"):
        with pytest.raises(
            SpecMismatch,
            match=r"the file .*latest\.pt that ckpt names has other contents.*another --to",
        ):
            grown(folder, samples, query)
    assert files(folder) == before
    ckpt.write_text("1.0")
    assert grown(folder, "0-29", query).rows == 20


def test_a_comment_is_no_other_generator(folder) -> None:
    first = grown(folder, "0-9")
    folder.write(grown_gen=f"# as in the paper\n{GENERATOR}", grown_features=f"#\n{FEATURES}")
    more = grown(folder, "0-29")
    assert (more.rows, more.shards.spec.fingerprint) == (20, first.shards.spec.fingerprint)
    assert more.note.startswith("grown_features.py has changed, grown_gen.py has changed since")
    assert "its samples have not" in more.note
    whole = grown(folder, "0-29", to="whole")
    assert whole.note == ""
    assert whole.shards.spec.fingerprint != first.shards.spec.fingerprint
    np.testing.assert_array_equal(
        more.shards.read("colors_features"), whole.shards.read("colors_features")
    )


def test_the_terminal_says_that_a_changed_file_is_continued(folder) -> None:
    grown(folder, "0-9")
    folder.write(grown_gen=f"# as in the paper\n{GENERATOR}")
    arguments = ["extract", "grown_gen:Model", "--extractor", "grown_features:colors"]
    done = CliRunner().invoke(
        main, [*arguments, "--to", str(folder.path / "set"), "--samples", "0-9"]
    )
    assert done.exit_code == 0, done.output
    assert "grown_gen.py has changed since the set was begun, and its samples have not" in (
        done.output
    )


CHANGES = {
    "its own file": (
        {"grown_gen": GENERATOR.replace("255 * x", "200 * x")},
        r"grown_gen\.py has changed, and sample 0 is another image \(colors_features, \d+% apart\)",
    ),
    "a module that it imports": (
        {"grown_layers": LAYERS.replace("/ 2", "/ 3")},
        r"grown_layers\.py, which grown_gen imports, has changed, and sample 0 is another image",
    ),
    "the extractor": (
        {"grown_features": FEATURES.replace("float32)", "float32) + 40")},
        r"grown_features\.py has changed, and sample \d+ has other features",
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_code_that_makes_other_samples_is_named(kind, folder) -> None:
    grown(folder, "0-9")
    before = files(folder)
    changed, message = CHANGES[kind]
    folder.write(**changed)
    for samples in ("0-9", "0-29"):
        with pytest.raises(SpecMismatch, match=f"{message}.*another --to"):
            grown(folder, samples)
    folder.forget()
    place = str(folder.path / "set")
    with pytest.raises(SpecMismatch, match=message):
        plan_extraction("grown_gen:Model", ["grown_features:colors"], place, "0-29", shard_rows=8)
    assert files(folder) == before


def test_the_last_sample_is_looked_at_too(folder) -> None:
    grown(folder, "0-9")
    folder.write(grown_gen=GENERATOR.replace("for k", "* (int(k) != 9) for k"))
    with pytest.raises(SpecMismatch, match="sample 9 is another image"):
        grown(folder, "0-9")


HIDDEN = GENERATOR.replace(
    "float(Path(ckpt).read_text()) if ckpt else 1.0", "float(Path(PATH).read_text())"
)


@pytest.mark.parametrize("spec", ["", '    spec = {"psi": 0.7}\n'])
def test_a_file_that_no_option_names_is_found_by_a_sample(spec, folder) -> None:
    """Also where the user's own spec leaves it out."""
    ckpt = folder.path / "weights.txt"
    ckpt.write_text("1.0")
    text = HIDDEN.replace("(PATH)", f"({str(ckpt)!r})").replace(
        "class Model:\n", f"class Model:\n{spec}"
    )
    folder.write(grown_gen=text)
    grown(folder, "0-9")
    ckpt.write_text("0.5")
    with pytest.raises(SpecMismatch, match="sample 0, made again, is not the one that .* holds"):
        grown(folder, "0-29")
    ckpt.write_text("1.0")
    assert grown(folder, "0-29").rows == 20


def test_a_spec_of_the_user_s_own_says_what_matters(folder) -> None:
    """An option may name a file that moves no pixel, such as a log."""
    text = GENERATOR.replace("float(Path(ckpt).read_text()) if ckpt else 1.0", "1.0")
    folder.write(grown_gen=text.replace("class Model:\n", "class Model:\n    spec = {}\n"))
    log = folder.path / "log.txt"
    log.write_text("1")
    grown(folder, "0-9", f"?ckpt={log}")
    log.write_text("2")
    assert grown(folder, "0-29", f"?ckpt={log}").note == ""


def test_a_folder_that_changes_and_moves_no_pixel_is_continued(folder) -> None:
    """As where a training run writes its logs, and the shards lie beside them."""
    run = folder.path / "run"
    run.mkdir()
    grown(folder, "0-9", f"?run={run}", to="run/shards")
    assert grown(folder, "0-9", f"?run={run}", to="run/shards").note == ""
    (run / "log.txt").write_text("loss")
    more = grown(folder, "0-29", f"?run={run}", to="run/shards")
    assert more.note.startswith(f"the folder {run} that run names has other contents since")
    assert more.rows == 20


def test_a_set_that_was_begun_without_such_digests_is_continued(folder, monkeypatch) -> None:
    ckpt = folder.path / "latest.pt"
    ckpt.write_text("1.0")
    with monkeypatch.context() as older:
        older.setattr(user_code, "option_digests", lambda options: {})
        old = grown(folder, "0-9", f"?ckpt={ckpt}")
    assert "files" not in old.shards.spec.generator
    more = grown(folder, "0-29", f"?ckpt={ckpt}")
    assert more.shards.spec.fingerprint == old.shards.spec.fingerprint
    ckpt.write_text("0.5")
    with pytest.raises(SpecMismatch, match=r"latest\.pt that ckpt names is new, and sample 0 is"):
        grown(folder, "0-39", f"?ckpt={ckpt}")


@pytest.mark.parametrize(("moved", "near"), [(1e-5, True), (1e-2, True), (0.2, False)])
def test_another_processor_is_no_other_network(moved, near, folder) -> None:
    """The last digits of features are those of a processor."""
    factor = folder.path / "factor"
    factor.write_text("1.0")
    text = FEATURES.replace(
        "np.float32)", f"np.float32) * float(Path({str(factor)!r}).read_text())"
    )
    folder.write(grown_features=text)
    grown(folder, "0-9")
    factor.write_text(str(1 + moved))
    if near:
        assert grown(folder, "0-29").rows == 20
        return
    with pytest.raises(SpecMismatch, match="17% apart"):
        grown(folder, "0-29")


def test_other_options_are_refused_as_before(folder) -> None:
    grown(folder, "0-9")
    with pytest.raises(SpecMismatch, match=r'generator\.options\.side: there null, asked for "4"'):
        grown(folder, "0-9", "?side=4")


def test_a_changed_image_folder_is_named(folder) -> None:
    from PIL import Image

    photos = folder.path / "photos"
    photos.mkdir()
    for i in range(3):
        Image.new("RGB", (8, 8), (40 * i,) * 3).save(photos / f"{i}.png")
    place = str(folder.path / "set")
    extract(str(photos), "grown_features:colors", place)
    Image.new("RGB", (8, 8), (7, 8, 9)).save(photos / "1.png")
    with pytest.raises(SpecMismatch, match=rf"images in {photos} have changed.*another --to"):
        extract(str(photos), "grown_features:colors", place)


def test_the_size_of_the_images_is_kept_and_told(folder) -> None:
    done = grown(folder, "0-9", "?side=6")
    assert done.shards.spec.image_size == (6, 6)
    shown = CliRunner().invoke(main, ["inspect", str(folder.path / "set")])
    assert "image size    6 x 6" in shown.output
    data = extract("mnist", "digits", str(folder.path / "mnist"), "0-9")
    assert data.shards.spec.image_size == (28, 28)


def test_sets_of_different_sizes_are_not_compared_unless_asked(folder) -> None:
    """A distance between images of 256 and of 64 pixels says nothing of the generator."""
    six, eight = (grown(folder, "0-9", f"?side={side}", to=side).shards for side in ("6", "8"))
    message = "are 8 x 8 pixels, those of .*/6 6 x 6, .*--any-size"
    with pytest.raises(SpecMismatch, match=message):
        comparable_columns(eight, six, None, None)
    assert comparable_columns(eight, six, None, None, any_size=True)
    assert comparable_columns(eight, eight, None, None)
    file = folder.path / "6" / "dataset.json"
    value = json.loads(file.read_text())
    del value["image_size"]
    file.write_text(json.dumps(value))  # as before sizes were kept
    assert comparable_columns(eight, open_shards(str(folder.path / "6")), None, None)


def test_a_match_of_other_sizes_is_refused_before_anything_is_made(folder) -> None:
    logits = FEATURES.replace("return ", 'return {"logits": ').rstrip() + "}\n"
    folder.write(grown_features=logits)
    grown(folder, "0-9", to="real")
    asked = {
        "real": str(folder.path / "real"), "generated": "grown_gen:Model?side=6",
        "to": str(folder.path / "matched"), "shards": None, "extractors": [], "classes": None,
        "n": 4, "max_draws": None, "first": None, "shard_rows": 8,
        "run_code": True,
    }  # fmt: skip
    with pytest.raises(SpecMismatch, match="8 x 8 pixels, .* 6 x 6"):
        make_match_request(**asked)
    assert make_match_request(**asked, any_size=True).dataset_spec.image_size == (6, 6)


def test_a_generator_gives_one_size(folder) -> None:
    """Units of a shard may come from different workers, and shards from different runs."""
    text = GENERATOR.replace("class Model:\n", "class Model:\n    trial = False\n")
    start = "def __call__(self, ids):\n"
    odd = text.replace(start, f"{start}        self.side = 8 if ids[0] < 8 else 6\n")
    folder.write(grown_gen=odd)
    with pytest.raises(SourceError, match="gave images of 6 x 6 for .*, and of 8 x 8 before"):
        grown(folder, "0-19")


def test_a_sample_that_raises_ends_the_trial_unless_it_may_be_left_out(folder) -> None:
    fails = "def __call__(self, ids):\n        assert 9 not in ids, 'no such latent'\n"
    folder.write(grown_gen=GENERATOR.replace("def __call__(self, ids):\n", fails))
    place = str(folder.path / "set")
    with pytest.raises(SourceError, match=r"failed on 3 sample ids .*no such latent"):
        grown(folder, "0-9")
    assert not Path(place).exists()
    done = extract("grown_gen:Model", "grown_features:colors", place, "0-9", max_errors=1)
    assert (done.rows, list(done.shards.left_out)) == (9, [9])


def test_inspection_of_a_set_that_does_not_say_its_size(tmp_path: Path) -> None:
    write_set(str(tmp_path), {"logits": np.zeros((3, 2), np.float32)})
    shown = CliRunner().invoke(main, ["inspect", str(tmp_path)])
    assert "image size    unknown" in shown.output
