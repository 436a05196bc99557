"""Results to tables, figures and one page. Computes no number."""

from raymetrics.reports.page import report
from raymetrics.reports.tables import table

__all__ = ["report", "table"]
