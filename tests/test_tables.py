"""Tables: what the record says of lost seeds and published scores, in every format, whatever a row is called."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest
from hand_made import cell, cells, diverged, lines, speed, written
from rich.console import Console
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.training.published import read_scores, score_of, verdict
from suite.kinds.training.table import study_table
from suite.report.latex import escaped, latex
from suite.report.layout import Block, Column, Note, Row, Table
from suite.report.make import make_table
from suite.report.render import as_csv, as_html, markdown, show
from suite.study.published import Number

RESULTS = Path(__file__).parents[1] / "results"
SCORES = "study,row,schedule,value,unit,source,evidence\n"
NASTY = r"[a] 50% of_x & {b} #1 $2 \c ~d ^e <i> |f| — × ± † ‡ 'g'"
needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no LaTeX here")


def shown(table: Table) -> list[dict[str, str]]:
    """Texts of every row, by heading."""
    return [{column.heading: row.text(column) for column in table.shown("long")} for row in table.rows()]


def printed(table: Table, width: int = 2000, *, is_terminal: bool = False) -> str:
    """What a pipe or a terminal shows."""
    console = Console(markup=False, width=width, file=io.StringIO(), force_terminal=is_terminal, color_system=None)
    show(table, console)
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


@pytest.fixture
def nasty() -> Table:
    """A small table, in two blocks, whose names mean something in each of the formats."""
    columns = (
        Column("name", "method", align="left", fields=("name",)),
        Column("score", NASTY, "{:.1f}".format, fields=("score",)),
        Column("range", "IQR", lambda both: f"{both[0]:.1f}–{both[1]:.1f}", form="long", fields=("low", "high")),
        Column("never", "never there", fields=("never",)),
        Column("secret", form="record", fields=("secret",)),
    )
    first = Row({"name": NASTY, "score": 1 / 3, "range": (-0.25, 2 / 3), "secret": "s"}, {"score": "‡"})
    blocks = (Block("one | two", (first,)), Block(NASTY, (Row({"name": "b", "score": -2.0}),)))
    return Table("a b_c", NASTY, columns, blocks, (Note("not `x_y` alone", "‡"), Note(NASTY)))


# ---------------------------------------------------------------- what the record says


def test_seeds_without_a_score_stay_in_the_denominator(tmp_path: Path) -> None:
    """One diverged with an exception, one with a score that is not a number, one broke, one was skipped."""
    stopped = cell("good", 2, None)[0] | {"reason": "suite.tasks.loop.TrainingFailed: the loss became nan"}
    skipped = cell("good", 4, None)[0] | {"status": "skipped", "reason": "it needs a class token"}
    rows = [*cells("good", 80, 82), stopped, *cell("good", 3, None), skipped, *diverged("good", 5)]
    table = study_table("trial", lines(tmp_path, [*rows, *cell("random", 0, 70), *diverged("bad", 0)]))
    found = {row["method"]: (row["acc. %"], row["seeds"]) for row in shown(table)}
    assert found["good"] == ("81.0", "2/6, 2 diverged, 1 failed, 1 skipped")
    assert found["bad †"] == ("–", "0/1, 1 diverged"), "a row that lost every seed stays"
    assert any(note.text.startswith("Diverged: ") for note in table.notes)


def test_blocks_are_those_of_a_control(tmp_path: Path) -> None:
    """Unpruned; then each control, first, with what is compared with it; schedules apart; ways without one last."""
    names = ["none", "tome", "cropr", "random", "cropr + logits", "random + late", "cropr + late"]
    fusions = {"cropr + logits": "logits", "random + late": "last-layer", "cropr + late": "last-layer"}
    rows = [
        values | {"schedule": "none"} if name == "none" else values
        for score, name in enumerate(names)
        for values in cell(name, 0, 50.0 + score, fusion=fusions.get(name, "none"))
    ]
    table = study_table("trial", lines(tmp_path, rows))
    blocks = {block.name: [row.values["row"] for row in block.rows] for block in table.blocks}
    assert blocks == {
        "unpruned": ["none"],
        "compared with random": ["random", "tome", "cropr", "cropr + logits"],
        "compared with random + late": ["random + late", "cropr + late"],
    }
    rows += cell("cropr", 0, 60.0, schedule="16 0 0", cell_id="other")
    again = study_table("trial", lines(tmp_path, rows))
    assert [block.name for block in again.blocks][1] == "16 0 0, without a control"
    assert [block.name for block in again.blocks][2] == "8 8 0, compared with random"


def test_speed_against_eager_attention_is_shown_where_it_was_measured(tmp_path: Path) -> None:
    """In the long form, with its own note."""
    rows = [*cell("random", 0, 70.0), *speed("random", [1.5, 1.5, 1.5])]
    without = study_table("trial", lines(tmp_path, rows))
    assert "speed, eager" not in shown(without)[0]
    rows += [values | {"metric": "speed_ratio_eager"} for values in speed("random", [3.0, 2.5, 2.0])]
    table = study_table("trial", lines(tmp_path, rows))
    assert (shown(table)[0]["speed"], shown(table)[0]["speed, eager"]) == ("1.50x", "2.50x")
    assert "speed, eager" not in markdown(table).splitlines()[0]
    noted = [
        text for text in (as_html(table), markdown(table), latex(table), printed(table)) if "Speed, eager:" in text
    ]
    assert noted == [as_html(table)]


def test_timing_warnings_are_one_note_in_short_forms(tmp_path: Path) -> None:
    """Which says where the reasons stand; HTML and CSV have each of them, by its row."""
    rows = [*cell("random", 0, 70.0), *cell("cropr", 0, 80.0)]
    rows += [*speed("random", [1.5, 1.5, 1.5], "the clock jumped"), *speed("cropr", [2.0, 2.0, 2.0], "it throttled")]
    table = study_table("trial", lines(tmp_path, rows))
    for text in (markdown(table), printed(table), latex(table).replace(r"$\ddagger$", "‡")):
        (note,) = re.findall(r"‡ unreliable timing.*", text)
        assert "speed_timing_warnings" in note.replace("\\", "")
        assert "the clock jumped" not in text
    notes = [note for note in re.findall("<li>(.*)</li>", as_html(table)) if "‡" in note]
    assert notes == ["‡ random: the clock jumped.", "‡ cropr: it throttled."]
    found = {row["row"]: row["speed_timing_warnings"] for row in csv.DictReader(io.StringIO(as_csv(table)))}
    assert found == {"random": "the clock jumped", "cropr": "it throttled"}


def test_a_short_form_explains_no_column_that_it_lacks(tmp_path: Path) -> None:
    """Neither a mark where every speed is trusted, nor the improvement, which is a column of the long form."""
    rows = [*cell("random", 0, 70.0), *speed("random", [1.5, 1.5, 1.5])]
    assert "‡" not in markdown(study_table("trial", lines(tmp_path, rows)))
    table = study_table("trial", lines(tmp_path, [*cells("random", 70, 71), *cells("cropr", 80, 80)]))
    assert "P(improvement): " in as_html(table)
    assert [text for text in (markdown(table), printed(table), latex(table)) if "improvement" in text.lower()] == []


# ---------------------------------------------------------------- published scores


def score(value: str, row: str = "cropr", schedule: str = "") -> Number:
    """A published score."""
    said = {"study": "trial", "row": row, "schedule": schedule, "value": value}
    return Number.model_validate(said | {"unit": "%", "source": "a source", "evidence": "primary"})


@pytest.mark.parametrize(
    ("value", "median", "n", "said"),
    [
        ("56.6", 56.6, 5, "agrees, n = 5"),
        ("56.4", 56.6, 5, "agrees, n = 5"),  # printed with one decimal, it may be 56.45
        ("56.40", 56.6, 5, "above, n = 5"),
        ("56.9", 56.6, 5, "below, n = 5"),
        ("56", 56.6, 5, "agrees, n = 5"),
        ("56.6", 57.1, 1, "within 0.5 pp, n = 1"),  # one seed has no interval
        ("56.6", 57.2, 1, "outside 0.5 pp, n = 1"),
    ],
)
def test_a_published_score_agrees_up_to_its_rounding(value: str, median: float, n: int, said: str) -> None:
    """With an interval of 56.45 to 56.8; without one only a score in % has a tolerance."""
    assert verdict(value, median, (56.45, 56.8), n, "%") == said
    assert verdict(value, median, None, 1, "digits") == "no interval, n = 1"


def test_published_scores_stand_beside_their_rows(tmp_path: Path) -> None:
    """A score of one schedule comes before one of any; other rows and other studies have none."""
    found = lines(tmp_path, [*cells("cropr", 80, 82), *cell("tome", 0, 81)])
    table = study_table("trial", found, [score("84.0"), score("80.5", schedule="8 8 0")])
    rows = {row["method"]: row for row in shown(table)}
    assert [rows["cropr"][name] for name in ("published", "difference", "verdict")] == ["80.5", "+0.5", "agrees, n = 2"]
    assert rows["tome"]["published"] == rows["tome"]["verdict"] == "–"
    assert "published" not in shown(study_table("other", found, [score("84.0")]))[0]
    assert score_of([score("84.0")], "trial", "cropr", "16 0 0") == score("84.0")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("trial,cropr,,5.1,x,s,primary", "scores.csv:2: expected one number in %, found '5.1' 'x'"),
        (
            "trial,cropr,,5.1,%,s,primary\ntrial,cropr,,5.2,%,s,primary",
            "scores.csv:3: duplicate; trial has the row 'cropr'",
        ),
    ],
)
def test_a_broken_table_of_scores_is_refused(tmp_path: Path, line: str, message: str) -> None:
    """With the place."""
    path = tmp_path / "scores.csv"
    assert read_scores(path) == []
    path.write_text(SCORES + line + "\n")
    with pytest.raises(UserError, match=re.escape(message)):
        read_scores(path, "trial", unit="%")


def test_a_score_of_a_row_that_the_study_does_not_have_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the table is made, with its line; a row that has not run yet and a row of before are no mistakes."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RESULTS.parent / "studies", "studies")
    written(Path("results"), [*cell("random", 0, 70), *cell("gone", 0, 71)]).rename("results/quickstart")
    path = Path("results/published/scores.csv")
    path.parent.mkdir()
    for row in ("tome", "gone"):
        path.write_text(f"{SCORES}quickstart,{row},,70,%,s,primary\nelsewhere,crpr,,70,%,s,primary\n")
        make_table(Path("results/quickstart"), Console(quiet=True))
    path.write_text(f"{SCORES}quickstart,tome,,70,%,s,primary\nquickstart,crpr,,70,%,s,primary\n")
    with pytest.raises(UserError, match=r"scores\.csv:3: the study quickstart has no row 'crpr'; did you mean cropr"):
        make_table(Path("results/quickstart"), Console(quiet=True))


@pytest.mark.parametrize("command", ["table", "figures", "report"])
def test_a_study_that_is_not_there_is_not_to_be_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest are named; one that is there but has not run says how, and what has a record needs no file."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(RESULTS.parent / "studies", "studies")
    written(Path("results"), cell("random", 0, 70))

    def said(study: str) -> str:
        with pytest.raises(UserError) as error:
            CliRunner().invoke(app, [command, study], catch_exceptions=False)
        return str(error.value)

    assert "there is no study 'quickstrt'" in said("quickstrt")
    assert "did you mean quickstart?" in said("quickstrt")
    assert "make it with: suite run quickstart" in said("quickstart")
    assert "there is no study 'nosuch'" in said("nosuch")
    if command == "table":
        assert CliRunner().invoke(app, [command, "trial"]).exit_code == 0


def test_committed_scores_are_of_studies_and_rows_that_exist() -> None:
    """A misspelt row would never be shown."""
    from suite.study.load import load

    root = Path(__file__).parents[1]
    scores = read_scores(root / "results/published/scores.csv")
    assert scores
    for published in scores:
        study = load(str(root / "studies" / f"{published.study}.yaml")).study
        assert published.row in {row.label for row in study.methods}, published
        assert published.source, published


# ---------------------------------------------------------------- formats


def test_csv_has_every_digit_and_every_field(nasty: Table) -> None:
    """Values are not rounded; a tuple has a field for each of its parts; what is missing is empty."""
    rows = list(csv.DictReader(io.StringIO(as_csv(nasty))))
    assert rows[0] == {
        "name": NASTY,
        "score": repr(1 / 3),
        "low": "-0.25",
        "high": repr(2 / 3),
        "never": "",
        "secret": "s",
    }
    assert rows[1] == {"name": "b", "score": "-2.0", "low": "", "high": "", "never": "", "secret": ""}


def test_markdown_is_the_short_form_and_keeps_its_cells(nasty: Table) -> None:
    """No name ends a cell; a line with the block's name stands above each block."""
    head, _, *body = markdown(nasty).split("\n\n")[0].splitlines()
    cells = [[part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]] for line in body]
    assert len(re.split(r"(?<!\\)\|", head)) == 4
    assert [len(line) for line in cells] == [2] * 4
    assert (cells[0], cells[1][1], cells[3]) == (["*one \\| two*", ""], "0.3 ‡", ["b", "-2.0"])
    assert "- ‡ not `x_y` alone\n" in markdown(nasty)
    assert "<i>" not in markdown(nasty)


