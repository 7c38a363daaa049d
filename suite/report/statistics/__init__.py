"""Statistics over seeds; every table and figure takes them from here.

Scores are vectors, (runs,). Runs of different methods with the same seed belong together: comparisons pair them. What
is drawn at random is drawn from a `numpy.random.Generator` that the caller passes, so the same seed makes the same
interval.
"""

from suite.report.statistics.aggregates import Scores, Spread, inter_quartile_mean, pareto_front, spread
from suite.report.statistics.comparisons import Comparison, compare, probability_of_improvement, seeds_won
from suite.report.statistics.groups import letters, pairwise_p, tied_groups
from suite.report.statistics.intervals import Interval, interval
from suite.report.statistics.power import fewest_seeds, seeds_needed, simulated_power, t_power
from suite.report.statistics.significance import ALPHA, correct, signed_rank_p, smallest_p

__all__ = [
    "ALPHA",
    "Comparison",
    "Interval",
    "Scores",
    "Spread",
    "compare",
    "correct",
    "fewest_seeds",
    "inter_quartile_mean",
    "interval",
    "letters",
    "pairwise_p",
    "pareto_front",
    "probability_of_improvement",
    "seeds_needed",
    "seeds_won",
    "signed_rank_p",
    "simulated_power",
    "smallest_p",
    "spread",
    "t_power",
    "tied_groups",
]
