r"""A generator or a data set to feature shards.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/extract.py digits --extractor digits \
        --to s3://bucket/generated --samples 0-49999

The shards are all that is kept: submit it again after anything that stopped it.
"""

from raymetrics.cli.extract import extract

if __name__ == "__main__":
    extract()
