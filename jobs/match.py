r"""Draws whose Top-1 classes are as often as in the real set.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/match.py --real s3://bucket/real \
        --generated digits --to s3://bucket/matched --results /shared/matched/results.jsonl

Submit it again after anything that stopped it: no shard is made twice, and the same ids are
accepted.
"""

from raymetrics.cli.match import match

if __name__ == "__main__":
    match()
