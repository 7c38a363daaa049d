"""A benchmark of token reduction in Vision Transformers; see `suite.api` for its use from Python.

Rooms, each of which imports only from those before it: `reduction`, `data`, `tasks`, `measure`, `official`, `study`,
`run`, `report`, `contract`, `kinds`, `ledger`, `cli`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from suite.api import count, evaluate, load, reduce, results, time_side_by_side

__all__ = ["count", "evaluate", "load", "reduce", "results", "time_side_by_side"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    """Functions of `suite.api`, imported when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module 'suite' has no attribute {name!r}")
    from suite import api

    return getattr(api, name)
