"""`python -m raymetrics` is the command `raymetrics`."""

from raymetrics.cli import main

if __name__ == "__main__":
    main()
