"""Other programs' files: statistics in, exports out. numpy, pyarrow; neither torch nor Ray."""

from raymetrics.shards.interop.exports import FORMATS, export
from raymetrics.shards.interop.reference import (
    ReferenceStatistics,
    is_statistics,
    read_statistics,
)

__all__ = ["FORMATS", "ReferenceStatistics", "export", "is_statistics", "read_statistics"]
