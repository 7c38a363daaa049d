"""Queries, keys and values of a block's attention, and what methods read off them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from suite.reduction.tokens import take


@dataclass(frozen=True)
class Projection:
    """What a block's attention works on.

    Attributes:
        query, key, value: (B, H, P+N, d), normalised and rotated as the block does.
        gate: factor on the attention output, (B, P+N, H*d), or None.
        bias: added to the logits of each key, (B, 1, 1, P+N): log of the token's size; None while all sizes are 1.
        scale: factor on the logits.
        prefix: P.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    gate: Tensor | None
    bias: Tensor | None
    scale: float
    prefix: int

    def keys(self) -> Tensor:
        """Mean over heads of the patches' keys, (B, N, d)."""
        return self.key[:, :, self.prefix :].mean(1)

    def class_logits(self) -> Tensor:
        """Mean over heads of the class token's scaled logits on the patches, (B, N), without the sizes' bias."""
        return self._class_products().mean(1)[:, 0, self.prefix :] * self.scale

    def class_row(self) -> Tensor:
        """Mean over heads of the class token's attention to the patches, (B, N), out of a softmax over all tokens."""
        logits = self._class_products() * self.scale
        logits = logits if self.bias is None else logits + self.bias
        return logits.softmax(-1).mean(1)[:, 0, self.prefix :]

    def received(self) -> Tensor:
        """Attention that each patch receives from all tokens, mean over heads, (B, N)."""
        logits = self.query @ self.key.transpose(-2, -1) * self.scale
        logits = logits if self.bias is None else logits + self.bias
        return logits.softmax(-1).sum(2).mean(1)[:, self.prefix :]

    def mean_logits(self) -> Tensor:
        """Mean over heads of the scaled logits of all tokens on all tokens, (B, P+N, P+N), without biases."""
        query, key = (x.transpose(1, 2).flatten(2) for x in (self.query, self.key))
        return (query * (self.scale / self.query.shape[1])) @ key.transpose(1, 2)

    def _class_products(self) -> Tensor:
        return self.query[:, :, :1] @ self.key.transpose(-2, -1)

    def select(self, tokens: Tensor) -> Projection:
        """Keep the tokens `tokens`, (B, K), counted with the prefix."""

        def pick(x: Tensor) -> Tensor:
            rows = take(x.transpose(1, 2).flatten(2), tokens)  # whole rows: heads side by side
            heads: Tensor = rows.unflatten(2, (x.shape[1], -1))
            return heads.transpose(1, 2)

        return replace(
            self,
            query=pick(self.query),
            key=pick(self.key),
            value=pick(self.value),
            gate=None if self.gate is None else take(self.gate, tokens),
            bias=None if self.bias is None else self.bias.gather(3, tokens[:, None, None]),
        )
