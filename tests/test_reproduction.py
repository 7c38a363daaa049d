"""The committed records of one study under several instruction sets say the same, as another processor's would."""

from pathlib import Path

import pytest

from suite.kinds.training.agreement import Agreement, agreement
from suite.report.style import drawn_from
from suite.study.records import digest_of, runs
from suite.study.sides import Side

HOME = Path(__file__).parents[1] / "results" / "reproduction"
RECORDS = sorted(path.parent for path in HOME.glob("*/cells.csv"))
pytestmark = pytest.mark.skipif(not RECORDS, reason="not run yet: nox -s reproduction")


@pytest.fixture(scope="module")
def found() -> Agreement:
    """All pairs of records."""
    return agreement([Side(folder.name, folder) for folder in RECORDS])


@pytest.mark.slow
def test_records_agree(found: Agreement) -> None:
    """Zero lies in 95 % intervals as often as it must; after Holm nothing differs; no two rows change places."""
    inside, total = found.inside
    assert 0 < total <= 10 * len(RECORDS) * (len(RECORDS) - 1) // 2, "rows that are equal to the bit do not count"
    assert found.p_inside >= 0.01, f"{inside} of {total}"
    assert found.differing == []
    assert found.swapped == []


def test_each_record_was_made_as_it_is_called() -> None:
    """By the instruction sets that its runs found; no two records are the same."""
    sets = {}
    for folder in RECORDS:
        (facts,) = {str(sorted(run["numerics"].items())): run["numerics"] for run in runs(folder)}.values()
        onednn = facts["environment"].get("ONEDNN_MAX_CPU_ISA")
        sets[folder.name] = (facts["torch_capability"], facts["mkl_branch"], onednn)
    assert sets["native"][1:] == ("off", None)
    assert sets["portable"] == ("AVX2", "auto", "AVX2")
    assert len(set(sets.values())) == len(RECORDS)


def test_the_figure_is_of_these_records() -> None:
    """By the digest that it keeps of the last of them."""
    kept = drawn_from(HOME / "agreement.png")["cells.csv"]
    assert kept in {digest_of(folder / "cells.csv") for folder in RECORDS}
