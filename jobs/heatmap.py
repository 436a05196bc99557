r"""Which parts of images a distance looks at.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/heatmap.py --real s3://bucket/real \
        --generated s3://bucket/generated --to /shared/heatmaps --mean

The means are what the workers compute; /shared is a disk of the head.
"""

from raymetrics.cli.heatmap import heatmap

if __name__ == "__main__":
    heatmap()
