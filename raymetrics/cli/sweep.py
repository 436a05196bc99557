"""`raymetrics sweep`: the numbers of every row of a plan."""

from __future__ import annotations

from typing import Any

import click

from raymetrics.cli.sweep_options import (
    exit_if_failed,
    log_numbers,
    print_and_write,
    with_sweep_options,
)


@click.command()
@click.argument("plan")
@click.option("--real", metavar="URI", help="Shards of the real samples.")
@click.option("--real-source", metavar="SOURCE", help="Or what they are made from, first.")
@click.option(
    "--real-samples", metavar="FIRST-LAST", help="Sample ids of --real-source. [default: all]"
)
@with_sweep_options
def sweep(plan: str, to: str, run_code: bool, logger: str | None, **request: Any) -> None:
    """Measure all generated sets of PLAN against one real set, as one job.

    PLAN is a table, .csv, with one set a row:

    \b
      name,source,step,psi,samples
      run {step},runs/{step}.pkl,1000|2000,0.5|1,
      other seeds,runs/2000.pkl,,,50000-59999
    \b
      source   what is to be opened, as for extract; {step} is what that column has
      name     what the row is called [default: the source with its options]
      samples  sample ids, which are seeds, as FIRST-LAST [default: --samples]

    A plan is a file: rows that name a program (module:callable, a network's file, a pipeline) or
    another machine need --run-code.

    Every other column is an option of the source, here psi=0.5, unless the source has it as a
    {field}; an empty cell leaves it out. A cell with bars, 0.5|1, stands for a row each: the first
    line for four. Or PLAN is your own function, module:callable, which gives the rows as
    dictionaries.

    A row that fails does not stop the others: it is named at the end, on the page and in
    failed.jsonl, and the exit code is 3. Run the same command again after anything that stopped
    it, or with more rows: what is there is not made twice.

    \b
    Examples:
      raymetrics sweep plan.csv --real shards/real --to sweep
      raymetrics sweep my_plan:rows --real-source mnist --real-samples 0-999 \\
          --extractor digits --to sweep
    """
    from raymetrics.studies.sweep import sweep as run

    outcome = run(plan, to=to, run_code=run_code, **request)
    print_and_write(outcome, to, run_code)
    log_numbers(outcome, logger)
    exit_if_failed(outcome)
