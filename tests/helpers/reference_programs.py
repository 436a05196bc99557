"""Run other people's networks, each with the tensors of its publisher's file.

A peer maps such a state and images uint8 [n, 3, h, w] to {output: [n, d]}, with that program's own
preprocessing.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from torch import nn
from torch.nn.functional import conv2d, gelu, interpolate, layer_norm, linear, silu, softmax
from torch_fidelity import feature_extractor_clip as fidelity_clip
from torch_fidelity import feature_extractor_vgg16 as fidelity_vgg16
from torchvision import transforms

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
State = dict[str, torch.Tensor]
Outputs = dict[str, torch.Tensor]


def to_pillow(image: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))


def inception(state: State, images: np.ndarray) -> Outputs:
    """Run torchvision's network."""
    network = torchvision.models.inception_v3(
        weights=None, init_weights=False, transform_input=True
    )
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    x = interpolate(torch.from_numpy(images).float(), (299, 299), mode="bilinear", antialias=True)
    x = transforms.functional.normalize(x / 255, MEAN, DEVIATION)
    logits = network(x)
    network.fc = nn.Identity()
    return {"logits": logits, "pre_logits": network(x)}


def vgg16(state: State, images: np.ndarray) -> Outputs:
    """Run torch-fidelity's network."""
    network = torchvision.models.vgg16(weights=None, init_weights=False)
    network.load_state_dict(state)
    loader = "torchvision_load_pretrained_vgg16"
    with mock.patch.object(fidelity_vgg16, loader, return_value=network):
        extractor = fidelity_vgg16.FeatureExtractorVGG16("vgg16", ["fc2", "fc2_relu"])
    return dict(zip(("fc2", "fc2_relu"), extractor(torch.from_numpy(images)), strict=True))


def clip(state: State, images: np.ndarray) -> Outputs:
    """Run OpenAI's network: Pillow's preprocessing, torch-fidelity's copy of the network."""
    network = fidelity_clip.build_model(dict(state), torch.float32).visual
    transform = transforms.Compose(
        [
            transforms.Resize(224, interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize(
                (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
            ),
        ]
    )
    return {"features": network(torch.stack([transform(to_pillow(image)) for image in images]))}


def swav(state: State, images: np.ndarray) -> Outputs:
    """Run torchvision's ResNet-50 with dgm-eval's preprocessing, which keeps the aspect ratio."""
    network = torchvision.models.resnet50(weights=None)
    network.fc = nn.Identity()
    plain = {name.removeprefix("module."): x for name, x in state.items()}
    network_state = network.state_dict()
    network.load_state_dict({name: x for name, x in plain.items() if name in network_state})
    network.eval().requires_grad_(False)
    transform = transforms.Compose(
        [transforms.Resize(224), transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    )
    return {"features": network(torch.stack([transform(to_pillow(image)) for image in images]))}


def dinov2_input(images: np.ndarray) -> torch.Tensor:
    """Apply dgm-eval's preprocessing: float32 [n, 3, 224, 224]."""
    squares = [to_pillow(x).resize((224, 224), Image.Resampling.BICUBIC) for x in images]
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)])
    return torch.stack([transform(square) for square in squares])


