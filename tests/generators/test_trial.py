"""A user's own generator is tried before anything is begun: images depend on their ids alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from raymetrics.errors import SourceError
from raymetrics.generators import open_source
from raymetrics.generators.digits import Digits
from raymetrics.generators.trial import try_out
from tests.helpers.user_modules import ModuleFolder

CPU = torch.device("cpu")
BEGIN = """
import numpy as np, torch

def images(noise):
    return (128 + 40 * np.asarray(noise)).clip(0, 255).astype(np.uint8)

def seeded(k):
    return np.random.default_rng(int(k)).standard_normal((3, 8, 8))
"""

SPOILED = {
    "the same seed in every worker": """
class Model:
    def __init__(self):
        torch.manual_seed(3)
    def __call__(self, ids):
        return images(torch.randn(len(ids), 3, 8, 8))
""",
    "one seed for all calls": """
def Model(ids):
    return images(np.random.default_rng(0).standard_normal((len(ids), 3, 8, 8)))
""",
    "a seed for the batch": """
def Model(ids):
    return images(np.random.default_rng(int(ids[0])).standard_normal((len(ids), 3, 8, 8)))
""",
    "no seed": """
def Model(ids):
    return images(np.random.default_rng().standard_normal((len(ids), 3, 8, 8)))
""",
    "statistics of the batch": """
def Model(ids):
    x = np.stack([seeded(k) for k in ids])
    return images((x - x.mean()) / x.std())
""",
    "weights that are drawn": """
class Model:
    def __init__(self):
        self.weights = np.random.default_rng().standard_normal((3, 8, 8))
    def __call__(self, ids):
        return images(np.stack([seeded(k) * self.weights for k in ids]))
""",
    "how often it was called": """
class Model:
    calls = 0
    def __call__(self, ids):
        self.calls += 1
        return images(np.stack([seeded(k + 1000 * self.calls) for k in ids]))
""",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleFolder:
    return ModuleFolder(tmp_path, monkeypatch)


def tried(folder: ModuleFolder, text: str, samples: range = range(20)) -> tuple[int, int] | None:
    folder.write(tried_gen=BEGIN + text)
    return try_out(open_source("tried_gen:Model", CPU), samples)


@pytest.mark.parametrize("kind", SPOILED)
@pytest.mark.parametrize("samples", [range(20), range(7, 9), range(5, 6)], ids=str)
def test_images_that_depend_on_more_than_their_ids(kind, samples, folder) -> None:
    message = (
        r"image \d+ of tried_gen:Model depends on more than its id: asked for again .*default_rng"
    )
    with pytest.raises(SourceError, match=message):
        tried(folder, SPOILED[kind], samples)


def test_what_an_object_draws_when_it_is_made_is_told_apart(folder) -> None:
    with pytest.raises(SourceError, match="by an object made anew.*whatever else the class draws"):
        tried(folder, SPOILED["weights that are drawn"])


SOUND = "def Model(ids):\n    return images(np.stack([seeded(k) for k in ids]))\n"


def test_seeded_noise_is_taken_and_the_size_is_told(folder) -> None:
    assert tried(folder, SOUND) == (8, 8)
    assert tried(folder, SOUND, range(4, 5)) == (8, 8)
    ends = SOUND + "Model.length = 1\n"
    assert tried(folder, ends, range(1)) == (8, 8)
    classed = SOUND + "Model.labels = lambda ids: ids % 3\n"
    assert tried(folder, classed) == (8, 8)


@pytest.mark.parametrize(("levels", "sound"), [(1, True), (2, True), (3, False)])
def test_rounding_in_another_batch_is_no_other_image(levels, sound, folder) -> None:
    text = f"""
def Model(ids):
    return images(np.zeros((len(ids), 3, 8, 8))) + np.uint8({levels} * (len(ids) > 2))
