"""Queries, keys and values of a block's attention, and what methods read off them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.reduction.tokens import take


@dataclass(frozen=True)
class Projection:
    """What a block's attention works on.

    Attributes:
        query, key, value: (B, H, P+N, d), normalised and rotated as the block does.
        gate: factor on the attention output, (B, P+N, H*d), or None.
        bias: added to the logits of each key, (B, 1, 1, P+N): log of the token's size, minus infinity for padding; None
            while all sizes are 1.
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

    def class_rows(self) -> Tensor:
        """The class token's attention to the patches in each head, (B, H, N).

        Keys of heads lie side by side in memory, and a product for each head would copy them; so the query of each is
        filled up with zeros for the others.
        """
        own = torch.eye(self.query.shape[1], dtype=self.query.dtype, device=self.query.device)
        query = (self.query[:, :, :1] * own.unsqueeze(-1)).flatten(2)
        logits = query @ self.key.transpose(1, 2).flatten(2).transpose(1, 2) * self.scale
        logits = logits if self.bias is None else logits + self.bias[:, 0]
        return logits.softmax(-1)[:, :, self.prefix :]

    def attention(self) -> Tensor:
        """Of all tokens to all, (B, H, P+N, P+N)."""
        return self._logits().softmax(-1)

    def received(self) -> Tensor:
        """Attention that each patch receives from all tokens, mean over heads, (B, N)."""
        return self.attention().sum(2).mean(1)[:, self.prefix :]

    def masked(self, policy: Tensor, dropout: float = 0.0, eps: float = 1e-6) -> Tensor:
        """Sums of values by attention, (B, H, T, d), in which patches of `policy`, (B, N), 0 count for themselves only.

        y_i = sum_j a_ij v_j, a_ij = (e_ij m_ij + eps / T) / (sum_k e_ik m_ik + eps), where e_ij = exp(l_ij - max_k
        l_ik), m_ij is the policy of j, and m_ii = 1 (DynamicViT, arXiv 2106.02034, section 3.3, and its code). It is
        a product, because a logarithm of the policy on the logits has no finite gradient at 0. Here e and eps are
        divided by sum_k e_ik, so that a softmax does most of it; the largest of its weights is one over that sum.
        """
        weight = self._logits().softmax(-1, dtype=torch.float32)
        eps_i = eps * weight.amax(-1, keepdim=True)
        seen, count = F.pad(policy, (self.prefix, 0), value=1.0), weight.shape[-1]
        itself = torch.eye(count, dtype=torch.bool, device=seen.device)
        weight = weight * torch.where(itself, 1.0, seen[:, None, None])
        some = F.dropout(weight, dropout).to(self.value.dtype) @ self.value
        every = eps_i / count * self.value.sum(2, keepdim=True)
        return ((some + every) / (weight.sum(-1, keepdim=True) + eps_i)).to(self.value.dtype)

    def mean_logits(self) -> Tensor:
        """Mean over heads of the scaled logits of all tokens on all tokens, (B, P+N, P+N), without biases."""
        query, key = (x.transpose(1, 2).flatten(2) for x in (self.query, self.key))
        return (query * (self.scale / self.query.shape[1])) @ key.transpose(1, 2)

    def _logits(self) -> Tensor:
        logits = self.query @ self.key.transpose(-2, -1) * self.scale
        return logits if self.bias is None else logits + self.bias

    def _class_products(self) -> Tensor:
        return self.query[:, :, :1] @ self.key.transpose(-2, -1)

    def select(self, tokens: Tensor) -> Projection:
        """Keep the tokens `tokens`, (B, K), counted with the prefix."""
        return replace(
            self.asked_by(tokens),
            key=_rows(self.key, tokens),
            value=_rows(self.value, tokens),
            bias=None if self.bias is None else self.bias.gather(3, tokens[:, None, None]),
        )

    def asked_by(self, tokens: Tensor) -> Projection:
        """Queries of the tokens `tokens`, (B, K), counted with the prefix, only; keys and values of all."""
        gate = None if self.gate is None else take(self.gate, tokens)
        return replace(self, query=_rows(self.query, tokens), gate=gate)


def _rows(x: Tensor, tokens: Tensor) -> Tensor:
    """Tokens `tokens`, (B, K), of x, (B, H, T, d): whole rows, with heads side by side."""
    rows: Tensor = take(x.transpose(1, 2).flatten(2), tokens).unflatten(2, (x.shape[1], -1))
    return rows.transpose(1, 2)
