r"""How much of a FID, or of a difference of two, lies in the perceptual null space.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/audit.py --real s3://bucket/real \
        --generated s3://bucket/fastgan --generated s3://bucket/stylegan2 --to s3://bucket/audit \
        --results /shared/audit/results.jsonl

Submit it again after anything that stopped it: weights are continued and not made twice.
"""

from raymetrics.cli.audit import audit

if __name__ == "__main__":
    audit()
