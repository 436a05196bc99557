"""Time feature networks against the programs that people use otherwise.

    python benchmarks/extractors.py [--networks inception,vgg16] [--rounds 3]

Both programs get the same random weights and the same uint8 images of 256 x 256, on one thread, one
after the other in every round; the best round counts. torch-fidelity's extractors prepare the
images themselves. The other libraries only define networks: their network is timed as it is, on
images that our extractor has prepared. Fails if our Inception is less than 1.3 times as fast, or
another of our extractors slower by more than the 7 % by which timings vary.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from raymetrics.extractors import published_network
from raymetrics.extractors.base import NetworkExtractor, build_extractor
from raymetrics.extractors.options import Options
from raymetrics.extractors.random_weights import draw_random_weights
from raymetrics.weights.state_dict import StateDict

CPU = torch.device("cpu")
ANY_SIZE = {"dynamic_img_size": True, "dynamic_img_pad": True}  # as fd_evaluator builds networks
MIN_RATIOS = {"inception": 1.3}
USUAL_MIN_RATIO = 0.93  # timings vary by a few per cent from run to run
FeatureFunction = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Peer:
    """Another program's features, built from our extractor and its weights."""

    program: str
    build: Callable[[NetworkExtractor, StateDict], FeatureFunction]
    images: int = 16


