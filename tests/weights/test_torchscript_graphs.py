"""What TorchScript of other people may do: the networks that run, and the tricks that do not."""

from __future__ import annotations

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from raymetrics.errors import RaymetricsError, UnsafePickle
from raymetrics.weights.torchscript_network import load_torchscript

Images = Tensor


class Tiny(nn.Module):
    """Its program and its data are forged below."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))
        self.pair = (1, 2)
        self.first = nn.Sequential(nn.ReLU())
        self.second = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x)).sum() + self.weight + self.pair[0]


class Block(nn.Module):
    """Of residual networks, with what they do in training."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, stride=2, padding="valid", groups=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(8), nn.GroupNorm(2, 8), nn.InstanceNorm2d(8)])
        self.act = nn.Sequential(nn.Hardswish(), nn.SiLU(inplace=True), nn.PReLU(), nn.GELU())
        self.head = nn.Linear(8, 5)

    def forward(self, x: Images) -> Tensor:
        x = self.conv(x)
        for norm in self.norms:
            x = x + norm(x)
        if self.training:
            x = x * torch.empty(x.shape[0], 1, 1, 1).bernoulli_(0.5)
            warnings.warn("training", stacklevel=2)
        x = F.max_pool2d(self.act(x), 3, 2) * torch.sigmoid(F.adaptive_avg_pool2d(x, 1))
        return F.dropout(self.head(x.mean([2, 3])), 0.5, self.training)


class Attention(nn.Module):
    """Of transformers, both ways that torch has."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 16))
        self.layer = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)

    def forward(self, x: Images) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.norm(torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1))
        x = x + self.layer(x, x, x, need_weights=False)[0]
        q, k, v = self.qkv(x).reshape(x.shape[0], -1, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)[:, 0]


class Detector(nn.Module):
    """As NVIDIA's Inception takes its images."""

    def forward(self, x: Images) -> Tensor:
        theta = torch.eye(2, 3, device=x.device).unsqueeze(0).repeat([x.shape[0], 1, 1])
        theta[:, 0, 2] += 0.25
        grid = F.affine_grid(theta, [x.shape[0], 3, 9, 9], align_corners=False)
        x = F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)
        x = F.interpolate(x, size=[20, 20], mode="bicubic", antialias=True)
        small = F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)
        return torch.cat([x.flatten(1), small.flatten(1)], 1)


class Synthesis(nn.Module):
    """Of StyleGAN: modulated convolutions of a whole batch as groups, and noise."""

    def __init__(self) -> None:
        super().__init__()
        self.const = nn.Parameter(torch.randn(6, 4, 4))
        self.affine = nn.Linear(12, 6)
        self.weight = nn.Parameter(torch.randn(3, 6, 3, 3))
        self.filter: Tensor
        self.register_buffer("filter", torch.ones(3, 1, 4, 4) / 16)

    def forward(self, x: Images) -> Tensor:
        z = x.flatten(1)[:, :12]
        z = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
        w = self.weight.unsqueeze(0) * self.affine(z).reshape(-1, 1, 6, 1, 1)
        w = w * (w.square().sum(dim=[2, 3, 4], keepdim=True) + 1e-8).rsqrt()
        n = x.shape[0]
        x = self.const.unsqueeze(0).repeat([n, 1, 1, 1]).reshape(1, -1, 4, 4)
        x = F.conv2d(x, w.reshape(-1, 6, 3, 3), padding=1, groups=n).reshape(n, 3, 4, 4)
        x = x + torch.randn([n, 1, 4, 4], device=x.device) * 0
        x = F.conv_transpose2d(x, self.filter, stride=2, padding=1, groups=3)
        return F.leaky_relu(F.pad(x, [1, 1, 1, 1]), 0.2).clamp(-256, 256)


def generator() -> nn.Module:
    """DCGAN's, in small."""
    return nn.Sequential(
        nn.Flatten(), nn.Unflatten(1, (-1, 16, 16)), nn.ConvTranspose2d(12, 8, 4, 2, 1),
        nn.BatchNorm2d(8), nn.ReLU(True), nn.Upsample(scale_factor=2.0), nn.Conv2d(8, 12, 3),
        nn.PixelShuffle(2), nn.Tanh(),
    )  # fmt: skip


def script(network: nn.Module, images: Images) -> torch.jit.ScriptModule:
    return torch.jit.script(network)


def trace(network: nn.Module, images: Images) -> torch.jit.ScriptModule:
    return torch.jit.trace(network, images, check_trace=False)


def freeze(network: nn.Module, images: Images) -> torch.jit.ScriptModule:
    return torch.jit.freeze(torch.jit.script(network))


