r"""Precision, recall and distances over the strength of truncation.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/truncate.py --real s3://bucket/real \
        --generated digits --strategies all --to /shared/truncation

All strengths go through the same workers; /shared is a disk that every machine sees.
"""

from raymetrics.cli.truncate import truncate

if __name__ == "__main__":
    truncate()