def dinov2(state: State, images: np.ndarray) -> Outputs:
    """Compute Oquab et al. (2024)'s network from the tensors of Meta's file, in float64."""
    s = {name: x.double() for name, x in state.items()}
    x = dinov2_input(images).double()
    x = conv2d(x, s["patch_embed.proj.weight"], s["patch_embed.proj.bias"], 14).flatten(2).mT
    x = torch.cat([s["cls_token"].expand(len(x), 1, -1), x], 1)
    x = x + position_embedding(s["pos_embed"])
    d = x.shape[2]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        return layer_norm(x, (d,), s[f"{name}.weight"], s[f"{name}.bias"], 1e-6)

    def apply(x: torch.Tensor, name: str) -> torch.Tensor:
        return linear(x, s[f"{name}.weight"], s[f"{name}.bias"])

    for block in range(1 + max(int(n.split(".")[1]) for n in s if n.startswith("blocks."))):
        prefix = f"blocks.{block}"
        qkv = apply(norm(x, f"{prefix}.norm1"), f"{prefix}.attn.qkv")
        q, k, v = qkv.unflatten(2, (3, d // 64, 64)).permute(2, 0, 3, 1, 4)
        attended = softmax(q @ k.mT / 64**0.5, -1) @ v
        x = x + s[f"{prefix}.ls1.gamma"] * apply(
            attended.transpose(1, 2).flatten(2), f"{prefix}.attn.proj"
        )
        y = norm(x, f"{prefix}.norm2")
        if f"{prefix}.mlp.w12.weight" in s:
            gate, value = apply(y, f"{prefix}.mlp.w12").chunk(2, -1)
            y = apply(silu(gate) * value, f"{prefix}.mlp.w3")
        else:
            y = apply(gelu(apply(y, f"{prefix}.mlp.fc1")), f"{prefix}.mlp.fc2")
        x = x + s[f"{prefix}.ls2.gamma"] * y
    return {"features": norm(x, "norm")[:, 0]}


def keys_kernel(x: np.ndarray) -> np.ndarray:
    """Evaluate the kernel of Keys (1981) with a = -3/4, which torch uses without antialiasing."""
    x = np.abs(x)
    return np.where(
        x <= 1, (1.25 * x - 2.25) * x**2 + 1,
        np.where(x < 2, -0.75 * (((x - 5) * x + 8) * x - 4), 0),
    )  # fmt: skip


def position_embedding(embedding: torch.Tensor) -> torch.Tensor:
    """Resize [1, 1 + g * g, d] for g x g patches to float64 [1, 1 + 16 * 16, d], like Meta."""
    grid = int((embedding.shape[1] - 1) ** 0.5)
    ratio = 1 if grid == 16 else grid / 16.1
    centers = (np.arange(16) + 0.5) * ratio - 0.5
    matrix = np.zeros((16, grid))
    for row, center in enumerate(centers):
        for pixel in range(int(np.floor(center)) - 1, int(np.floor(center)) + 3):
            matrix[row, np.clip(pixel, 0, grid - 1)] += keys_kernel(center - pixel)
    patches = embedding[0, 1:].double().numpy().reshape(grid, grid, -1)
    resized = np.einsum("ai,bj,ijd->abd", matrix, matrix, patches).reshape(1, 256, -1)
    return torch.cat([embedding[:, :1].double(), torch.from_numpy(resized)], 1)


# By extractor: timm's name of the network and its weights, and the pixels that fd_evaluator takes.
TIMM_SPACES = {
    "convnextv2-base": ("convnextv2_base.fcmae_ft_in22k_in1k", 224),
    "mae-vit-l-16": ("vit_large_patch16_224.mae", 224),
    "siglip2-so400m-16-256": ("vit_so400m_patch16_siglip_256.v2_webli", 224),
    "dinov2-vit-l-14-256": ("vit_large_patch14_dinov2.lvd142m", 256),
    "clip-vit-l-14-256": ("vit_large_patch14_clip_224.openai", 256),
    "dinov3-vit-l-16": ("vit_large_patch16_dinov3.lvd1689m", 256),
}


def build_timm(extractor: str, **shape: Any) -> nn.Module:
    """Build timm's network with its own rules for images of any size, where it has them."""
    any_size = {"dynamic_img_size": True, "dynamic_img_pad": True}
    options = {} if extractor == "convnextv2-base" else any_size
    network = timm.create_model(TIMM_SPACES[extractor][0], **options, **shape)
    return network.eval().requires_grad_(False)


def fd_evaluator_input(extractor: str, images: np.ndarray) -> torch.Tensor:
    """Resize and scale as End2End-Diffusion's fd_evaluator does, with timm's mean and deviation."""
    tag, size = TIMM_SPACES[extractor]
    config = timm.models.get_pretrained_cfg(tag)
    x = torch.from_numpy(images).float()
    if x.shape[2:] != (size, size):
        x = interpolate(x, (size, size), mode="bicubic", align_corners=False, antialias=True)
    mean, deviation = (255 * torch.tensor(c).view(1, 3, 1, 1) for c in (config.mean, config.std))
    return (x - mean) / deviation


def fd_evaluator_features(network: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Pool the features of a network of timm as fd_evaluator does, means of maps in float32."""
    features = network.forward_features(x)
    if features.ndim == 4:
        return features.float().mean(dim=(2, 3))
    pool = getattr(network, "attn_pool", None)
    return features[:, 0] if pool is None else pool(features)


def fd_evaluator(extractor: str, state: State, images: np.ndarray, **shape: Any) -> Outputs:
    """Run timm's network on a state in any layout that timm reads."""
    network, state = build_timm(extractor, **shape), state.get("model", state)
    convert = sys.modules[type(network).__module__].checkpoint_filter_fn
    converted = convert({name: x.float() for name, x in state.items()}, network)
    missing = network.load_state_dict(converted, strict=False).missing_keys
    assert all(name.startswith("head.") for name in missing)
    return {"features": fd_evaluator_features(network, fd_evaluator_input(extractor, images))}


def sscd_network(state: State) -> nn.Module:
    """Build SSCD's network from torchvision's, of a state in the layout `.torchvision.pt`."""

    class GeneralizedMean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x.flatten(2).clamp(min=1e-6) ** 3).mean(2) ** (1 / 3)

    network = torchvision.models.resnet50(num_classes=512)
    network.avgpool = GeneralizedMean()
    network.load_state_dict({name.removeprefix("backbone."): x for name, x in state.items()})
    return network.eval().requires_grad_(False)


def sscd(state: State, images: np.ndarray, size: int | tuple[int, int] = 288) -> Outputs:
    """Run SSCD with the authors' `small_288`, or with a square of `skew_320`."""
    transform = transforms.Compose(
        [transforms.Resize(size), transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    )
    x = torch.stack([transform(to_pillow(image)) for image in images])
    y = sscd_network(state)(x)
    return {"features": y / y.norm(dim=1, keepdim=True)}


def resnet50(state: State, images: np.ndarray, weights: str = "IMAGENET1K_V2") -> Outputs:
    """Run torchvision's ResNet-50 with the preprocessing that it ships with these weights."""
    network = torchvision.models.resnet50(weights=None)
    network.load_state_dict(state)
    network.eval().requires_grad_(False)
    transform = torchvision.models.ResNet50_Weights[weights].transforms()
    x = torch.stack([transform(to_pillow(image)) for image in images])
    logits = network(x)
    network.fc = nn.Identity()
    return {"logits": logits, "pre_logits": network(x)}


PEERS = {
    **{name: partial(fd_evaluator, name) for name in TIMM_SPACES},
    "sscd-disc-mixup-320": partial(sscd, size=(320, 320)),
    "resnet50": resnet50,
    "resnet50-v1": partial(resnet50, weights="IMAGENET1K_V1"),
    "inception-torchvision": inception,
    "vgg16": vgg16,
    "clip-vit-b-32": clip,
    "dinov2-vit-s-14": dinov2,
    "dinov2-vit-l-14": dinov2,
    "swav-resnet50": swav,
}
