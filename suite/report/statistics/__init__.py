"""Statistics over seeds; every table and figure takes them from here.

Scores are vectors, (runs,). Runs of different methods with the same seed belong together: comparisons pair them. What
is drawn at random is drawn from a `numpy.random.Generator` that the caller passes, so the same seed makes the same
interval.
"""
