"""Figures of a training study."""
