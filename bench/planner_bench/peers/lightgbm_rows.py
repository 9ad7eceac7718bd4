"""LightGBM's own fast call for one row: its C interface, which its Python package does not show.

``Booster.predict`` sets up a prediction at every call; ``LGBM_BoosterPredictForCSRSingleRowFast`` does so once.
"""

from __future__ import annotations

import ctypes
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from planner_core import PlannerError

FLOAT32, INT32, NORMAL = 0, 2, 0
"""Constants of LightGBM's C interface: type of the values, of the row pointers, and of the prediction."""


@cache
def _library() -> ctypes.CDLL:
    """The shared library that the Python package brings."""
    import lightgbm

    found = sorted((Path(lightgbm.__file__).parent / "lib").glob("lib_lightgbm.*"))
    if not found:
        raise PlannerError(f"lightgbm {lightgbm.__version__}: its shared library is not where it was expected")
    library = ctypes.CDLL(str(found[0]))
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    return library


def _check(status: int) -> None:
    if status:
        raise PlannerError(f"lightgbm: {_library().LGBM_GetLastError().decode()}")


class FastRow:
    """Class probabilities of single sparse rows of ones, by one thread. Not safe to share between threads."""

    def __init__(self, booster: Any) -> None:
        library = _library()
        handle, config, rounds = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_int()
        text = ctypes.c_char_p(booster.model_to_string().encode())
        _check(library.LGBM_BoosterLoadModelFromString(text, ctypes.byref(rounds), ctypes.byref(handle)))
        weakref.finalize(self, library.LGBM_BoosterFree, handle)
        width = booster.num_feature()
        options = ctypes.c_char_p(b"num_threads=1")
        _check(
            library.LGBM_BoosterPredictForCSRSingleRowFastInit(
                handle, NORMAL, 0, -1, FLOAT32, ctypes.c_int64(width), options, ctypes.byref(config)
            )
        )
        weakref.finalize(self, library.LGBM_FastConfigFree, config)
        self._config, self._call = config, library.LGBM_BoosterPredictForCSRSingleRowFast
        self._bounds = np.zeros(2, np.int32)
        self._columns, self._ones = np.zeros(width, np.int32), np.ones(width, np.float32)
        self._out = np.zeros(booster.num_model_per_iteration(), np.float64)
        self._count = ctypes.c_int64()
        pointers = (self._bounds, self._columns, self._ones, self._out)
        self._at = [ctypes.c_void_p(array.ctypes.data) for array in pointers]
        self._count_at = ctypes.byref(self._count)

    def __call__(self, columns: NDArray[np.integer]) -> NDArray[np.float64]:
        """float64 [classes] for a row that is 1 at ``columns`` (ascending) and 0 elsewhere; overwritten by the next."""
        n = len(columns)
        self._columns[:n] = columns
        self._bounds[1] = n
        bounds, indices, ones, out = self._at
        _check(
            self._call(
                self._config,
                bounds,
                INT32,
                indices,
                ones,
                ctypes.c_int64(2),
                ctypes.c_int64(n),
                self._count_at,
                out,
            )
        )
        return self._out
