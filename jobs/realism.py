r"""Every generated sample by its realism.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/realism.py --real s3://bucket/real \
        --generated s3://bucket/generated --to s3://bucket/ranked \
        --results /shared/ranked/results.jsonl

The job's log has the summary; /shared is a disk of the head.
"""

from raymetrics.cli.realism import realism

if __name__ == "__main__":
    realism()
