"""Statistics of many samples: frozen, mergeable, pure. Imports numpy and scipy."""

from raymetrics.statistics.ball_membership import BallMembership
from raymetrics.statistics.base import (
    ColumnStatistic,
    Statistic,
    fold,
    from_arrays,
    merge_all,
    to_arrays,
)
from raymetrics.statistics.class_histogram import Histogram
from raymetrics.statistics.class_probabilities import ClassScores
from raymetrics.statistics.feature_rows import FeatureRows
from raymetrics.statistics.grouped_statistics import GroupedStatistics, assign_groups
from raymetrics.statistics.knn_distances import NearestDistances
from raymetrics.statistics.moments import Moments
from raymetrics.statistics.nearest_neighbors import NearestNeighbors
from raymetrics.statistics.nested_moments import NestedMoments
from raymetrics.statistics.projected_features import ProjectedFeatures
from raymetrics.statistics.weighted_moments import WeightedMoments

__all__ = [
    "BallMembership",
    "ClassScores",
    "ColumnStatistic",
    "FeatureRows",
    "GroupedStatistics",
    "Histogram",
    "Moments",
    "NearestDistances",
    "NearestNeighbors",
    "NestedMoments",
    "ProjectedFeatures",
    "Statistic",
    "WeightedMoments",
    "assign_groups",
    "fold",
    "from_arrays",
    "merge_all",
    "to_arrays",
]