def archive_of(program: torch.jit.ScriptModule) -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(program, buffer)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _deprecated() -> None:
    warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated")
    warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)


@pytest.mark.parametrize("way", [script, trace, freeze])
@pytest.mark.parametrize("kind", [Block, Attention, Detector, Synthesis, generator])
def test_networks_run_and_give_what_the_module_gives(
    kind: Callable[[], nn.Module], way: Callable[..., torch.jit.ScriptModule]
) -> None:
    torch.manual_seed(1)
    network, images = kind().eval(), torch.rand(2, 3, 32, 32)
    found = load_torchscript(archive_of(way(network, images)), "a.pt")(images)
    with torch.inference_mode():
        torch.testing.assert_close(found, network(images), rtol=1e-4, atol=1e-5)


def forged(change: Callable[[str, bytes], bytes]) -> bytes:
    """The archive of Tiny with members changed, given by name."""
    before = zipfile.ZipFile(io.BytesIO(archive_of(torch.jit.script(Tiny().eval()))))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as after:
        for name in before.namelist():
            if not name.endswith("debug_pkl"):
                after.writestr(name, change(name.partition("/")[2], before.read(name)))
    return buffer.getvalue()


def with_program(*lines: str) -> bytes:
    """Tiny with another `forward`."""

    def change(name: str, data: bytes) -> bytes:
        if not name.endswith("test_torchscript_graphs.py"):
            return data
        head, found, _ = data.decode().partition("    x: Tensor) -> Tensor:\n")
        return (head + found + "".join(f"    {line}\n" for line in lines)).encode()

    return forged(change)


def with_text(old: bytes, new: bytes, count: int = -1) -> bytes:
    """Tiny with its program and its data changed."""

    def change(name: str, data: bytes) -> bytes:
        return data.replace(old, new, count) if name.endswith((".py", "data.pkl")) else data

    return forged(change)


# A module with fewer attributes than the one in whose place it is put.
FEWER = b"""class Other(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
"""
OTHER = f"c__torch__.{__name__}\nOther\n".encode()
VIEW = "_reinterpret_tensor(x, [4096], [1], 0)"
OBJECT = "__torch__.torch.nn.modules.linear.Linear"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ([f"return ops.inductor.{VIEW}"], "inductor::_reinterpret_tensor"),
        ([f"return ops . inductor . {VIEW}"], "inductor::_reinterpret_tensor"),
        (["a = ops.inductor", f"return a.{VIEW}"], "inductor::_reinterpret_tensor"),
        (["return torch.add(x, ops.mkldnn.data_ptr(x))"], "mkldnn::data_ptr"),
        (["torch.save(x, 'a')", "return x"], "aten::save"),
        (["return torch.from_file('a')"], "aten::from_file"),
        (["return torch.as_strided(x, [4], [1])"], "aten::as_strided"),
        (["return torch.set_(x, x)"], "aten::set_"),
        (["return torch._weight_norm(x, x)"], "aten::_weight_norm"),
        (["return torch._unsafe_index(x, [x])"], "aten::_unsafe_index"),
        (["return torch.upsample_nearest2d(x, [9, 9], 1e-9, 1e-9)"], "aten::upsample_nearest2d"),
        (["print(x)", "return x"], "prim::Print"),
        (["a = ops.prim.TimePoint()", "return torch.add(x, a)"], "prim::TimePoint"),
        (["torch.manual_seed(1)", "return x"], "aten::manual_seed"),
        (
            ["y = x", "for i in range(3):", "  if bool(torch.sum(x)):", f"    y = ops.inductor.{VIEW}",  # noqa: E501
             "  else:", "    pass", "return y"],
            "inductor::_reinterpret_tensor",
        ),
        (["a = unchecked_cast(Generator, x)", "return torch.rand([2], generator=a)"],
         "takes Tensor for Generator"),
        ([f"return (unchecked_cast({OBJECT}, self)).weight"], "for a tuple or an object"),
        (["a = unchecked_cast", "return a(Tensor, x)"], "for a tuple or an object"),
        (["a, b = unchecked_cast(Tuple[int, int], (1, 2, 3, 4, 5, 6))", "return torch.add(x, a)"],
         "for a tuple or an object"),
        (["return (unchecked_cast(List[Tuple[int, int]], x))[0]"], "for a tuple or an object"),
        (["return (unchecked_cast((Tuple[int, int]), x))[0]"], "for a tuple or an object"),
    ],
)  # fmt: skip
def test_programs_that_reach_further_are_refused_by_name(
    lines: list[str], found: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnsafePickle, match=rf"^a\.pt (calls |takes )?.*{found}.*module:Class$"):
        load_torchscript(with_program(*lines), "a.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "lines",
    [
        ["return torch.embedding(x, torch.tensor([1000000]))"],
        ["return torch.gather(x, 0, torch.tensor([1000000]))"],
        ["return torch.index_select(x, 0, torch.tensor([1000000]))"],
        ["return torch.take(x, torch.tensor([1000000]))"],
        ["return torch.take(x, torch.tensor([-1000000]))"],
        ["return torch.scatter(x, 0, torch.tensor([1000000]), 1.)"],
        ["return torch.scatter_add(x, 0, torch.tensor([1000000]), x)"],
        ["return torch.index_add(x, 0, torch.tensor([1000000]), torch.ones([1]))"],
        ["return torch.index_copy(x, 0, torch.tensor([1000000]), torch.ones([1]))"],
        ["return torch.index_put_(x, [torch.tensor([1000000])], torch.ones([1]))"],
        ["return torch.masked_scatter(x, torch.gt(x, 0), torch.ones([1]))"],
        ["return torch.repeat_interleave(torch.tensor([9, 9]), output_size=1)"],
        ["return torch.unfold(x, 0, 1000000, 1)"],
        ["return torch.view(x, [4611686018427387904, 4])"],
        ["return torch.max_unpool2d(torch.ones([1, 1, 1]), torch.full([1, 1, 1], 99999), [2, 2])"],
        ["return torch.batch_norm(torch.ones([2, 9]), x, x, x, x, False, 0.1, 0.1, True)"],
        ["return torch.prelu(torch.ones([2, 9]), x)"],
        ["k, v = torch.ones([1, 1, 1, 8]), torch.ones([1, 1, 100000, 8])",
         "return torch.scaled_dot_product_attention(k, k, v)"],
        ["return torch.add(x, (unchecked_cast(List[int], ['a']))[0])"],
        ["return torch.sum(x, unchecked_cast(List[int], x))"],
    ],
)  # fmt: skip
def test_operators_that_run_verify_what_they_are_given(lines: list[str]) -> None:
    network = load_torchscript(with_program(*lines), "a.pt")
    with pytest.raises((RuntimeError, IndexError)):
        network(torch.ones(4))


