"""Turn results into tables, figures and pages.

Reports read the fields of results, never their labels, and compute no metric.
"""

from raymetrics.reports.comparison_page import report
from raymetrics.reports.resampling_section import resampling_table
from raymetrics.reports.sweep_section import tradeoffs_table
from raymetrics.reports.terminal import results_table

__all__ = ["report", "resampling_table", "results_table", "tradeoffs_table"]
