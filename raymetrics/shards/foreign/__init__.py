"""Other programs' files: statistics in, exports out. numpy, pyarrow; neither torch nor Ray."""

from raymetrics.shards.foreign.statistics_files import (
    ReferenceStatistics,
    is_statistics,
    read_statistics,
)

__all__ = ["ReferenceStatistics", "is_statistics", "read_statistics"]