@pytest.mark.parametrize(
    ("old", "new", "count"),
    [
        (b"K\x04", b"M\x00\x04", 1),  # a storage of 1024 numbers, of which the file has 4
        (b"(K\x04t", b"(M\x00\x04t", 1),  # a tensor of 1024 numbers of a storage of 4
    ],
)
def test_tensors_beyond_the_file_are_refused(old: bytes, new: bytes, count: int) -> None:
    with pytest.raises(RaymetricsError, match=r"a\.pt .*(bytes in|outside of)"):
        load_torchscript(with_text(old, new, count), "a.pt")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        (rb"pair : Tuple\[int, int\]", b"pair : Tuple[int, int, int]", "'pair'"),
        (rb"pair : Tuple\[int, int\]", b"pair : List[int]", "'pair'"),
        (rb"c__torch__\.[\w.]*container[\w.]*\nSequential\n", OTHER, "'first'"),
    ],
)
def test_attributes_of_another_type_are_refused(old: bytes, new: bytes, found: str) -> None:
    def change(name: str, data: bytes) -> bytes:
        if name.endswith("test_torchscript_graphs.py"):
            data += FEWER
        return re.sub(old, new, data) if name.endswith((".py", "data.pkl")) else data

    with pytest.raises(UnsafePickle, match=f"holds something else than .* .* {found}"):
        load_torchscript(forged(change), "a.pt")


def pickled(name: str) -> bytes:
    """An object that a function of this dotted name makes."""
    module, _, last = name.rpartition(".")
    return b"\x80\x02c" + f"{module}\n{last}\n".encode() + b")R."


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (pickled("__torch__.torch.classes.quantized.Conv2dPackedParamsBase"), "an object of"),
        (pickled("torch._utils._rebuild_sparse_tensor"), "an object of"),
        (pickled("torch.jit._pickle.build_tensor_from_id"), "an object of"),
        (pickle.dumps([1], protocol=4), "the pickle instruction FRAME"),
        (b"\x80\x02X\x17\x00\x00\x00List[Tuple[int, int]]   .", "a container of the type"),
    ],
)
def test_data_that_torch_would_believe_is_refused(content: bytes, found: str) -> None:
    data = forged(lambda name, data: content if name == "constants.pkl" else data)
    with pytest.raises(UnsafePickle, match=rf"^a\.pt holds {found}"):
        load_torchscript(data, "a.pt")


def test_an_old_format_is_refused() -> None:
    data = forged(lambda name, data: b"2" if name == "version" else data)
    with pytest.raises(UnsafePickle, match=r"format 2, expected 3 at least.*save it again"):
        load_torchscript(data, "a.pt")
