"""The phases of `benchmarks/gpu.py`, one a module, and what they share."""

import sys
from pathlib import Path

# The checkout comes first, also where another raymetrics is installed; `tests` makes some files.
sys.path.insert(0, str(Path(__file__).parents[2]))
