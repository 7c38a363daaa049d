"""One training in several processes: each computes parts of every batch, gradients are summed.

Without a process group of torch's there is one process, and nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def count() -> int:
    """Processes that train one model."""
    import torch.distributed as group

    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    import torch.distributed as group

    return group.get_rank() if count() > 1 else 0


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Give every process the sum of the gradients of all."""
    if count() == 1:
        return
    import torch.distributed as group
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    together = parameters_to_vector(gradients)
    group.all_reduce(together)
    vector_to_parameters(together, gradients)


def total(number: float) -> float:
    """The sum of a number over all processes."""
    return float(sum(_everywhere(number)))


def in_turn(found: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Values of all examples, (n, ...), of which this process has every `count()`-th from its `rank()` on."""
    if count() == 1:
        return found
    import numpy as np

    parts = _everywhere(found)
    whole = np.empty((sum(map(len, parts)), *found.shape[1:]), found.dtype)
    for number, part in enumerate(parts):
        whole[number :: count()] = part
    return whole


def _everywhere(value: Any) -> list[Any]:
    import torch.distributed as group

    found = [value] * count()
    if count() > 1:
        group.all_gather_object(found, value)
    return found
