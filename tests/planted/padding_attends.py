"""Wrong: images are padded to the batch's longest, and only what lies beyond that is masked, so padding attends."""

from dataclasses import replace

import torch

from suite.methods import Method, MethodSettings, Tokens, nn, run


class Settings(MethodSettings):
    """No settings of its own."""

    is_adaptive = True


class PaddingAttends(Method):
    """Patches whose norm is below the image's mean leave after the block, as far as the schedule asks for it."""

    def forward_block(self, block: nn.Module, tokens: Tokens, layer: int) -> Tokens:
        done = replace(run(block, trimmed(tokens)), size=tokens.size)
        if not self.counts[layer]:
            return done
        norm = done.patches.norm(dim=-1)
        gone = norm < norm.mean(1, keepdim=True)
        keep = gone.argsort(dim=1, stable=True)[:, : done.count - self.counts[layer]]
        return done.without(gone).select(keep)


def trimmed(tokens: Tokens) -> Tokens:
    """The longest image of the batch decides what is no token."""
    if tokens.size is None:
        return tokens
    longest = (tokens.size > 0).sum(1).max()
    ones = torch.ones_like(tokens.size)
    return replace(tokens, size=ones.masked_fill(torch.arange(tokens.count) >= longest, 0))
