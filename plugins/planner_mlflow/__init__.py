"""Training runs in MLflow, where ``MLFLOW_TRACKING_URI`` says which; without it nothing of this is even imported."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from planner_core import hookimpl

if TYPE_CHECKING:
    from planner_core import TrainingCallback

__all__ = ["planner_training_callbacks"]


@hookimpl
def planner_training_callbacks(register: Callable[[TrainingCallback], None]) -> None:
    """Register the logger where a tracking server or store is named and MLflow is there to talk to it."""
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        return
    if find_spec("mlflow") is None:
        logging.getLogger("planner").warning(
            "MLFLOW_TRACKING_URI is set and mlflow is not installed, so nothing is logged there: "
            "pip install 'swarm-planner[mlflow]'"
        )
        return
    from planner_mlflow.logger import MlflowLogger

    register(MlflowLogger(uri))
