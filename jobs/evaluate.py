r"""Two shard sets to numbers.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/evaluate.py --real s3://bucket/real \
        --generated s3://bucket/generated --metrics fid,kid,pr --to /shared/results.jsonl

The job's log has the table; /shared is a disk of the head.
"""

from raymetrics.cli.evaluate import evaluate

if __name__ == "__main__":
    evaluate()
