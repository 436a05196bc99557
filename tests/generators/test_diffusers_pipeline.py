"""Pipelines of diffusers, tiny ones with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raymetrics.errors import SourceError
from raymetrics.generators import absolute_source, diffusers_pipeline
from raymetrics.generators.diffusers_pipeline import DiffusersPipeline
from raymetrics.generators.network_files import _last_network

CPU = torch.device("cpu")
CAT, DOG = {"prompt": "a cat"}, {"prompt": "a dog"}


@pytest.fixture(scope="module")
def diffusers() -> Any:
    return pytest.importorskip(
        "diffusers", reason="the optional library diffusers is not installed"
    )


@pytest.fixture(scope="module")
def ddpm(diffusers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 8 x 8 from nothing but noise."""
    torch.manual_seed(5)
    network = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("pipelines") / "tiny"
    pipeline = diffusers.DDPMPipeline(network, diffusers.DDPMScheduler())
    pipeline.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def dit(diffusers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 8 x 8 of a thousand classes."""
    torch.manual_seed(6)
    transformer = diffusers.DiTTransformer2DModel(
        sample_size=4, num_layers=1, attention_head_dim=4, num_attention_heads=2, in_channels=4,
        out_channels=8, norm_num_groups=4,
    )  # fmt: skip
    for parameter in transformer.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 4), norm_num_groups=2, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("pipelines") / "classes"
    pipeline = diffusers.DiTPipeline(transformer, vae, diffusers.DDIMScheduler())
    pipeline.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def text(diffusers: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of 8 x 8 of a text, whose words are bytes."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    tokenizer = transformers.CLIPTokenizer(
        {word: i for i, word in enumerate(words)}, [], model_max_length=8
    )
    torch.manual_seed(7)
    encoder = transformers.CLIPTextModel(
        transformers.CLIPTextConfig(
            vocab_size=len(words), hidden_size=8, intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=2, max_position_embeddings=8, bos_token_id=0, eos_token_id=1,
            pad_token_id=1,
        )
    )  # fmt: skip
    unet = diffusers.UNet2DConditionModel(
        sample_size=4, block_out_channels=(8, 8), norm_num_groups=4, layers_per_block=1,
        cross_attention_dim=8, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip
    vae = diffusers.AutoencoderKL(
        block_out_channels=(4, 4), norm_num_groups=2, layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    for parameter in [*encoder.parameters(), *unet.parameters()]:
        torch.nn.init.normal_(parameter, std=0.2)
    path = tmp_path_factory.mktemp("pipelines") / "text"
    diffusers.StableDiffusionPipeline(
        vae, encoder, tokenizer, unet, diffusers.DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(path)  # fmt: skip
    return path


def test_an_image_depends_on_its_id_alone(ddpm: Path, device: torch.device) -> None:
    generator = DiffusersPipeline(str(ddpm), device, steps="3")
    ids = np.array([107, 3, 8, 9, 1000])
    together = generator(ids)
    assert (together.dtype, together.shape) == (np.uint8, (5, 3, 8, 8))
    for i, k in enumerate(ids):
        np.testing.assert_array_equal(generator(np.array([k]))[0], together[i])
    assert len({image.tobytes() for image in together}) == 5
    again = DiffusersPipeline(str(ddpm), device, steps=3)
    assert (again.spec, again.quick_fingerprint) == (generator.spec, generator.quick_fingerprint)
    np.testing.assert_array_equal(again(ids), together)
    assert (generator.name, generator.length, generator.labels(ids)) == ("tiny", None, None)


def test_a_sample_is_what_the_pipeline_makes_of_its_seed(
    ddpm: Path, diffusers: Any, device: torch.device
) -> None:
    pipeline = diffusers.DDPMPipeline.from_pretrained(ddpm)
    pipeline.set_progress_bar_config(disable=True)
    results = pipeline(generator=torch.Generator().manual_seed(107), num_inference_steps=3)
    expected = np.asarray(results.images[0]).transpose(2, 0, 1)
    actual = DiffusersPipeline(str(ddpm), device, steps=3)(np.array([107]))[0]
    assert np.abs(actual.astype(int) - expected).max() <= 1


def test_texts(text: Path, diffusers: Any) -> None:
    ids = np.array([107, 3])
    options = {"steps": 2, "guidance": "3"}
    cats = DiffusersPipeline(str(text), CPU, **CAT, **options)(ids)
    assert (cats.dtype, cats.shape) == (np.uint8, (2, 3, 8, 8))
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(text)
    pipeline.set_progress_bar_config(disable=True)
    results = pipeline(
        "a cat", generator=torch.Generator().manual_seed(107), num_inference_steps=2,
        guidance_scale=3,
    )  # fmt: skip
    expected = np.asarray(results.images[0]).transpose(2, 0, 1)
    assert np.abs(cats[0].astype(int) - expected).max() <= 1
    for others in (DOG | options, CAT | options | {"guidance": 6}):
        assert (DiffusersPipeline(str(text), CPU, **others)(ids) != cats).any(axis=(1, 2, 3)).all()
    with pytest.raises(ValueError, match=r"StableDiffusionPipeline takes text: give one as \?pro"):
        DiffusersPipeline(str(text), CPU, **options)


def test_classes(dit: Path) -> None:
    ids = np.arange(30)
    drawn, fixed = (
        DiffusersPipeline(str(dit), CPU, steps=2, classes="3"),
        {"steps": 2, "label": "1"},
    )
    labels = drawn.labels(ids)
    assert sorted(set(labels)) == [0, 1, 2]
    pipe = DiffusersPipeline(str(dit), CPU, **fixed)
    assert pipe.labels(ids[:2]).tolist() == [1, 1]
    same = (pipe(ids[:8]) == drawn(ids[:8])).all(axis=(1, 2, 3))
    np.testing.assert_array_equal(same, labels[:8] == 1)


def test_the_spec_covers_all_that_changes_pixels(ddpm: Path, dit: Path) -> None:
    results = [DiffusersPipeline(str(ddpm), CPU), DiffusersPipeline(str(ddpm), CPU, steps=2)]
    results += [
        DiffusersPipeline(str(dit), CPU, label=1),
        DiffusersPipeline(str(dit), CPU, classes=3),
    ]
    results += [DiffusersPipeline(str(dit), CPU, label=1, guidance="2")]
    for what in ([pipe.spec for pipe in results], [pipe.quick_fingerprint for pipe in results]):
        assert all(a != b for i, a in enumerate(what) for b in what[:i])
    before = DiffusersPipeline(str(ddpm), CPU).spec
    (ddpm / "scheduler" / "notes.json").write_text("{}")
    assert DiffusersPipeline(str(ddpm), CPU).spec != before


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"steps": "many"}, "invalid literal"),
        ({"prompt": "a cat"}, "DDPMPipeline takes no prompt; it takes batch_size, generator"),
        ({"label": "1"}, "DDPMPipeline takes no label and no classes"),
    ],
)
def test_options(ddpm: Path, options: dict[str, str], what: str) -> None:
    with pytest.raises(ValueError, match=what):
        DiffusersPipeline(str(ddpm), CPU, **options)


def test_a_pipeline_of_classes_needs_them(dit: Path) -> None:
    with pytest.raises(ValueError, match=r"DiTPipeline needs \?label=... or \?classes="):
        DiffusersPipeline(str(dit), CPU)


def test_a_name_needs_its_commit() -> None:
    with pytest.raises(ValueError, match=r"someone/model is no folder here.*\?revision="):
        DiffusersPipeline("someone/model", CPU, revision="main")


def test_weights_that_are_pickles_are_not_read(ddpm: Path, diffusers: Any, tmp_path: Path) -> None:
    pipeline = diffusers.DDPMPipeline.from_pretrained(ddpm)
    pipeline.save_pretrained(tmp_path, safe_serialization=False)
    assert list(tmp_path.rglob("*.bin"))
    with pytest.raises(SourceError, match=r"cannot open the pipeline .*safetensors"):
        DiffusersPipeline(str(tmp_path), CPU)


def test_numbers_that_are_not_finite(ddpm: Path) -> None:
    generator = DiffusersPipeline(str(ddpm), CPU, steps=1)
    with torch.no_grad():
        generator.pipeline.unet.conv_out.bias[0] = torch.nan
    with pytest.raises(SourceError, match="tiny gave NaN or infinity for sample 107, expected"):
        generator(np.array([107, 3]))
    _last_network.clear()  # so that nobody else gets the network with that bias


def is_run(flag: Path) -> str:
    return f"import pathlib; pathlib.Path({str(flag)!r}).touch()\n"


@pytest.mark.parametrize("file", ["pipeline.py", "unet/mine.py", "linked/mine.py"])
def test_code_is_not_run(ddpm: Path, file: str, tmp_path: Path) -> None:
    """The folder is refused, also where the code lies behind a link."""
    pipeline, code = tmp_path / "pipeline", tmp_path / "elsewhere"
    shutil.copytree(ddpm, pipeline)
    code.mkdir()
    (pipeline / "linked").symlink_to(code)
    (pipeline / file).write_text(is_run(tmp_path / "ran"))
    with pytest.raises(SourceError, match=f"comes with code, {file}, which is not run; expected"):
        DiffusersPipeline(str(pipeline), CPU)
    assert not (tmp_path / "ran").exists()


def test_diffusers_is_told_not_to_run_code(
    ddpm: Path, diffusers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a pipeline that is named has its code elsewhere."""
    arguments: dict[str, object] = {}

    def from_pretrained(path: str, **options: object) -> None:
        arguments.update(options)
        raise ValueError("trust_remote_code")

    monkeypatch.setattr(diffusers.DiffusionPipeline, "from_pretrained", from_pretrained)
    with pytest.raises(SourceError, match="cannot open the pipeline someone/model: trust_remote"):
        DiffusersPipeline("someone/model", CPU, revision="0" * 40)
    assert arguments["trust_remote_code"] is False
    assert arguments["use_safetensors"] is True
    assert arguments["revision"] == "0" * 40


def test_without_the_library_of_texts(
    diffusers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diffusers_pipeline, "find_spec", lambda name: None)
    what = r"cannot open the pipeline .*transformers too: pip install 'raymetrics\[diffusers\]'"
    with pytest.raises(SourceError, match=what):
        DiffusersPipeline(str(tmp_path), CPU)


def test_a_folder_that_is_no_pipeline(diffusers: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"cannot open the pipeline .*save_pretrained"):
        DiffusersPipeline(str(tmp_path), CPU)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(SourceError, match=r"pip install 'raymetrics\[diffusers\]'$"):
        DiffusersPipeline(str(tmp_path), CPU)


def test_a_file_of_prompts(text: Path, tmp_path: Path) -> None:
    """Sample k has line k, and begins again after the last; its image is that of the one prompt."""
    file = tmp_path / "captions.txt"
    file.write_text("a cat\nein bär\na dog\n", encoding="utf-8")
    options: dict[str, Any] = {"steps": 2, "guidance": 4}
    generator = DiffusersPipeline(str(text), CPU, prompts=str(file), **options)
    ids = np.array([2, 3, 5])
    assert generator.prompts(ids) == ["a dog", "a cat", "a dog"]
    images = generator(ids)
    of_dogs = DiffusersPipeline(str(text), CPU, **DOG, **options)
    assert of_dogs.prompts(ids) is None
    np.testing.assert_array_equal(images[[0, 2]], of_dogs(ids[[0, 2]]))
    assert (images[1] != of_dogs(ids[1:2])[0]).any()
    spec, digest = generator.spec, generator.quick_fingerprint
    file.write_text("a cat\na dog")
    changed = DiffusersPipeline(str(text), CPU, prompts=str(file), **options)
    assert changed.spec != spec
    assert changed.quick_fingerprint != digest


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (None, {}, "there is no file .*captions.txt with prompts, a text in each line"),
        (b"", {}, "captions.txt holds no prompts; expected a text in each line"),
        (b"\xff", {}, "captions.txt holds no prompts; expected UTF-8"),
        (b"a cat", CAT, "it has prompt and prompts; give one of them"),
    ],
)
def test_wrong_files_of_prompts(
    text: Path, tmp_path: Path, content: bytes | None, options: dict[str, str], message: str
) -> None:
    file = tmp_path / "captions.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        DiffusersPipeline(str(text), CPU, prompts=str(file), **options)


def test_a_file_of_prompts_for_a_pipeline_without_text(ddpm: Path, tmp_path: Path) -> None:
    file = tmp_path / "captions.txt"
    file.write_text("a cat")
    with pytest.raises(ValueError, match="DDPMPipeline takes no prompt; it takes"):
        DiffusersPipeline(str(ddpm), CPU, prompts=str(file))


def test_the_file_of_prompts_gets_its_absolute_path(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "captions.txt").write_text("a cat")
    monkeypatch.chdir(tmp_path)
    source = absolute_source(f"diffusers:{text}?prompts=captions.txt")
    assert source == f"diffusers:{text}?prompts={tmp_path}/captions.txt"
