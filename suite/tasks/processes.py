"""One training in several processes: each computes parts of every batch, gradients are summed.

Where `joined` did not make this process one of several, there is one, and nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor
    from torch.distributed import Store  # type: ignore[attr-defined]

_JOINED: list[tuple[int, int]] = []  # number of this process and how many there are, if it is one of several


@contextmanager
def joined(store: Store, number: int, processes: int, device: str) -> Iterator[None]:
    """Be one of several processes that train one model, on cuda with the current GPU; all meet in a store.

    A process group that somebody else made of this process is none: he shares work out himself.
    """
    import torch.distributed as group

    backend = "nccl" if device == "cuda" else "gloo"
    group.init_process_group(backend, store=store, rank=number, world_size=processes)
    _JOINED.append((number, processes))
    yield
    group.barrier()
    group.destroy_process_group()
    _JOINED.clear()


def count() -> int:
    """Processes that train one model."""
    return _JOINED[0][1] if _JOINED else 1


def rank() -> int:
    """The number of this process, from 0."""
    return _JOINED[0][0] if _JOINED else 0


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