def test_html_is_well_formed_and_says_what_its_cells_are(nasty: Table) -> None:
    """Caption, head, a body for each block, scopes, as many cells in each row, and notes."""
    page = Xml.fromstring(as_html(nasty))  # noqa: S314  (our own)
    table = page.find("table")
    assert table is not None
    assert "".join(table.find("caption").itertext()) == NASTY  # type: ignore[union-attr]
    heads = table.findall("thead/tr/th")
    assert ["".join(head.itertext()) for head in heads] == ["method", NASTY, "IQR"]
    assert {head.get("scope") for head in heads} == {"col"}
    bodies = table.findall("tbody")
    assert len(bodies) == 2
    for body, name in zip(bodies, ("one | two", NASTY), strict=True):
        title, *rows = body.findall("tr")
        assert (title[0].get("scope"), title[0].get("colspan"), title[0].text) == ("rowgroup", "3", name)
        for row in rows:
            assert [(one.tag, one.get("scope")) for one in row] == [("th", "row"), ("td", None), ("td", None)]
    assert bodies[0][1][1].text == "0.3 ‡"
    notes = page.find("ul")
    assert notes is not None
    assert notes.get("id") == table.get("aria-describedby")
    assert [note.find("code") is not None for note in notes] == [True, False]


def balanced(text: str) -> bool:
    """Whether braces close in order, escaped ones aside."""
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text.replace("\\\\", "")):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def check_latex(text: str) -> None:
    """Environments nest, braces and dollars close, rows have as many cells as columns, nothing special is bare."""
    body = re.sub(r"^%.*$", "", text, flags=re.MULTILINE)
    open_now: list[str] = []
    for what, name in re.findall(r"\\(begin|end)\{(\w+)\}", body):
        if what == "begin":
            open_now.append(name)
        else:
            assert open_now.pop() == name
    assert not open_now
    assert balanced(body)
    letters = re.search(r"\\begin\{tabular\}\{@\{\}([lr]+)@\{\}\}", body)
    assert letters
    columns = letters[1]
    rows = [line for line in body.splitlines() if line.endswith(r" \\") and not line.startswith(r"\multicolumn")]
    assert len(rows) > 1
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == len(columns) - 1, row
        assert not row.startswith("["), row
        assert len(re.findall(r"(?<!\\)\$", row)) % 2 == 0, row
    assert not re.search(r"(?<!\\)[%#]", body)
    assert not re.search(r"[–—×±†‡<>|~^]", body)
    underscores = re.search(r"(?<!\\)_", re.sub(r"\\label\{[^}]*\}", "", body))
    assert not underscores


