"""Cropr without stop-gradient: its auxiliary losses also train the backbone."""

from baselines import cropr
from suite.methods import Tokens


class Settings(cropr.Settings):
    """As Cropr's."""

    auxiliary_trains_backbone = True


class Method(cropr.Cropr):
    """Auxiliary heads read features that are not detached."""

    def observe(self, tokens: Tokens, layer: int) -> Tokens:
        if not self.training or str(layer) not in self.croppers:
            return tokens
        return tokens.with_auxiliary(self.croppers[str(layer)].predict(tokens.x))
