"""Records of which no table can be made are refused; what a table must not hide is marked. Always with the reason."""

import csv
import re
from pathlib import Path

import pytest
from hand_made import SCHEDULE, Rows, cell, cells, diverged, lines, speed, written
from scipy import stats

from suite.errors import UserError
from suite.kinds.training.figures.looks import BLACK, looks
from suite.kinds.training.line import Line, Versus
from suite.kinds.training.summary import read_record, summarise
from suite.kinds.training.table import study_table
from suite.reduction import registry
from suite.study.cells import Cell
from suite.study.exported import tidy
from suite.study.store import Record


def good() -> Rows:
    """Random pruning and a method, six seeds each, and its speed."""
    return [*cells("random", *range(70, 76)), *cells("good", *range(80, 92, 2)), *speed("good", [1.5])]


def line(folder: Path, rows: Rows, row: str = "good") -> Line:
    """What the table says about a row."""
    return next(line for line in lines(folder, rows) if line.row == row)


def changed(rows: Rows, where: dict[str, str], values: dict[str, str]) -> Rows:
    """Rows with other values in those where all of `where` holds; there must be some."""
    hit = [all(row[key] == value for key, value in where.items()) for row in rows]
    assert any(hit)
    return [row | values if here else row for row, here in zip(rows, hit, strict=True)]


def refused(folder: Path, rows: Rows, message: str) -> None:
    """The message names the file, and says this."""
    path = written(folder, rows)
    with pytest.raises(UserError, match=message) as error:
        read_record(path)
    assert str(path / "cells.csv") in str(error.value)


def test_a_good_record_has_nothing_to_say(tmp_path: Path) -> None:
    """Its comparison, corrected p and interval are there, and no marks; the table is the same the next time."""
    found = line(tmp_path, good())
    assert (found.marks, found.versus.reason, found.problem, found.versus.control) == ((), "", "", "random")
    assert found.comparison is not None
    differences = [80 + 2 * seed - 70 - seed for seed in range(6)]
    p = stats.ttest_1samp(differences, 0).pvalue
    assert (found.comparison.n, found.comparison.gap, found.p) == (6, 12.5, pytest.approx(p))
    assert found.differs
    assert found.interval is not None
    assert 80 <= found.interval.low < 85 < found.interval.high <= 90
    assert line(tmp_path, good()) == found
    assert line(tmp_path, good(), "random").comparison is None
    assert {found.group, line(tmp_path, good(), "random").group} == {"a", "b"}


def test_p_is_corrected_for_all_comparisons(tmp_path: Path) -> None:
    """Of two methods the smaller p counts twice; interval and p of the family say the same."""
    rows = [*good(), *cells("other", 60, 62, 61, 66, 63, 65)]
    found, other = line(tmp_path, rows), line(tmp_path, rows, "other")
    assert found.comparison is not None
    assert other.comparison is not None
    assert found.comparison.p is not None
    ps = sorted([(found.comparison.p, found), (other.comparison.p, other)], key=lambda pair: pair[0] or 0)
    assert ps[0][1].p == pytest.approx(2 * (ps[0][0] or 0))
    assert ps[1][1].p == pytest.approx(max(ps[1][0] or 0, 2 * (ps[0][0] or 0)))
    low, high = stats.ttest_1samp(found.comparison.differences, 0).confidence_interval(1 - 0.05 / 2)
    assert found.gap is not None
    assert (found.gap.low, found.gap.high) == pytest.approx((low, high))


def test_one_seed_is_marked(tmp_path: Path) -> None:
    """No spread, no interval, no test; it takes no part in the correction."""
    rows = [*good(), *cell("single", 0, 75)]
    found = line(tmp_path, rows, "single")
    assert found.marks == ("one seed: no spread, no test",)
    assert (found.interval, found.gap, found.p, found.differs) == (None, None, None, False)
    assert found.versus.won == (1, 1)
    other = line(tmp_path, rows)
    assert other.comparison is not None
    assert other.p == other.comparison.p


def test_a_missing_control_says_why(tmp_path: Path) -> None:
    """No random pruning, another schedule only, none that finished, none in the same seeds, or no seed of its own."""
    own = cells("good", 80, 81, 82)
    nowhere = "the study has no random pruning with its schedule and its fusion, or none"
    cases: list[tuple[Rows, str]] = [
        ([], nowhere),
        (cell("random", 0, 70, schedule="4 4 0"), nowhere),
        (cell("random", 0, None), "random has no seed with a score"),
        (cell("random", 5, 70), "no seed of both it and random has a score"),
    ]
    for rows, why in cases:
        found = line(tmp_path, own + rows)
        assert (found.versus.reason, found.comparison, found.versus.won) == (why, None, None)
    found = line(tmp_path, [*cell("good", 0, None), *cell("random", 0, 70)])
    assert found.versus.reason == "none of its seeds has a score"
    assert line(tmp_path, [*own, *cell("none", 0, 90, schedule="none")], "none").versus.reason == "", "it needs none"


