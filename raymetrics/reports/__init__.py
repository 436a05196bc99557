"""Results to tables, figures and one page. Computes no number."""

from raymetrics.reports.draws import draws_table
from raymetrics.reports.page import report
from raymetrics.reports.tables import table

__all__ = ["draws_table", "report", "table"]