"""
    if sound:
        assert tried(folder, text) == (8, 8)
        return
    with pytest.raises(SourceError, match="up to 3 of 255 grey levels apart"):
        tried(folder, text)


def test_labels_and_latents_are_tried_too(folder) -> None:
    labels = SOUND + "Model.labels = lambda ids: np.arange(len(ids))\n"
    with pytest.raises(SourceError, match="the labels of tried_gen:Model depend on more"):
        tried(folder, labels)
    latent = """
class Model:
    def __call__(self, ids):
        return images(np.stack([seeded(k) for k in ids]))
    def draw(self, ids):
        return np.random.default_rng(0).standard_normal((len(ids), 4))
    def map(self, z, labels):
        return z
    def synthesize(self, w):
        return images(np.zeros((len(w), 3, 8, 8)))
"""
    with pytest.raises(SourceError, match="the latents of tried_gen:Model depend on more"):
        tried(folder, latent)
    with pytest.raises(SourceError, match="the latents of tried_gen:Model depend on more"):
        try_out(open_source("tried_gen:Model?truncate=truncate-z:0.5", CPU), range(20))


WRONG = {
    "def Model(ids):\n    return images(np.zeros((1, 3, 8, 8)))\n": (
        r"gave uint8 \[1, 3, 8, 8\] for 3 sample ids, expected uint8 \[3, 3, height, width\]; give "
        "one image for each"
    ),
    "def Model(ids):\n    return images(np.zeros((len(ids), 8, 8, 3)))\n": "channels come last",
    "def Model(ids):\n    return images(np.zeros((len(ids), 1, 8, 8)))\n": "repeat the grey",
    "def Model(ids):\n    return np.zeros((len(ids), 3, 8, 8))\n": "by a rule .*unit-truncate",
    "def Model(ids):\n    return np.zeros((len(ids), 3, 0, 0), np.uint8)\n": r"\[3, 3, 0, 0\]",
    "def Model(ids):\n    return np.zeros((len(ids), 3, 4 + ids[0], 5), np.uint8)\n": (
        "gave images of 20 x 5 for .*, and of 4 x 5 before; give all of them one size"
    ),
    "class Model(torch.nn.Module):\n    def forward(self, z):\n        return z.tanh()\n": (
        r"nn.Module, which takes latents.*torch.jit.script.*network.ts\?z=512"
    ),
    "def Model(ids):\n    raise SystemExit(0)\n": r"failed on 3 .*sys.exit\(0\) .*tried_gen.py",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_breaks_the_contract_is_found(text, folder) -> None:
    with pytest.raises(SourceError, match=WRONG[text]):
        tried(folder, text, range(17))


def test_a_network_that_takes_sample_ids_is_taken(folder) -> None:
    network = "class Model(torch.nn.Module):\n    def forward(self, ids):\n"
    body = "        return images(np.stack([seeded(k) for k in ids]))\n"
    assert tried(folder, network + body) == (8, 8)


def test_only_a_user_s_own_generator_is_tried_and_only_where_it_can_be(folder, monkeypatch) -> None:
    assert tried(folder, SPOILED["no seed"] + "Model.trial = False\n") is None
    calls: list[np.ndarray] = []
    monkeypatch.setattr(Digits, "__call__", lambda self, ids: calls.append(ids))
    assert try_out(open_source("digits", CPU), range(10)) is None
    assert not calls


def test_one_object_at_a_time(folder) -> None:
    """What is made anew takes the place of the object before, as two may not fit."""
    text = """
class Model:
    alive = 0
    def __init__(self):
        assert Model.alive == 0
        Model.alive += 1
    def __del__(self):
        Model.alive -= 1
    def __call__(self, ids):
        return images(np.stack([seeded(k) for k in ids]))
"""
    assert tried(folder, text) == (8, 8)


def test_the_images_are_those_of_the_ids_afterwards(folder) -> None:
    folder.write(tried_gen=BEGIN + SOUND)
    generator = open_source("tried_gen:Model", CPU)
    before = generator(np.arange(5))
    try_out(generator, range(5))
    np.testing.assert_array_equal(generator(np.arange(5)), before)