def test_a_method_of_another_package_that_reduces_nothing_is_unpruned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stands first, is compared with nothing, and is black, whatever it is called."""
    monkeypatch.setattr(registry, "modules", lambda: {"plain": "baselines.none"})
    found = lines(tmp_path, [*good(), *cells("plain", *range(60, 66), schedule="none")])
    assert [one.label for one in found] == ["plain", "random", "good"]
    assert (found[0].unpruned, found[0].versus, found[0].group) == (True, Versus(), "")
    assert [block.name for block in study_table("trial", found).blocks] == ["unpruned", "compared with random"]
    assert looks(found)["plain"].colour == BLACK


def test_seeds_that_broke_are_marked(tmp_path: Path) -> None:
    """A failed seed and a score of nan are named, count as tried, and are in no number; a control lacks seeds."""
    rows = [one for one in good() if one["cell_id"] not in ("good-1", "good-4", "random-5")]
    rows += [*cell("good", 1, None), *diverged("good", 4)]
    found = line(tmp_path, rows)
    assert found.marks == (
        "seed 1 did not finish, left out of every number: ValueError: it broke",
        "seed 4 diverged, left out of every number: acc1_last is nan",
        "compared in 3 of 4 seeds: random lacks seed 5",
    )
    assert found.score is not None
    assert (found.score.n, found.seeds, found.versus.won) == (4, 6, (3, 5)), "a broken seed did not beat random"
    assert found.below_random
    assert line(tmp_path, changed(rows, {"cell_id": "good-4", "metric": "acc1_last"}, {"value": "-inf"})).score


def test_an_old_record_and_no_csv_at_all_are_refused(tmp_path: Path) -> None:
    """Without the column of the protocol nobody knows it; the message says how to write the record again."""
    folder = written(tmp_path, good())
    path = folder / "cells.csv"
    with path.open() as file:
        rows = list(csv.reader(file))
    path.write_text("".join(",".join(row[:-1]) + "\n" for row in rows))
    with pytest.raises(UserError, match=r"expected .*protocol; make it again with: suite run trial"):
        read_record(folder)
    for broken in (b"", b"a,b\n1,2,3,4\n1\n", b"\xff\xfe\x00"):
        path.write_bytes(broken)
        with pytest.raises(UserError, match=r"cells.csv(:2: 4 fields| is no CSV| has the columns)"):
            read_record(folder)


@pytest.mark.parametrize(
    ("where", "values", "message"),
    [
        ({"cell_id": "good-2"}, {"protocol": "2"}, r"cells of protocol 1 and 2 were measured under different rules"),
        ({"cell_id": "good-2"}, {"data": "e"}, r"cells of data d and e were scored on different data"),
        ({"cell_id": "good-2"}, {"task": "segmentation"}, r"cells of task classification and segmentation do not"),
        ({"cell_id": "good-2"}, {"task": "classfication"}, r"unknown task 'classfication'; did you mean class"),
        ({"cell_id": "good-2"}, {"kind": "acuracy"}, r"unknown kind 'acuracy'; did you mean accuracy"),
        ({"cell_id": "good-2"}, {"status": "finished"}, r"unknown status 'finished'; valid: done, failed, skipped"),
        ({"cell_id": "good-2"}, {"seed": "two"}, r"the seed 'two' is not a whole number"),
        ({"cell_id": "good-2"}, {"protocol": ""}, r"the protocol '' is not a whole number"),
        ({"metric": "acc1_last"}, {"metric": "accuracy"}, r"has no acc1_last; is it what the record calls accuracy\?"),
        ({"metric": "macs_full"}, {"metric": "macs"}, r"has no macs_full; is it what the record calls macs\?"),
        ({"kind": "speed"}, {"metric": "speed"}, r"good-speed has no speed_ratio; is it what the record calls speed\?"),
        ({"cell_id": "good-2", "metric": "acc1_last"}, {"value": "84 %"}, r":\d+: the acc1_last '84 %' is not a numb"),
        ({"cell_id": "good-2", "metric": "acc1_last"}, {"value": ""}, r":\d+: the acc1_last '' is not a number"),
        (
            {"cell_id": "good-2", "metric": "acc1_last"},
            {"value": "840"},
            r"an? acc1_last of 840 is not between 0 and 100",
        ),
        ({"cell_id": "good-2", "metric": "macs_full"}, {"value": "inf"}, r"the macs_full is inf; only a score may be"),
        ({"cell_id": "good-2", "metric": "macs_full"}, {"value": "nan"}, r"the macs_full is nan; only a score may be"),
        ({"metric": "macs_full"}, {"value": "-1.5e9"}, r":\d+: the macs_full is -1.5e9; it cannot be below 0"),
        ({"metric": "tokens_fewest"}, {"value": "-17"}, r":\d+: the tokens_fewest is -17; it cannot be below 0"),
        ({"kind": "speed"}, {"metric": "seconds", "value": "-1"}, r":\d+: the seconds is -1; it cannot be below 0"),
        ({"kind": "speed"}, {"repetition": "x"}, r":\d+: the repetition 'x' is neither a whole number nor empty"),
        (
            {"cell_id": "good-2"},
            {"study": "trail"},
            r"cells of study trail and trial are of different studies; keep a folder",
        ),
        ({"cell_id": "good-2"}, {"seed": "01"}, r"good has seed 1 in two cells; a seed counts once"),
    ],
)
def test_what_makes_no_table_is_refused(
    tmp_path: Path, where: dict[str, str], values: dict[str, str], message: str
) -> None:
    """Where a line is at fault it is named."""
    refused(tmp_path, changed(good(), where, values), message)


def test_a_row_that_stands_twice_is_refused_with_its_line(tmp_path: Path) -> None:
    """A value twice, even an equal one; and a failed cell twice."""
    rows = good()
    refused(tmp_path, [*rows, rows[4]], f":{len(rows) + 2}: the acc1_last of cell random-1 stands here a second time")
    broken = cell("bad", 0, None)
    refused(tmp_path, [*rows, *broken, *broken], "the status of cell bad-0 stands here a second time")


def test_a_renamed_metric_is_refused_even_if_no_table_needs_it(tmp_path: Path) -> None:
    """A column would be empty otherwise, and nobody would know why; classes are named by the data set."""
    rows = good()
    eager = rows[-1] | {"metric": "speed_ratio_eager"}
    assert len(read_record(written(tmp_path, [*rows, eager, rows[0] | {"metric": "iou_dog"}]))) == len(rows) + 2
    where = f":{len(rows) + 2}: unknown metric 'eager_speed_ratio'; did you mean speed_ratio or speed_ratio_eager"
    refused(tmp_path, [*rows, eager | {"metric": "eager_speed_ratio"}], where)


def test_the_line_that_is_named_is_the_line(tmp_path: Path) -> None:
    """Counted as an editor counts."""
    folder = written(tmp_path, changed(good(), {"cell_id": "good-2", "metric": "acc1_last"}, {"value": "many"}))
    with pytest.raises(UserError) as error:
        read_record(folder)
    number = re.search(r"cells\.csv:(\d+):", str(error.value))
    assert number
    assert "many" in (folder / "cells.csv").read_text().splitlines()[int(number[1]) - 1]


def test_what_a_run_writes_is_read(tmp_path: Path) -> None:
    """Finished and failed cells, with the protocol of their identities."""
    record, rows = Record(tmp_path), []
    for seed, protocol in ((0, 3), (1, 3)):
        identity = {"kind": "accuracy", "task": "classification", "protocol": protocol, "seed": seed, "threads": 1}
        rows.append(Cell(identity, "cropr", SCHEDULE))
    metrics = {"acc1_last": 90.5, "tokens_fewest": 17, "macs_full": 1e9}
    record.add(rows[0], {"status": "done", "metrics": metrics, "units": dict.fromkeys(metrics, "")})
    record.add(rows[1], {"status": "failed", "reason": "Traceback ...\nTrainingFailed: it broke\n"})
    frame = read_record(written(tmp_path, tidy("trial", rows, record)))
    assert set(frame["protocol"]) == {"3"}
    assert summarise(frame)[0].marks == (
        "seed 1 did not finish, left out of every number: TrainingFailed: it broke",
        "one seed: no spread, no test",
    )


def test_the_same_record_says_the_same(tmp_path: Path) -> None:
    """Intervals are drawn, but from generators that row and schedule seed."""
    scores = {"random": (50, 61, 44, 58, 39, 52, 66, 47, 55), "good": (54, 57, 49, 68, 41, 50, 71, 60, 53)}
    rows = [one for row, own in scores.items() for one in cells(row, *own)]
    found = line(tmp_path, rows)
    assert found.comparison is not None
    assert found.comparison.improvement_interval is not None
    assert 0 < found.comparison.improvement_interval.low < found.comparison.improvement < 1
    assert line(tmp_path, rows) == found
