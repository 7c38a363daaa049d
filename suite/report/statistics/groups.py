"""Groups of methods that do not differ significantly, instead of a lone winner."""

from __future__ import annotations

import itertools
import string
from collections.abc import Mapping, Sequence

import numpy as np

from suite.report.statistics.intervals import mean
from suite.report.statistics.significance import ALPHA, correct


def pairwise_p(scores: Mapping[str, Mapping[int, float]]) -> dict[tuple[str, str], float]:
    """P of every two methods: Student's t of differences in the seeds that both have, corrected after Holm.

    A method without scores is left out; p is 1 where there is no test.
    """
    pairs = list(itertools.combinations([name for name, own in scores.items() if own], 2))
    return dict(zip(pairs, correct([_p(scores[one], scores[other]) for one, other in pairs]), strict=True))


def tied_groups(scores: Mapping[str, Mapping[int, float]]) -> list[tuple[str, ...]]:
    """All largest groups in which no two methods differ significantly; a method can be in several of them.

    A method without scores is in none. Two methods differ if p of `pairwise_p` is below 0.05. Groups are made by
    insertion and absorption (Piepho 2004, Journal of Computational and Graphical Statistics 13:456). Names come by
    falling median, and so do the groups.
    """
    centre = {name: float(np.median(list(own.values()))) for name, own in scores.items() if own}
    names = sorted(centre, key=lambda name: (-centre[name], name))
    groups = [frozenset(names)] if names else []
    for (one, other), p in pairwise_p({name: scores[name] for name in names}).items():
        if p < ALPHA:
            split = {part for group in groups for part in _without(group, one, other)}
            groups = [group for group in split if not any(group < larger for larger in split)]
    place = {name: index for index, name in enumerate(names)}
    ordered = [tuple(sorted(group, key=place.__getitem__)) for group in groups]
    return sorted(ordered, key=lambda group: [place[name] for name in group])


def letters(groups: Sequence[tuple[str, ...]]) -> dict[str, str]:
    """A letter for each group, in their order; methods that share one do not differ significantly."""
    marks = [string.ascii_lowercase[index % 26] + "'" * (index // 26) for index in range(len(groups))]
    names = dict.fromkeys(name for group in groups for name in group)
    return {name: "".join(mark for mark, group in zip(marks, groups, strict=True) if name in group) for name in names}


def _p(one: Mapping[int, float], other: Mapping[int, float]) -> float:
    found = mean([one[seed] - other[seed] for seed in sorted(one.keys() & other.keys())])
    return found.p if found else 1.0


def _without(group: frozenset[str], one: str, other: str) -> list[frozenset[str]]:
    return [group - {one}, group - {other}] if {one, other} <= group else [group]
