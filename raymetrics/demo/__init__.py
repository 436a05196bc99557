"""The main job on parts that come from the package index: `python -m raymetrics.demo`."""
