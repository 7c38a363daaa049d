"""Token Cropr: learned queries score patches, auxiliary heads teach them what the task needs, and leave after training.

Bergner et al., "Token Cropr: Faster ViTs for Quite a Few Tasks", arXiv 2412.00965; github benbergner/cropr.

After a block that removes patches sits a module: s_n = sum_m q_m . x_n (router, top-k); and, in training only,
softmax(Q x^T / sqrt(D)) x (aggregator), an MLP residual and an auxiliary head with the task's own loss, on detached
features. Auxiliary losses are added unweighted. Deployed, a module is one vector, the sum of its queries.

Departures:
1. The class token and all other prefix tokens are protected by construction; the official code gives token 0 an
   infinite score, class token or not.
2. Scores are x @ sum_m q_m in training too (equal up to rounding); the official code builds all M x N products, in
   evaluation as well.
3. Kept patches are chosen by top-k without sorting; their order does not matter to the model.
4. Modules sit where the schedule removes patches; the official ones sit after every block but the last one or two.
5. With several queries in classification each predicts the label and the loss is their mean; officially it has one.
6. Gradients of backbone and modules are clipped apart; officially nothing is. Queries are decayed, as officially.
7. Drop path is the backbone's in every block; the official code sets it to 0 in the last.
8. The MLP's LayerNorm has eps 1e-6 and the auxiliary head's 1e-5, as in the official code.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from suite.reduction.blocks import Projection
from suite.reduction.method import Context, Criterion
from suite.reduction.scoring import ScoringMethod
from suite.reduction.settings import MethodSettings, ScoringSettings
from suite.reduction.tokens import Tokens


class Settings(ScoringSettings):
    """`queries` per module (1 for classification), `mlp_ratio` of the aggregator's MLP."""

    fate: Literal["drop"] = "drop"
    queries: int = Field(1, ge=1)
    mlp_ratio: float = Field(4.0, gt=0)


class Aggregator(nn.Module):
    """The part of a module that only training needs: what the queries see, turned into predictions."""

    def __init__(self, width: int, classes: int, mlp_ratio: float) -> None:
        super().__init__()
        hidden = int(width * mlp_ratio)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, queries: Tensor, x: Tensor) -> Tensor:
        """Predictions, (B, M, classes), of queries, (1, M, D), that look at tokens, (B, P+N, D)."""
        seen = ((queries * x.shape[-1] ** -0.5) @ x.transpose(1, 2)).softmax(-1) @ x
        out: Tensor = self.head(seen + self.mlp(self.norm(seen)))
        return out


class CroprModule(nn.Module):
    """Queries, (1, M, D), and the aggregator that trains them."""

    def __init__(self, width: int, classes: int, settings: Settings) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.empty(1, settings.queries, width))
        nn.init.trunc_normal_(self.queries, std=width**-0.5)
        self.aggregator: Aggregator | None = Aggregator(width, classes, settings.mlp_ratio)


class Cropr(ScoringMethod):
    """One module for each block that removes patches."""

    settings: Settings

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__(context, settings)
        layers = [layer for layer, count in enumerate(context.schedule.removed) if count]
        self.croppers = nn.ModuleDict(
            {str(layer): CroprModule(context.width, context.classes, self.settings) for layer in layers}
        )

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        return tokens.patches.detach() @ self._module(layer).queries.sum(1)[0]

    def observe(self, tokens: Tokens, layer: int) -> Tokens:
        if not self.training or str(layer) not in self.croppers:
            return tokens
        module = self._module(layer)
        if module.aggregator is None:
            raise ValueError("a deployed Cropr has no auxiliary heads left and cannot be trained; build it again")
        return tokens.with_auxiliary(module.aggregator(module.queries, tokens.x.detach()))

    def auxiliary_loss(self, auxiliary: Sequence[Tensor], target: Tensor, criterion: Criterion) -> Tensor | None:
        losses = []
        for prediction in auxiliary:  # (B, M, classes); every query predicts the label of its image
            labels = target.unsqueeze(1).expand(prediction.shape[:2])
            losses.append(criterion(prediction.flatten(0, 1), labels.flatten()))
        return torch.stack(losses).sum() if losses else None

    def deploy(self) -> None:
        for module in self.croppers.values():
            assert isinstance(module, CroprModule)
            module.queries = nn.Parameter(module.queries.detach().sum(1, keepdim=True), requires_grad=False)
            module.aggregator = None

    def _module(self, layer: int) -> CroprModule:
        module = self.croppers[str(layer)]
        assert isinstance(module, CroprModule)
        return module
