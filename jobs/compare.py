r"""Which of two generated sets is better, and whether the samples can tell.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/compare.py s3://bucket/a s3://bucket/b \
        --real s3://bucket/real --metrics fid,kid --results /shared/compared.jsonl
"""

from raymetrics.cli.compare import compare

if __name__ == "__main__":
    compare()
