"""Token Cropr: learned queries score patches, auxiliary heads teach them what the task needs, and leave after training.

Bergner et al., "Token Cropr: Faster ViTs for Quite a Few Tasks", arXiv 2412.00965; github benbergner/cropr (2f8b624).

After a block that removes patches sits a module: s_n = sum_m q_m . x_n (router, top-k); and, in training only,
softmax(Q x^T / sqrt(D)) x (aggregator), an MLP residual and an auxiliary head with the task's own loss, on detached
features. Auxiliary losses are added unweighted. Deployed, a module is one vector, the sum of its queries.

As published:
- ViT-L, R=8 with last-layer fusion (`cropr_pruning_rate=8`): `{constant: 8, blocks: 0-21, extra_first: 1}`, `fusion:
  last-layer`.
- Segmentation at 512 pixels, R=40 (`cropr_pruning_rate=40`): `{constant: 40, blocks: 0-21, extra_first: 1}`, `queries`:
  the number of patches.

Departures:
1. The class token and all other prefix tokens are protected by construction; the official code gives token 0 an
   infinite score, class token or not.
2. Scores are x @ sum_m q_m in training too (equal up to rounding); the official code builds all M x N products, in
   evaluation as well. With projections the vector is W_k^T W_q sum_m q_m, whatever the number of heads.
3. Kept patches are chosen by top-k without sorting; their order does not matter to the model.
4. Modules sit where the schedule removes patches; the official ones sit after every block but the last one or two.
5. With several queries in classification each predicts the label and the loss is their mean; officially it has one.
6. Gradients of backbone and modules are clipped apart; officially nothing is. Queries are decayed, as officially.
7. Drop path is the backbone's in every block; the official code sets it to 0 in the last.
8. The MLP's LayerNorm has eps 1e-6 and the auxiliary head's 1e-5, as in the official code.
9. The official curriculum for segmentation is the recipe's `curriculum: official`; it also works for an odd number of
   epochs. `linear` is ours: any schedule, from nothing removed, rounded to the nearest.
"""

from collections.abc import Sequence
from typing import Any

import torch

from suite.methods import (
    Context,
    Criterion,
    Field,
    Literal,
    MethodSettings,
    Projection,
    ScoringMethod,
    ScoringSettings,
    Tensor,
    Tokens,
    initialise,
    nn,
    paired,
)


class Settings(ScoringSettings):
    """`queries` per module: 1 for classification, as many as patches for segmentation.

    The rest are the paper's ablations: `heads` of the aggregator, which of query, key and value are projected
    (`projections`), LayerNorm before all of them (`pre_norm`), and the aggregator's `mlp` with its `mlp_ratio`.
    """

    action: Literal["prune"] = "prune"
    queries: int = Field(1, ge=1)
    heads: int = Field(1, ge=1)
    projections: tuple[Literal["query", "key", "value"], ...] = ()
    pre_norm: bool = False
    mlp: bool = True
    mlp_ratio: float = Field(4.0, gt=0)

    def check_dense(self, patches: int) -> None:
        if self.queries != patches:
            raise ValueError(f"{patches} patches need as many queries, found {self.queries}; set queries: {patches}")

    def project(self, what: Literal["query", "key", "value"], width: int) -> nn.Module:
        """Projection without bias, or the identity."""
        return nn.Linear(width, width, bias=False) if what in self.projections else nn.Identity()


class Aggregator(nn.Module):
    """The part of a module that only training needs: what the queries see, turned into predictions."""

    def __init__(self, width: int, classes: int, settings: Settings) -> None:
        super().__init__()
        self.heads, hidden = settings.heads, int(width * settings.mlp_ratio)
        self.value = settings.project("value", width)
        self.output = nn.Linear(width, width) if settings.heads > 1 else nn.Identity()
        up, down = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width, eps=1e-6), up, nn.GELU(), down) if settings.mlp else None
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))

    def forward(self, queries: Tensor, keys: Tensor, x: Tensor) -> Tensor:
        """Predictions, (B, M, classes), of queries, (1, M, D), that look at tokens, (B, P+N, D)."""
        parts = (queries.expand(len(x), -1, -1), keys, self.value(x))
        query, key, value = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in parts)
        seen = self.output(nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return self.head(seen if self.mlp is None else seen + self.mlp(seen))  # type: ignore[no-any-return]


class CroprModule(nn.Module):
    """Queries, (1, M, D), and the aggregator that trains them."""

    def __init__(self, context: Context, settings: Settings) -> None:
        super().__init__()
        width = context.width
        self.queries = nn.Parameter(torch.empty(1, settings.queries, width))
        self.norm = nn.LayerNorm(width, eps=1e-6) if settings.pre_norm else nn.Identity()
        self.query, self.key = settings.project("query", width), settings.project("key", width)
        self.aggregator: Aggregator | None = Aggregator(width, context.classes, settings)
        initialise(self)
        nn.init.trunc_normal_(self.queries, std=width**-0.5)

    def folded(self) -> Tensor:
        """The vector, (D,), whose product with a normalised token is its score."""
        query: Tensor = self.query(self.queries.sum(1)[0])
        return query @ self.key.weight if isinstance(self.key, nn.Linear) else query

    def predict(self, x: Tensor) -> Tensor:
        """Auxiliary predictions, (B, M, classes), from tokens, (B, P+N, D)."""
        if self.aggregator is None:
            raise ValueError("a deployed Cropr has no auxiliary heads left and cannot be trained; build it again")
        x = self.norm(x)
        return self.aggregator(self.query(self.queries), self.key(x), x)  # type: ignore[no-any-return]

    @torch.no_grad()
    def fold(self) -> None:
        """Leave one query and no aggregator; scores stay as they were."""
        self.queries = nn.Parameter(self.folded()[None, None], requires_grad=False)
        self.query, self.key, self.aggregator = nn.Identity(), nn.Identity(), None


class Cropr(ScoringMethod):
    """One module for each block that removes patches."""

    settings: Settings
    croppers: Any  # nn.ModuleDict of CroprModule by block

    def __init__(self, context: Context, settings: MethodSettings) -> None:
        super().__init__(context, settings)
        if context.width % self.settings.heads:
            raise ValueError(f"{context.width} channels cannot be split into {self.settings.heads} heads")
        layers = [str(layer) for layer, count in enumerate(context.schedule.removed) if count]
        self.croppers = nn.ModuleDict({layer: CroprModule(context, self.settings) for layer in layers})

    def score(self, tokens: Tokens, projection: Projection | None, layer: int) -> Tensor:
        module = self.croppers[str(layer)]
        x = tokens.x if module.aggregator is None else tokens.patches.detach()  # deployed: a slice would be copied
        return (module.norm(x) @ module.folded())[:, -tokens.count :]  # type: ignore[no-any-return]

    def direction(self, layer: int) -> Tensor:
        return self.croppers[str(layer)].folded()  # type: ignore[no-any-return]

    def observe(self, tokens: Tokens, layer: int) -> Tokens:
        if not self.training or str(layer) not in self.croppers:
            return tokens
        return tokens.with_auxiliary(self.croppers[str(layer)].predict(tokens.x.detach()))

    def auxiliary_loss(self, auxiliary: Sequence[Tensor], target: Tensor, criterion: Criterion) -> Tensor | None:
        """Of predictions, (B, M, classes), for labels, (B,), of images, or (B, N0), of patches with one query each."""
        losses = [criterion(*paired(predictions, target)) for predictions in auxiliary]
        return torch.stack(losses).sum() if losses else None

    def deploy(self) -> None:
        for module in self.croppers.values():
            module.fold()