def torch_fidelity_builder(
    module: str, kind: str, feature: str
) -> Callable[[NetworkExtractor, StateDict], FeatureFunction]:
    """Return a builder of torch-fidelity's extractor, which reads weights and prepares images."""

    def build_peer(our_extractor: NetworkExtractor, state: StateDict) -> FeatureFunction:
        extractor_class = getattr(__import__(f"torch_fidelity.{module}", fromlist=[kind]), kind)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights.pth"
            torch.save(state, path)
            peer_extractor = extractor_class(
                "", [feature], feature_extractor_weights_path=str(path)
            )

        def run(images: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                features: Tensor = peer_extractor(torch.from_numpy(images))[0]
            return features.numpy()

        return run

    return build_peer


def library_builder(
    build: Callable[[], Any], prefix: str = "", last_layer: Callable[[Tensor], Tensor] = lambda x: x
) -> Callable[[NetworkExtractor, StateDict], FeatureFunction]:
    """Return a builder of a library's network; `prefix` is removed from our weights' names."""

    def build_peer(our_extractor: NetworkExtractor, state: StateDict) -> FeatureFunction:
        network = build().eval()
        network.load_state_dict({k.removeprefix(prefix): v for k, v in state.items()}, strict=False)

        def run(images: np.ndarray) -> np.ndarray:
            with torch.no_grad():
                features = last_layer(
                    network(our_extractor.prepare(torch.from_numpy(images)).contiguous())
                )
            return features.numpy()

        return run

    return build_peer


def torchvision_builder(name: str, **options: Any) -> Callable[[], nn.Module]:
    """Return a builder of one of torchvision's networks, without its last layer."""

    def build() -> nn.Module:
        import torchvision

        network: nn.Module = getattr(torchvision.models, name)(weights=None, **options)
        network.fc = nn.Identity()
        return network

    return build


def open_clip_tower() -> nn.Module:
    """Build open_clip's image encoder, with the sizes of ViT-B/32."""
    from open_clip.transformer import QuickGELU, VisionTransformer

    tower: nn.Module = VisionTransformer(
        224, 32, 768, 12, 12, 4.0, output_dim=512, act_layer=QuickGELU
    )
    return tower


def timm_features_builder(
    name: str, **options: Any
) -> Callable[[NetworkExtractor, StateDict], FeatureFunction]:
    """Return a builder of one of timm's networks, pooled as fd_evaluator does."""

    def build_network() -> nn.Module:
        import timm

        network: Any = timm.create_model(name, **options)
        network.forward = lambda x: pool(network, network.forward_features(x))
        return cast(nn.Module, network)

    def pool(network: Any, features: Tensor) -> Tensor:
        if features.ndim == 4:
            return features.mean(dim=(2, 3))
        attention_pool = getattr(network, "attn_pool", None)
        pooled: Tensor = features[:, 0] if attention_pool is None else attention_pool(features)
        return pooled

    return library_builder(build_network, "body.")


def timm_builder(name: str, **options: Any) -> Callable[[], nn.Module]:
    """Return a builder of one of timm's networks, without a classifier."""

    def build() -> nn.Module:
        import timm

        network: nn.Module = timm.create_model(name, num_classes=0, **options)
        return network

    return build


PEERS: Mapping[str, Peer] = {
    "inception": Peer(
        "torch-fidelity",
        torch_fidelity_builder(
            "feature_extractor_inceptionv3", "FeatureExtractorInceptionV3", "2048"
        ),
    ),
    "vgg16": Peer(
        "torch-fidelity",
        torch_fidelity_builder("feature_extractor_vgg16", "FeatureExtractorVGG16", "fc2_relu"),
    ),
    "inception-torchvision": Peer(
        "torchvision",
        library_builder(
            torchvision_builder("inception_v3", init_weights=False, aux_logits=False), "body."
        ),
    ),
    "swav-resnet50": Peer("torchvision", library_builder(torchvision_builder("resnet50"), "body.")),
    "clip-vit-b-32": Peer("open_clip", library_builder(open_clip_tower, "visual.")),
    "dinov2-vit-l-14": Peer(
        "timm",
        library_builder(timm_builder("vit_large_patch14_dinov2", img_size=224), "body."),
        images=2,
    ),
    "convnextv2-base": Peer("timm", timm_features_builder("convnextv2_base"), images=4),
    "mae-vit-l-16": Peer("timm", timm_features_builder("vit_large_patch16_224"), images=2),
    **{
        name: Peer("timm", timm_features_builder(timm_name, **ANY_SIZE), images=2)
        for name, timm_name in (
            ("dinov2-vit-l-14-256", "vit_large_patch14_dinov2"),
            ("clip-vit-l-14-256", "vit_large_patch14_clip_224"),
            ("siglip2-so400m-16-256", "vit_so400m_patch16_siglip_256"),
            ("dinov3-vit-l-16", "vit_large_patch16_dinov3"),
        )
    },
    "resnet50": Peer("torchvision", library_builder(torchvision_builder("resnet50"), "body.")),
    "efficientnet-lite0": Peer("timm", library_builder(timm_builder("tf_efficientnet_lite0"))),
}
TIMED_ONLY = {"efficientnet-lite0"}  # timm names its weights differently: only compare times


def our_extractor(name: str) -> tuple[NetworkExtractor, StateDict]:
    """Build our extractor with random weights, and return both."""
    published = published_network(name)
    state = draw_random_weights(published.build().eval(), 0)
    return build_extractor(
        published, Options.parse(f"untrained-{name}?precision=float32"), CPU
    ), state


def best_seconds_by_name(
    runs: Mapping[str, FeatureFunction], images: np.ndarray, rounds: int
) -> dict[str, float]:
    """Return the smallest CPU seconds of each function, running all functions in every round."""
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run(images)
            best[name] = min(best[name], time.process_time() - start)
    return best


def compare_with_peer(name: str, peer: Peer, rounds: int) -> float:
    """Print a line for a network; return how many times as fast as the peer our extractor is."""
    extractor, state = our_extractor(name)
    column = next(iter(extractor.columns))
    runs: dict[str, FeatureFunction] = {
        "ours": lambda images: extractor(images)[column],
        "theirs": peer.build(extractor, state),
    }
    noise = np.random.default_rng(0).integers(0, 256, (peer.images, 3, 256, 256), np.uint8)
    our_features, peer_features = (run(noise) for run in runs.values())
    difference = np.abs(our_features - peer_features).max() / np.abs(peer_features).max()
    seconds = best_seconds_by_name(runs, noise, rounds)
    rates = {program: peer.images / elapsed for program, elapsed in seconds.items()}
    ratio = rates["ours"] / rates["theirs"]
    print(
        f"{name:24}{rates['ours']:8.2f}  {peer.program:15}{rates['theirs']:8.2f}"
        f"{ratio:9.2f}  {'-' if name in TIMED_ONLY else f'{difference:.0e}':>8}",
        flush=True,
    )
    return ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join(PEERS))
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the other programs
    print(f"{'images/s, one thread':24}{'ours':>8}  {'':15}{'theirs':>8}{'ratio':>9}  {'apart':>8}")
    slow = []
    for name in args.networks.split(","):
        ratio = compare_with_peer(name, PEERS[name], args.rounds)
        if ratio < MIN_RATIOS.get(name, USUAL_MIN_RATIO):
            slow.append(f"{name} {ratio:.2f}")
    if slow:
        sys.exit(f"slower than promised: {', '.join(slow)}")


if __name__ == "__main__":
    main()
