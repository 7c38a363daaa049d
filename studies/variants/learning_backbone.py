"""Cropr without stop-gradient: its auxiliary losses also train the backbone."""

from baselines.cropr import Cropr, Settings
from suite.methods import Tokens

__all__ = ["Method", "Settings"]


class Method(Cropr):
    """Auxiliary heads read features that are not detached."""

    def observe(self, tokens: Tokens, layer: int) -> Tokens:
        if not self.training or str(layer) not in self.croppers:
            return tokens
        return tokens.with_auxiliary(self.croppers[str(layer)].predict(tokens.x))
