r"""Weights of generated samples that minimise a distance.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/reweight.py --real s3://bucket/real \
        --generated s3://bucket/generated --to s3://bucket/weights \
        --results /shared/weights/results.jsonl

Submit it again after anything that stopped it: it goes on from its last state.
"""

from raymetrics.cli.reweight import reweight

if __name__ == "__main__":
    reweight()
