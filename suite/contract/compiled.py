"""The checks under `torch.compile`: one graph, no second compilation, the outputs of the eager model."""

from __future__ import annotations

import functools

import torch

from suite.contract.case import Broken, Case, Inapplicable, require_near
from suite.reduction.registry import describe

REMOVED = (9, 8)  # compiling unrolls the blocks, so its time grows with their number


def _check(case: Case, backend: str) -> None:
    model, draws = case.model(REMOVED, depth=len(REMOVED)), case.draws()
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


check_compile = functools.partial(_check, backend="aot_eager")


def check_inductor(case: Case) -> None:
    """The same with torch's own compiler, which needs one for C++ on a CPU."""
    trouble = _inductor_trouble()
    if trouble:
        raise Inapplicable(f"inductor cannot compile anything here: {trouble}")
    _check(case, "inductor")


@functools.cache
def _inductor_trouble() -> str:
    """Why inductor cannot compile the simplest function; empty if it can."""
    try:
        torch.compile(torch.neg, backend="inductor")(torch.ones(8))
    except Exception as error:
        return describe(error).split(" Set TORCHDYNAMO")[0]
    return ""
