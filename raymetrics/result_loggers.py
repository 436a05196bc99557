"""Send results to the loggers that training runs write to: Weights & Biases, TensorBoard, MLflow.

Each is a package of its own, which is loaded when it is named; see the extra `log`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any

from raymetrics.errors import RaymetricsError
from raymetrics.results import Result

Numbers = Mapping[str, float]


def log_results(results: Iterable[Result], to: str, step: int | None = None) -> None:
    """Log the values of results, and their spreads, as scalars.

    to: "wandb:PROJECT" or "wandb:PROJECT/RUN", "tensorboard:FOLDER", "mlflow:EXPERIMENT" or
    "mlflow:EXPERIMENT/RUN". Their own settings, such as WANDB_MODE and MLFLOW_TRACKING_URI, apply.
    step: by default the number of a snapshot, where the generated source has one, else 0.

    The names are the labels of the results; a spread is called "LABEL deviation". RaymetricsError
    for an unknown logger, or one whose package is not installed.
    """
    kind, place = require_logger(to)
    by_step: dict[int, dict[str, float]] = {}
    for result in results:
        number = step if step is not None else int(result.setting.get("snapshot", 0))
        numbers = by_step.setdefault(number, {})
        numbers[result.label] = result.value
        if result.spread is not None:
            numbers[f"{result.label} deviation"] = result.spread
    _LOGGERS[kind](place, dict(sorted(by_step.items())))


def require_logger(to: str) -> tuple[str, str]:
    """Return the kind and the place of a logger; RaymetricsError if it cannot be used."""
    kind, colon, place = to.partition(":")
    if kind not in _LOGGERS or not colon or not place:
        raise RaymetricsError(
            f"no logger {to!r}; write {', '.join(f'{name}:{_PLACES[name]}' for name in _LOGGERS)}"
        )
    _load(kind)
    return kind, place


def _load(kind: str) -> ModuleType:
    try:
        return importlib.import_module(kind)
    except ImportError:
        raise RaymetricsError(
            f"{kind} is not installed; pip install 'raymetrics[log]', or {_PACKAGES[kind]}"
        ) from None


def _log_to_wandb(place: str, numbers_by_step: Mapping[int, Numbers]) -> None:
    wandb: Any = _load("wandb")
    project, _, name = place.partition("/")
    settings = wandb.Settings(silent=True)
    run = wandb.init(project=project, name=name or None, settings=settings)
    try:
        for step, numbers in numbers_by_step.items():
            run.log(dict(numbers), step=step)
    finally:
        run.finish()


def _log_to_tensorboard(place: str, numbers_by_step: Mapping[int, Numbers]) -> None:
    summary: Any = importlib.import_module("tensorboard.summary")
    writer = summary.Writer(place)
    try:
        for step, numbers in numbers_by_step.items():
            for name, value in numbers.items():
                writer.add_scalar(name, value, step=step)
    finally:
        writer.close()


def _log_to_mlflow(place: str, numbers_by_step: Mapping[int, Numbers]) -> None:
    mlflow: Any = _load("mlflow")
    experiment, _, name = place.partition("/")
    mlflow.set_experiment(experiment)
    with mlflow.start_run(run_name=name or None):
        for step, numbers in numbers_by_step.items():
            for metric, value in numbers.items():
                mlflow.log_metric(_mlflow_name(metric), value, step=step)


def _mlflow_name(label: str) -> str:
    """Return the label without the characters that MLflow refuses in names."""
    allowed = "_-./ "
    return "".join(c if c.isalnum() or c in allowed else "_" for c in label)


_LOGGERS: Mapping[str, Callable[[str, Mapping[int, Numbers]], None]] = {
    "wandb": _log_to_wandb,
    "tensorboard": _log_to_tensorboard,
    "mlflow": _log_to_mlflow,
}
_PLACES = {"wandb": "PROJECT/RUN", "tensorboard": "FOLDER", "mlflow": "EXPERIMENT/RUN"}
_PACKAGES = {"wandb": "wandb", "tensorboard": "tensorboard", "mlflow": "mlflow-skinny"}