def test_latex_has_the_rules_of_booktabs_and_nothing_bare(nasty: Table) -> None:
    """Whatever names and notes contain."""
    text = latex(nasty)
    check_latex(text)
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 2, 1]
    assert r"\texttt{x\_y}" in text
    assert escaped("-2.0 to -1.0") == "$-$2.0 to $-$1.0"
    assert "IQR" not in text, "pages are narrow"
    assert escaped("5 % ± 1") == r"5 \% $\pm$ 1"


def test_a_long_table_breaks_over_pages(nasty: Table) -> None:
    """Beyond forty rows; the head is repeated, number and label stay; notes follow where they do not fit below."""
    many = Table("long", "many", nasty.columns, (Block("", nasty.blocks[1].rows * 81),))
    text = latex(many)
    check_latex(text)
    words = [r"\begin{table}", r"\toprule", r"\label{", r"\addtocounter{table}{-1}", "(continued)"]
    assert [text.count(one) for one in words] == [3, 3, 1, 2, 2]
    assert text.count(" \\\\\n") == 81 + 3, "each row once, and a head on each page"
    noted = latex(Table("some", "some", nasty.columns, nasty.blocks, (Note("words " * 1000),)))
    assert noted.index(r"\end{table}") < noted.index("words")
    assert latex(nasty).index("alone") < latex(nasty).index(r"\end{table}")


