"""Run the command `raymetrics` as `python -m raymetrics`."""

from raymetrics.cli import main

if __name__ == "__main__":
    main()
