"""PURE. Which candidates to draw, so that a distance falls: the attacks on FID. numpy and scipy."""

from raymetrics.resampling.objective import Evaluation as Evaluation
from raymetrics.resampling.objective import Evaluator as Evaluator
from raymetrics.resampling.objective import Goal as Goal
from raymetrics.resampling.objective import InMemory as InMemory
from raymetrics.resampling.optimiser import Optimised as Optimised
from raymetrics.resampling.optimiser import State as State
from raymetrics.resampling.optimiser import Step as Step
from raymetrics.resampling.optimiser import minimise as minimise
