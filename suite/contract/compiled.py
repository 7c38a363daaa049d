"""The checks under `torch.compile`: one graph, no second compilation, the outputs of the eager model."""

from __future__ import annotations

import functools

import torch

from suite.contract.case import Broken, Case, Inapplicable, require_near
from suite.errors import describe
from suite.reduction.settings import Fusion

# compiling unrolls the blocks, so its time grows with their number
REMOVED: dict[Fusion, tuple[int, ...]] = {"none": (9, 8), "last-layer": (9, 0, 0)}


def _check(case: Case, backend: str, fusion: Fusion = "none") -> None:
    removed = REMOVED[fusion]
    model, draws = case.model(removed, fusion, depth=len(removed)), case.draws()
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend=backend)
    with torch.inference_mode():
        for seed in (1, 2):
            images = case.images(2, seed)
            with torch._dynamo.config.patch(error_on_recompile=seed > 1):
                found = compiled(images)
            if not found.isfinite().all():
                raise Broken(f"compiled logits of call {seed} are not finite")
            if not draws:  # other draws when compiled
                require_near(found, model(images), f"compiled logits of call {seed}, against the eager ones,")


def check_compile(case: Case) -> None:
    """One graph, with and without last-layer fusion; nothing is generated, so it is quick."""
    for fusion in case.fusions():
        _check(case, "aot_eager", fusion)


def check_inductor(case: Case) -> None:
    """The same with torch's own compiler, which needs one for C++ on a CPU."""
    trouble = inductor_trouble()
    if trouble:
        raise Inapplicable(f"inductor cannot compile anything here: {trouble}")
    _check(case, "inductor")


@functools.cache
def inductor_trouble() -> str:
    """Why inductor cannot compile the simplest function; empty if it can."""
    try:
        torch.compile(torch.neg, backend="inductor")(torch.ones(8))
    except Exception as error:
        return describe(error).split(" Set TORCHDYNAMO")[0]
    return ""
