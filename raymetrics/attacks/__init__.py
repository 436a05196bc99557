"""PURE. Which candidates to draw, so that a distance falls: the attacks on FID. numpy and scipy."""

from raymetrics.attacks.gradient_descent import DescentState as DescentState
from raymetrics.attacks.gradient_descent import by_the_paper as by_the_paper
from raymetrics.attacks.gradient_descent import by_the_program as by_the_program
from raymetrics.attacks.gradient_descent import descend as descend
from raymetrics.attacks.matched_features import Match as Match
from raymetrics.attacks.matched_features import Occurring as Occurring
from raymetrics.attacks.matched_features import kept as kept
from raymetrics.attacks.matched_features import matched as matched
from raymetrics.attacks.reweight_arrays import OPTIMIZERS as OPTIMIZERS
from raymetrics.attacks.reweight_arrays import reweight as reweight
from raymetrics.attacks.top1_rejection import match_top1 as match_top1
from raymetrics.attacks.weighted_sampling import SCHEMES as SCHEMES
from raymetrics.attacks.weighted_sampling import draw as draw
from raymetrics.attacks.weights_objective import Evaluation as Evaluation
from raymetrics.attacks.weights_objective import Evaluator as Evaluator
from raymetrics.attacks.weights_objective import Goal as Goal
from raymetrics.attacks.weights_objective import InMemory as InMemory
from raymetrics.attacks.weights_optimizer import Optimised as Optimised
from raymetrics.attacks.weights_optimizer import State as State
from raymetrics.attacks.weights_optimizer import Step as Step
from raymetrics.attacks.weights_optimizer import minimise as minimise
