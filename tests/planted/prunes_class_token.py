"""Wrong: prefix tokens take part in the ranking, so the class token may leave."""

from dataclasses import replace

import torch

from suite.methods import Method, MethodSettings, Tensor, Tokens, nn, run, take


class Settings(MethodSettings):
    """No settings of its own."""


class PrunesClassToken(Method):
    """Tokens of small norm leave after the block, whatever they are."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        tokens = run(block, tokens)
        count, prefix = self.counts[layer], tokens.prefix
        if not count:
            return tokens
        keep: Tensor = tokens.x.norm(dim=-1).topk(tokens.x.shape[1] - count).indices.sort(1).values
        stay = tokens.select(keep[:, prefix:] - prefix)
        return replace(stay, x=torch.cat([take(tokens.x, keep[:, :prefix]), stay.patches], 1))
