r"""The numbers over the snapshots of a training run.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/snapshots.py --real s3://bucket/real \
        --generated 'digits?snapshot={200,5000}' --to /shared/run

All snapshots go through the same workers; /shared is a disk that every machine sees.
"""

from raymetrics.cli.snapshots import snapshots

if __name__ == "__main__":
    snapshots()
