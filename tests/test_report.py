"""Tables are nothing but the record."""

import json
from pathlib import Path

import pytest
from hand_made import cell, cells, lines, speed, written
from rich.console import Console
from scipy import stats

from suite.errors import UserError
from suite.kinds.training.published import read_scores
from suite.kinds.training.summary import lines_of, read_record, summarise
from suite.kinds.training.table import study_table
from suite.report.make import make_table
from suite.report.render import as_html, brief_markdown, markdown, put_into, show, write
from suite.study.records import write_provenance


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with a hand-made record."""
    rows = [
        *cells("random", 70, 71, 72),
        *cells("good", 80, 82, 81),
        *cells("poor", 71, 71, 71),
        *cell("broken", 0, 90.0),
        *cell("broken", 1, None),
        *cells("random + fused", 85, 85, 85, fusion="last-layer"),
        *cells("good + fused", 84, 84, 84, fusion="last-layer"),
        *speed("good", [1.9, 2.0, 2.2]),
        *speed("poor", [1.5, 1.5, 1.5], "not alone: other processes used 0.80 cores meanwhile"),
    ]
    return written(tmp_path, rows)


def test_the_table_is_what_the_record_says(results: Path) -> None:
    """Medians, ranges, marks and notes of a record made by hand."""
    table = study_table("trial", lines_of(results))
    text = markdown(table)
    rows = {
        line.split("|")[1].strip(): [part.strip() for part in line.split("|")[2:-1]]
        for line in text.splitlines()
        if "|" in line
    }
    low, high = stats.ttest_1samp([10, 11, 9], 0).confidence_interval(1 - 0.05 / 3)  # of three that have an interval
    assert rows["good"][:3] == ["81.0", "78.5–83.5", "3/3"]
    assert rows["good"][3:] == ["+10.0", f"{low:+.1f} to {high:+.1f}", "0.01", "a", "17", "1.50", "2.00x"]
    assert rows["poor †"][:4] == ["71.0", "71.0–71.0", "3/3", "+0.0"]
    assert rows["poor †"][-1] == "1.50x ‡"
    assert rows["broken †"] == ["90.0", "–", "1/2, 1 failed", "+20.0", "–", "–", "abc", "17", "1.50", "–"]
    assert rows["random"][3:5] == ["–", "–"]
    assert rows["good + fused †"][3] == "-1.0", "the control has the same fusion"
    assert "‡ unreliable timing; reason in `table.html`" in text
    assert "‡ poor: not alone: other processes used 0.80 cores meanwhile." in as_html(table)
    assert "broken: seed 1 did not finish, left out of every number: ValueError: it broke" in text
    assert "broken: one seed: no spread, no test" in text
    names = [name for name in rows if not name.startswith("*")]
    assert names[2] == "random", "the control comes before the methods"
    assert names[-2:] == ["random + fused", "good + fused †"], "each control leads its block"


def test_a_figure_that_cannot_be_drawn_stops_no_table(results: Path) -> None:
    """No row with a score: the reason is said, and the figure of an earlier record is gone."""
    written(results.parent, [*cell("good", 0, None), *speed("good", [1.9, 2.0])])
    (results / "pareto.png").write_bytes(b"of an earlier record")
    with (console := Console(width=200)).capture() as said:
        make_table(results, console)
    assert "pareto.png is not drawn: no row has both a score and a speed or MACs" in said.get()
    assert {path.name for path in results.glob("table.*")} == {"table.md", "table.csv", "table.tex", "table.html"}
    assert not (results / "pareto.png").exists()


def test_seeds_that_disagree_about_tokens_are_refused(results: Path) -> None:
    """A row has one token count, or the table says nothing."""
    path = results / "cells.csv"
    path.write_text(path.read_text().replace("tokens_fewest,,17", "tokens_fewest,,18", 1))
    write_provenance(results, {})
    with pytest.raises(UserError, match="seeds disagree about tokens_fewest"):
        lines_of(results)


def test_several_schedules_are_named_everywhere(tmp_path: Path) -> None:
    """With several schedules, table, terminal and notes name the schedule, square brackets and all."""
    rows = cell("none", 0, 90.0, schedule="none")
    for name in ("mild", "[/x]"):
        for seed in (0, 1):
            rows += cell("random", seed, 70.0, schedule=name, cell_id=f"random-{name}-{seed}")
    found = lines(tmp_path, rows)
    assert [line.label for line in found] == ["none", "random [[/x]]", "random [mild]"]
    with (console := Console(markup=False, width=80)).capture() as shown:
        show(study_table("trial", found), console)
    assert "random [mild]" in shown.get()
    assert "70.0–70.0" in shown.get(), "numbers are not broken over lines"


def test_a_document_without_markers_is_refused(tmp_path: Path) -> None:
    """And one with markers keeps everything else."""
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- table: trial -->\nold\n<!-- end of table -->\nafter\n")
    put_into(document, "trial", "new\n")
    assert document.read_text() == "before\n<!-- table: trial -->\nnew\n<!-- end of table -->\nafter\n"
    with pytest.raises(UserError, match="has no lines"):
        put_into(document, "other", "new\n")


def test_committed_results_are_rebuilt_to_the_byte(committed: Path) -> None:
    """Each committed table comes out of its committed record, and so does the README's."""
    folders = [path.parent for path in (committed / "results").glob("*/cells.csv")]
    assert committed / "results/quickstart" in folders
    scores, shown = read_scores(committed / "results/published/scores.csv"), list[str]()
    for folder in folders:
        table = study_table(folder.name, lines_of(folder), scores)
        for name in write(table, committed / "again" / folder.name):
            assert (folder / name).read_bytes() == (committed / "again" / folder.name / name).read_bytes(), name
        for page in (committed / "README.md", *(committed / "docs").glob("*.md")):
            if f"<!-- table: {folder.name} -->" in page.read_text():
                assert brief_markdown(table) in page.read_text()
                shown.append(folder.name)
    assert "quickstart" in shown


def test_the_committed_quickstart_trained_and_kept_to_its_schedule(committed: Path) -> None:
    """The unpruned model reaches 80 %, every seed finished, and measured tokens are those of the schedule."""
    frame = read_record(committed / "results/quickstart")
    by_row = {line.row: line for line in summarise(frame)}
    assert by_row["none"].score is not None
    assert by_row["none"].score.median >= 80
    assert all(line.score and line.score.n == line.seeds == 5 for line in by_row.values())
    assert set(frame["status"]) == {"done"}
    dropped = [53, 41, 29, 17, 17, 17]
    wanted = {
        "none": [65] * 6,
        "idlevit": [65, *dropped[:-1]],
        "cropr + last-layer": [*dropped[:-1], 65],
        "random + last-layer": [*dropped[:-1], 65],
    }
    for row in by_row:
        metric = "tokens_mlp" if row == "idlevit" else "tokens_leaving"
        tokens = frame[(frame["row"] == row) & (frame["metric"] == metric)]
        for _, seed in tokens.groupby("seed"):
            assert seed.sort_values("repetition")["value"].tolist() == wanted.get(row, dropped), row


def test_the_committed_quickstart_names_clean_commits(committed: Path) -> None:
    """Provenance names commits without uncommitted changes, and every cell of the record."""
    origin = json.loads((committed / "results/quickstart/provenance.json").read_text())
    assert {bool(run["uncommitted_changes"]) for run in origin["runs"]} == {False}
    assert all(len(run["commit"]) == 40 and int(run["commit"], 16) for run in origin["runs"])
    cells = {cell for run in origin["runs"] for cell in run["cells"]}
    assert cells == set(read_record(committed / "results/quickstart")["cell_id"])