def test_long_words_may_wrap_in_html(nasty: Table) -> None:
    """Columns of words beyond 30 characters, but for the first, which names the rows; numbers never."""
    assert as_html(wide(5, 8)).count('<td class="long"') == 4 * 5
    assert "long" not in as_html(nasty)


def wide(words: int, numbers: int, rows: int = 5) -> Table:
    """A table with so many columns of words and of numbers; words have underscores and semicolons."""
    texts = {f"w{index}": "some_name;r=8 of a long setting" for index in range(words)}
    values = {**texts, **{f"n{index}": 0.25 for index in range(numbers)}}
    columns = [Column(key, key, align="left" if key[0] == "w" else "right") for key in values]
    return Table("wide", "wide", tuple(columns), (Block("", (Row(values),) * rows),))


def test_committed_latex_is_sound() -> None:
    """Of every study."""
    files = list(RESULTS.glob("*/table.tex"))
    assert {"quickstart", "costs", "imagenet-vitl-speed", "export"} <= {file.parent.name for file in files}
    for file in files:
        check_latex(file.read_text())


def overfull(folder: Path, content: str) -> list[str]:
    """What does not fit, compiled with margins of an inch and with just the packages that `content` names."""
    packages = ",".join(re.findall(r"^% \\usepackage\{(.*)\}$", content, re.MULTILINE))
    (folder / "page.tex").write_text(
        r"\documentclass{article}\usepackage[margin=1in]{geometry}\usepackage[utf8]{inputenc}"
        f"\\usepackage{{{packages}}}\\begin{{document}}\n{content}\n\\end{{document}}\n"
    )
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "page.tex"]
    for _ in range(2):  # a long table knows its widths the second time
        done = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    log = (folder / "page.log").read_text(errors="replace")
    assert done.returncode == 0, log[-1500:]
    assert "multiply defined" not in log
    points = re.findall(r"^(Overfull .*? \((?:[\d.]+)pt too .*|.*Float too large.*)$", log, re.MULTILINE)
    return [line for line in points if "Float" in line or float(re.findall(r"\(([\d.]+)pt", line)[0]) > 2]


