r"""A table or figure of the papers, or all of them, with their numbers beside ours.

    ray job submit --address http://127.0.0.1:8265 --working-dir . \
        --runtime-env jobs/runtime_env.yaml -- python jobs/reproduce.py all \
        --inputs /shared/inputs.toml --to /shared/reproduction

The folder must be one that all nodes see. Submit it again after anything that stopped it: steps and
shards that are there are not made twice.
"""

from raymetrics.cli.reproduce import reproduce

if __name__ == "__main__":
    reproduce()
