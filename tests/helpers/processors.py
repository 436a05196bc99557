"""Run Python as on an older processor: `python -m tests.helpers.processors avx2 -m pytest`.

Every library chooses its instructions by the processor, and with them the last bits of floats. So
tests that pass on one machine may fail on another for no fault of the code; here each library is
told to take the instructions of an older one. Only processors that this one can stand for.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

# By processor: what torch (ATen, oneDNN, MKL), OpenBLAS (numpy, scipy, FAISS) and FAISS are told.
PROCESSORS = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
        "FAISS_OPT_LEVEL": "avx2",
    },
    "sse4": {
        "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "OPENBLAS_CORETYPE": "Nehalem",
        "FAISS_OPT_LEVEL": "generic",
    },
}  # fmt: skip
NEWER = {"avx2": r"AVX512|X86_V4", "sse4": r"AVX|FMA|F16C|X86_V[34]"}  # numpy's own instructions


def environment(processor: str) -> dict[str, str]:
    """Return the environment in which libraries take this processor's instructions.

    numpy warns of instructions that are to be left out and are not there, so they are not named.
    """
    newer = re.compile(NEWER[processor])
    left_out = [name for name in __cpu_dispatch__ if __cpu_features__[name] and newer.search(name)]
    return {**os.environ, **PROCESSORS[processor], "NPY_DISABLE_CPU_FEATURES": " ".join(left_out)}


if __name__ == "__main__":
    processor, *words = sys.argv[1:]
    if processor not in PROCESSORS:
        sys.exit(f"no processor {processor!r}; there are {', '.join(PROCESSORS)}")
    sys.exit(subprocess.run([sys.executable, *words], env=environment(processor)).returncode)
