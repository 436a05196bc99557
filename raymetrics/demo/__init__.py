"""The main job on parts that come with the installation: `python -m raymetrics.demo`."""
