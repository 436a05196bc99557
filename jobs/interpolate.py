r"""Whether straight lines between realistic samples stay realistic.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/interpolate.py --real s3://bucket/real \
        --generated digits --to s3://bucket/paths --results /shared/paths/results.jsonl

Submit it again after anything that stopped it: no shard is made twice.
"""

from raymetrics.cli.interpolate import interpolate

if __name__ == "__main__":
    interpolate()
