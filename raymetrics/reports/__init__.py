"""Results to tables, figures and one page. Computes no number."""

from raymetrics.reports.comparison_page import report
from raymetrics.reports.resampling_section import resampling_table
from raymetrics.reports.sweep_section import tradeoffs_table
from raymetrics.reports.terminal import results_table

__all__ = ["report", "resampling_table", "results_table", "tradeoffs_table"]
