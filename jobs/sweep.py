r"""The numbers of many generators and settings, one a row of a table.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/sweep.py plan.csv \
        --real s3://bucket/real --to /shared/sweep

The plan travels with the working directory; /shared is a disk that every machine sees. Submit it
again after anything that stopped it, or with more rows: what is there is not made twice.
"""

from raymetrics.cli.sweep import sweep

if __name__ == "__main__":
    sweep()
