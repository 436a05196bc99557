"""Results to tables, figures and one page. Computes no number."""

from raymetrics.reports.comparison_page import report
from raymetrics.reports.resampling_section import draws_table
from raymetrics.reports.sweep_section import tradeoffs_table
from raymetrics.reports.terminal import table

__all__ = ["draws_table", "report", "table", "tradeoffs_table"]