@pytest.mark.slow
@needs_latex
@pytest.mark.parametrize("study", sorted(path.parent.name for path in RESULTS.glob("*/table.tex")))
def test_committed_latex_fits_its_page(study: str, tmp_path: Path) -> None:
    """To two points."""
    assert overfull(tmp_path, (RESULTS / study / "table.tex").read_text()) == []


@pytest.mark.slow
@needs_latex
def test_latex_compiles(nasty: Table, tmp_path: Path) -> None:
    """All kinds of table, short and long, upright and across, with the packages that they name; and they fit."""
    many = Table("long", "many", nasty.columns, (Block("", nasty.blocks[0].rows * 50),), nasty.notes)
    wides = [wide(3, 4), wide(5, 8), wide(5, 8, rows=25), wide(6, 8, rows=60)]
    for index, table in enumerate([nasty, many, *wides]):
        folder = tmp_path / str(index)
        folder.mkdir()
        assert overfull(folder, latex(table)) == []


def test_a_narrow_terminal_leaves_out_optional_columns() -> None:
    """The last one first, and only as many as it takes; it says which, and words stay whole."""
    columns = (
        Column("a", "name", align="left"),
        *(Column(key, key * 8, optional=True) for key in "bc"),
        Column("d", "d"),
    )
    table = Table("t", "", columns, (Block("", (Row({"a": "attention top-k", "b": 1, "c": 2, "d": 3}),)),))

    def seen(width: int) -> str:
        return printed(table, width, is_terminal=True)

    assert "Left out" not in seen(80)
    assert "Left out on this narrow terminal: cccccccc." in " ".join(seen(28).split())
    assert "bbbbbbbb" in seen(28).splitlines()[1]
    assert "cccccccc" not in seen(28).splitlines()[1]
    assert "Left out on this narrow terminal: bbbbbbbb; cccccccc." in " ".join(seen(15).split())
    assert "attention" in seen(15)
    assert "cccccccc" in printed(table, 15).splitlines()[1], "a pipe or a file is as wide as need be"


def test_a_narrow_terminal_cuts_no_number(nasty: Table) -> None:
    """Half a number would be another one: words fold, and lines become longer than the terminal."""
    rows = tuple(Row({"name": "words", **{f"n{index}": 1.25 for index in range(8)}}, {"n7": "‡"}) for _ in range(2))
    columns = (nasty.columns[0], *(Column(f"n{index}", "n", "{:.5f}".format) for index in range(8)))
    said = printed(Table("narrow", "", columns, (Block("", rows),)), width=40)
    assert (said.count("1.25000"), said.count("1.25000 ‡")) == (16, 2)


def test_a_terminal_shows_blocks_between_rules_or_apart(nasty: Table) -> None:
    """Apart each below its name, with its own columns; together they have no names. Square brackets stay."""
    whole = printed(nasty)
    lines = whole.splitlines()
    first = next(index for index, line in enumerate(lines) if "0.3 ‡" in line)
    assert "[a] 50%" in lines[first]
    assert not lines[first + 1].strip()
    assert "-2.0" in lines[first + 2]
    assert "IQR" not in whole
    assert "one | two" not in whole
    said = [line.strip() for line in printed(replace(nasty, apart=True)).splitlines()]
    assert (said.count("one | two"), sum(line.startswith("method") for line in said)) == (1, 2)
