"""The unpruned model: every block runs on every token.

Departures: none; it equals the timm model bit for bit.
"""

from suite.methods import Method, MethodSettings


class Settings(MethodSettings):
    """The unpruned model has no settings and ignores the schedule."""

    reduces = "nothing"


class NoReduction(Method):
    """Removes nothing, whatever the schedule says."""
