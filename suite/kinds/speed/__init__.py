"""Timing: studies of speed, speed cells of other studies, `suite speed`, latency budgets."""
