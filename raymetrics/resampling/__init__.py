"""PURE. Which candidates to draw, so that a distance falls: the attacks on FID. numpy and scipy."""

from raymetrics.resampling.descent import DescentState as DescentState
from raymetrics.resampling.descent import by_the_paper as by_the_paper
from raymetrics.resampling.descent import by_the_program as by_the_program
from raymetrics.resampling.descent import descend as descend
from raymetrics.resampling.drawing import SCHEMES as SCHEMES
from raymetrics.resampling.drawing import draw as draw
from raymetrics.resampling.features import Match as Match
from raymetrics.resampling.features import Occurring as Occurring
from raymetrics.resampling.features import kept as kept
from raymetrics.resampling.features import matched as matched
from raymetrics.resampling.objective import Evaluation as Evaluation
from raymetrics.resampling.objective import Evaluator as Evaluator
from raymetrics.resampling.objective import Goal as Goal
from raymetrics.resampling.objective import InMemory as InMemory
from raymetrics.resampling.optimiser import Optimised as Optimised
from raymetrics.resampling.optimiser import State as State
from raymetrics.resampling.optimiser import Step as Step
from raymetrics.resampling.optimiser import minimise as minimise
from raymetrics.resampling.rejection import match_top1 as match_top1
from raymetrics.resampling.reweight import OPTIMIZERS as OPTIMIZERS
from raymetrics.resampling.reweight import reweight as reweight
