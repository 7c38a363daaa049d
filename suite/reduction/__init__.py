"""Tokens, blocks, schedules, the base classes of methods, and the reduced model."""
