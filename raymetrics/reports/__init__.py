"""Results to tables, figures and one page. Computes no number."""

from raymetrics.reports.draws import draws_table
from raymetrics.reports.page import report
from raymetrics.reports.tables import table
from raymetrics.reports.tradeoffs import tradeoffs_table

__all__ = ["draws_table", "report", "table", "tradeoffs_table"]
