"""How removed patches come back (Token Cropr, arXiv 2412.00965, Table 5), whatever the method.

none             they do not; in a dense read-out the nearest kept patch represents each (our choice)
last-layer       they rejoin before the last block, with the features they had when removed (Cropr's LLF)
concatenation    they rejoin after the last block, with the features they had when removed
logits           a head after each block that removes patches predicts the classes of those removed there (as in DToP,
                 arXiv 2308.01045)
cross-attention  one learned query for each patch attends to the kept tokens

The paper's text was not at hand: heads and cross-attention are one layer each, as small as they can be. The last three
matter to dense read-outs only; classification ignores them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention

from suite.reduction.method import Context, initialise
from suite.reduction.tokens import Tokens


class ExitHeads(nn.Module):
    """A LayerNorm and a linear head for each block that removes patches."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.heads = nn.ModuleDict()
        for layer, count in enumerate(context.schedule.removed):
            if count:
                norm, head = nn.LayerNorm(context.width, eps=1e-6), nn.Linear(context.width, context.classes)
                self.heads[str(layer)] = nn.Sequential(norm, head)
        initialise(self)

    def forward(self, before: Tokens, after: Tokens, layer: int) -> Tokens:
        """Predict for the patches that block `layer` stashed: in `after` and not in `before`."""
        if after.stashed is None or str(layer) not in self.heads:
            return after
        already = 0 if before.stashed is None else before.stashed.shape[1]
        left = after.stashed[:, already:]
        return after.with_stashed_logits(self.heads[str(layer)](left)) if left.shape[1] else after


class CrossAttention(nn.Module):
    """One learned query for each original patch attends to the kept tokens."""

    def __init__(self, context: Context) -> None:
        super().__init__()
        self.heads = context.heads
        self.queries = nn.Parameter(torch.empty(1, context.schedule.patches, context.width))
        nn.init.trunc_normal_(self.queries, std=0.02)
        self.key, self.value = nn.Linear(context.width, context.width), nn.Linear(context.width, context.width)
        self.output = nn.Linear(context.width, context.width)

    def forward(self, tokens: Tokens) -> Tensor:
        """Features of every original patch, (B, N0, D), from normalised tokens."""
        x, absent = tokens.x, tokens.absent
        mask = None if absent is None else pad(~absent, (tokens.prefix, 0), value=True)[:, None, None]
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.queries.expand(x.shape[0], -1, -1), self.key(x), self.value(x))
        )
        seen = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.output(seen.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


def build_fusion(context: Context) -> nn.Module | None:
    """The module of a fusion that has weights, else None."""
    if context.fusion == "logits":
        return ExitHeads(context)
    return CrossAttention(context) if context.fusion == "cross-attention" else None
