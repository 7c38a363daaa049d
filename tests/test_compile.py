"""Every method compiles as one graph, and a second call does not compile again."""

from __future__ import annotations

import pytest
import torch
from backbones import build, draw_images

from suite.reduction.model import reduce
from suite.reduction.registry import modules

REMOVED = (9, 8, 0, 0)
DRAWS = {"random"}  # other draws when compiled


@pytest.mark.parametrize("method", sorted(modules()))
def test_compiles_as_one_graph(method: str) -> None:
    """No graph break, no recompilation for other images of the same size, and the outputs of the eager model."""
    torch._dynamo.reset()
    model = reduce(build("vit"), method, REMOVED).eval()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    with torch.inference_mode():
        for seed in (1, 2):
            images = draw_images(model.backbone, 2, seed)
            with torch._dynamo.config.patch(error_on_recompile=seed > 1):
                found = compiled(images)
            assert found.shape == (2, 10)
            assert found.isfinite().all()
            if method not in DRAWS:
                torch.testing.assert_close(found, model(images), rtol=0, atol=1e-5)
