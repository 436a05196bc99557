"""The attacks on FID: choose or weigh samples so that a distance falls, though no image
improves.

Imports numpy and scipy.
"""

from raymetrics.attacks.gradient_descent import DescentState as DescentState
from raymetrics.attacks.gradient_descent import descend as descend
from raymetrics.attacks.gradient_descent import paper_loss as paper_loss
from raymetrics.attacks.gradient_descent import program_loss as program_loss
from raymetrics.attacks.matched_features import MatchTarget as MatchTarget
from raymetrics.attacks.matched_features import NonzeroColumns as NonzeroColumns
from raymetrics.attacks.matched_features import match_arrays as match_arrays
from raymetrics.attacks.matched_features import shared_columns as shared_columns
from raymetrics.attacks.reweight_arrays import OPTIMIZERS as OPTIMIZERS
from raymetrics.attacks.reweight_arrays import reweight as reweight
from raymetrics.attacks.top1_rejection import match_top1 as match_top1
from raymetrics.attacks.weighted_sampling import SAMPLING_SCHEMES as SAMPLING_SCHEMES
from raymetrics.attacks.weighted_sampling import draw_by_weight as draw_by_weight
from raymetrics.attacks.weights_objective import Evaluation as Evaluation
from raymetrics.attacks.weights_objective import InMemoryEvaluator as InMemoryEvaluator
from raymetrics.attacks.weights_objective import ObjectiveEvaluator as ObjectiveEvaluator
from raymetrics.attacks.weights_objective import TargetGaussian as TargetGaussian
from raymetrics.attacks.weights_optimizer import LbfgsState as LbfgsState
from raymetrics.attacks.weights_optimizer import OptimizedWeights as OptimizedWeights
from raymetrics.attacks.weights_optimizer import Step as Step
from raymetrics.attacks.weights_optimizer import minimize_distance as minimize_distance
