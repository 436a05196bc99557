r"""The nearest training sample of every generated one.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/nearest.py --real s3://bucket/train \
        --generated s3://bucket/generated --test s3://bucket/held-out --to s3://bucket/nearest \
        --results /shared/nearest/results.jsonl

The job's log has the summary; /shared is a disk of the head.
"""

from raymetrics.cli.nearest import nearest

if __name__ == "__main__":
    nearest()
