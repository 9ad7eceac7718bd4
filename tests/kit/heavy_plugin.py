"""A plugin that imports its framework as soon as it is imported itself."""

from __future__ import annotations

import onnx
from honest_policy import Table, TableConfig

from planner_core import PolicySpec, hookimpl

assert onnx


def load():
    return Table


SPEC = PolicySpec("table", "Imports everything at once.", TableConfig, load, True)


@hookimpl
def planner_register_policies(register):
    register(SPEC)
