"""The metrics: formulas of statistics and arrays. Pure, one definition a file.

Imports numpy and scipy; the one formula that needs scikit-learn loads it when it is called.
"""

from raymetrics.metrics.aesthetic import AestheticHead, aesthetic_score, load_aesthetic_head
from raymetrics.metrics.authenticity import NearestTraining, auth_pct, neighbor_ratios
from raymetrics.metrics.clip_score import SCALINGS, clip_score, scale_cosines
from raymetrics.metrics.clipped_density_coverage import clipped_coverage, clipped_density
from raymetrics.metrics.cmmd import CMMDBandwidth, CMMDLengths, cmmd, cmmd_influences
from raymetrics.metrics.conventions import (
    CONVENTIONS,
    PROTOCOLS,
    Convention,
    Protocol,
    get_convention,
    get_protocol,
)
from raymetrics.metrics.data_copying import (
    CellDistances,
    CopyingTest,
    Projection,
    assign_cells,
    c_t,
    find_cells,
    mann_whitney_z,
)
from raymetrics.metrics.frechet import Gaussian, frechet_distance
from raymetrics.metrics.frechet_extrapolation import (
    FrechetByCount,
    FrechetInfinity,
    frechet_by_count,
    frechet_infinity,
    subset_sizes,
)
from raymetrics.metrics.frechet_ratio import FDR6_SPACES, PUBLISHED, PUBLISHED_NORMS, Norm
from raymetrics.metrics.inception_score import InceptionScore, assign_splits, inception_score
from raymetrics.metrics.jedi import jedi
from raymetrics.metrics.kad import KADBandwidth, kad
from raymetrics.metrics.kernel import (
    KernelDistance,
    draw_subsets,
    kernel_distance,
    kernel_distance_of_draws,
    kernel_distance_parts,
)
from raymetrics.metrics.manifold_survey import (
    ManifoldSurvey,
    radii_up_to_median,
    require_neighbors,
    survey_manifolds,
)
from raymetrics.metrics.mean_score import MeanScore, mean_score
from raymetrics.metrics.mifid import THRESHOLD as MIFID_THRESHOLD
from raymetrics.metrics.mifid import memorization_distance, mifid
from raymetrics.metrics.mind import mind, mind_of_projections
from raymetrics.metrics.prd import (
    PRDCurve,
    PRDScores,
    curve_of_histograms,
    f_beta,
    prd_curve,
    prd_scores,
)
from raymetrics.metrics.precision_recall import (
    ManifoldScores,
    PrecisionRecall,
    densities_coverages,
    f_score,
    manifold_scores,
    precision_recall,
    precisions_recalls,
    rank_ids,
)
from raymetrics.metrics.precision_recall_cover import precision_recall_cover
from raymetrics.metrics.precision_recall_curve import (
    curve_of_quotients,
    default_neighbors,
    neighbors_by_side,
)
from raymetrics.metrics.probabilistic_precision_recall import probabilistic_precision_recall
from raymetrics.metrics.reference_geometry import effective_rank, log_density
from raymetrics.metrics.renyi_kernel_entropy import (
    cosine_kernel,
    gaussian_kernel,
    gaussian_mode_count,
    relative_cosine_entropy,
    relative_entropy,
)
from raymetrics.metrics.sliced_wasserstein import (
    approximate_sliced_wasserstein,
    sliced_wasserstein,
    sliced_wasserstein_of_projections,
)
from raymetrics.metrics.symmetric_precision_recall import symmetric_precisions_recalls
from raymetrics.metrics.top1_distance import total_variation
from raymetrics.metrics.unit_length import normalize_rows
from raymetrics.metrics.vendi import require_order, vendi_score

__all__ = [
    "CONVENTIONS",
    "FDR6_SPACES",
    "MIFID_THRESHOLD",
    "PROTOCOLS",
    "PUBLISHED",
    "PUBLISHED_NORMS",
    "SCALINGS",
    "AestheticHead",
    "CMMDBandwidth",
    "CMMDLengths",
    "CellDistances",
    "Convention",
    "CopyingTest",
    "FrechetByCount",
    "FrechetInfinity",
    "Gaussian",
    "InceptionScore",
    "KADBandwidth",
    "KernelDistance",
    "ManifoldScores",
    "ManifoldSurvey",
    "MeanScore",
    "NearestTraining",
    "Norm",
    "PRDCurve",
    "PRDScores",
    "PrecisionRecall",
    "Projection",
    "Protocol",
    "aesthetic_score",
    "approximate_sliced_wasserstein",
    "assign_cells",
    "assign_splits",
    "auth_pct",
    "c_t",
    "clip_score",
    "clipped_coverage",
    "clipped_density",
    "cmmd",
    "cmmd_influences",
    "cosine_kernel",
    "curve_of_histograms",
    "curve_of_quotients",
    "default_neighbors",
    "densities_coverages",
    "draw_subsets",
    "effective_rank",
    "f_beta",
    "f_score",
    "find_cells",
    "frechet_by_count",
    "frechet_distance",
    "frechet_infinity",
    "gaussian_kernel",
    "gaussian_mode_count",
    "get_convention",
    "get_protocol",
    "inception_score",
    "jedi",
    "kad",
    "kernel_distance",
    "kernel_distance_of_draws",
    "kernel_distance_parts",
    "load_aesthetic_head",
    "log_density",
    "manifold_scores",
    "mann_whitney_z",
    "mean_score",
    "memorization_distance",
    "mifid",
    "mind",
    "mind_of_projections",
    "neighbor_ratios",
    "neighbors_by_side",
    "normalize_rows",
    "prd_curve",
    "prd_scores",
    "precision_recall",
    "precision_recall_cover",
    "precisions_recalls",
    "probabilistic_precision_recall",
    "radii_up_to_median",
    "rank_ids",
    "relative_cosine_entropy",
    "relative_entropy",
    "require_neighbors",
    "require_order",
    "scale_cosines",
    "sliced_wasserstein",
    "sliced_wasserstein_of_projections",
    "subset_sizes",
    "survey_manifolds",
    "symmetric_precisions_recalls",
    "total_variation",
    "vendi_score",
]
