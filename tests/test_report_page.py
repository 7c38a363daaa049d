"""The page of a study: what it answers, that it is nothing but the record, and how a browser shows it."""

from __future__ import annotations

import base64
import csv
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from statistics import stdev

import browser
import numpy as np
import pytest
from hand_made import cell, cells, lines, speed, written
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from scipy import stats
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.training.cells import expand
from suite.kinds.training.facts import differs_significantly, facts
from suite.kinds.training.figures import DRAWINGS
from suite.kinds.training.focus import declare, focus_of
from suite.kinds.training.summary import lines_of
from suite.kinds.training.table import FINE_TUNING_ONLY, table
from suite.ledger.lines import read_lines
from suite.report.page.facts import Facts
from suite.report.page.origin import duration, read_origin
from suite.report.render import as_html
from suite.report.statistics.power import seeds_needed
from suite.run.mlflow_store import experiment_id
from suite.run.mlflow_writer import Tracker
from suite.study.kind import kinds
from suite.study.load import load
from suite.study.records import state, stated

ROOT = Path(__file__).parents[1]
VOID = {"meta", "link", "img", "br", "hr"}
STUDIES = ("quickstart", "digits-segmentation")
PLAIN = ("costs", "imagenet-vitl-speed", "official-speed", "export")  # without cells


class Page(HTMLParser):
    """A page, read strictly: every element that is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It closes what was opened last."""
        assert self.open, f"</{tag}> closes nothing"
        last = self.open.pop()
        assert last == tag, f"</{tag}> closes <{last}>"

    def handle_data(self, data: str) -> None:
        """Text by the element that it stands in."""
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str]]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the committed records and studies, and the page of each."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(ROOT / "studies", folder / "studies")
    shutil.copytree(ROOT / "results", folder / "results", ignore=shutil.ignore_patterns("report.html"))
    here = Path.cwd()
    os.chdir(folder)
    try:
        for study in (*STUDIES, *PLAIN):
            run(study)
        yield folder
    finally:
        os.chdir(here)


def run(study: str) -> str:
    """`suite report`, in the working folder."""
    done = CliRunner().invoke(app, ["report", study], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def text_of(folder: Path, study: str) -> str:
    """The page of a study."""
    return (folder / "results" / study / "report.html").read_text(encoding="utf-8")


def rows_of(folder: Path, study: str, record: str = "table.csv") -> list[dict[str, str]]:
    """The study's table, or its record."""
    with (folder / "results" / study / record).open(newline="") as file:
        return list(csv.DictReader(file))


def found(folder: Path, rows: list[dict[str, object]]) -> Facts:
    """The facts of a record whose study is not in `studies/`."""
    return facts(folder / "trial", lines(folder, rows))


def trial(seeds: int, **gaps: list[float]) -> list[dict[str, object]]:
    """Random pruning at 50 to 51 %, the unpruned model, and rows that differ from random pruning by their gaps."""
    base = [50 + seed / seeds for seed in range(seeds)]
    rows = [*cells("random", *base), *cells("none", *[90.0] * seeds, schedule="none")]
    for row, own in gaps.items():
        rows += cells(row, *(score + gap for score, gap in zip(base, own, strict=True)))
    return rows


# ---------------------------------------------------------------- the answer


def test_the_headline_says_what_was_found_and_then_what_is_uncertain(tmp_path: Path) -> None:
    """Ten seeds, one row above, one below, one on both sides; points and their interval before all else."""
    mixed = [0.5, -0.2, 0.6, -0.1, 0.7, -0.4, 0.8, -0.3, 0.2, -0.6]
    up, down = [5 + seed / 5 for seed in range(10)], [-3 - seed / 5 for seed in range(10)]
    said = found(tmp_path, trial(10, cropr=up, evit=mixed, variance=down))
    low, high = stats.ttest_1samp(up, 0).confidence_interval(1 - 0.05 / 3)
    finding = f"`cropr` keeps 5.9 points more than random, {low:.1f} to {high:.1f}, 10 seeds."
    assert said.headline == f"{finding} Not shown to differ from random pruning: `evit`."
    assert dict(said.facts)["significantly above random"] == "1 of 3: cropr"
    assert dict(said.facts)["significantly below random"] == "1 of 3: variance"
    assert "seeds to decide cropr" not in dict(said.facts)
    needed = seeds_needed(float(np.mean(mixed)), stdev(mixed), comparisons=3)
    assert dict(said.facts)["seeds to decide evit"].startswith(f"about {needed},")


def test_three_seeds_decide_what_is_far_beyond_their_spread(tmp_path: Path) -> None:
    """Thirty times the spread is something."""
    said = found(tmp_path, trial(3, cropr=[16.2, 15.9, 16.4]))
    assert said.headline.startswith("`cropr` keeps 16.2 points more than random, 15.5 to 16.8, 3 seeds.")


@pytest.mark.parametrize(
    ("gaps", "kept", "words"),
    [
        ([1, -2, 3, -4, 5, -6, 7], "random", "is not shown to differ from random: +0.6 points, -3.9 to +5.0"),
        ([9.0], "random", "is +9.0 points from random, in one seed: no interval"),
        ([9.0] * 4, "none", "has top-1 accuracy"),
    ],
)
def test_without_significance_there_is_no_claim(tmp_path: Path, gaps: list[float], kept: str, words: str) -> None:
    """Gaps on both sides, one seed, or no control."""
    rows = trial(len(gaps), cropr=gaps)
    said = found(tmp_path, [row for row in rows if row["row"] in (kept, "cropr")])
    assert words in said.headline
    assert not any(value.startswith("1 of") for _, value in said.facts)


def test_a_focus_that_was_declared_too_late_is_post_hoc(tmp_path: Path) -> None:
    """It stays as it was first declared, and what is outside is exploratory: its p is not corrected."""
    folder = tmp_path / "trial"
    declare(folder, ("cropr",))
    rows = trial(4, cropr=[5, 6, 5, 7], evit=[1, 2, 1, 3])
    written(tmp_path, rows, {"runs": [], "focus": stated(folder, "focus")})
    for names in (("cropr",), ("evit",)):
        declare(folder, names)
        assert focus_of(folder).post_hoc == (names == ("evit",))
    late = {line.row: line for line in lines_of(folder)}
    assert (late["evit"].in_focus, late["cropr"].in_focus) == (True, False)
    assert (late["cropr"].p, late["cropr"].differs) == (None, False)
    all_of_them = lines(tmp_path, rows)
    assert all(line.in_focus for line in all_of_them if line.comparison), "without a focus all are one family"
    declare(folder, ("evit",))
    assert facts(folder, [*late.values()]).warnings[0].startswith("Post hoc")


def test_the_best_row_has_its_cost_speed_and_warnings(tmp_path: Path) -> None:
    """An unreliable timing; a seed that failed; seeds that all started from the same weights."""
    rows = trial(3, cropr=[9, 8, 7], evit=[1, 2, 3]) + cell("evit", 3, None)
    rows += speed("cropr", [1.5, 1.6, 1.7], "the clock jumped")
    said = found(tmp_path, rows)
    cost = dict(said.facts)["cost of cropr"]
    assert cost.startswith("1.50 GMACs (100 % of unpruned); 1.60x the unpruned speed (quartiles 1.55–1.65, unreliable")
    assert dict(said.facts)["highest median"].endswith("differs significantly from 1 of 2 other reduced rows")
    assert FINE_TUNING_ONLY in said.warnings
    assert "Unreliable timing of cropr: the clock jumped." in said.warnings
    assert any("1 failed" in one for one in said.warnings)


def test_what_was_not_tested_does_not_differ(tmp_path: Path) -> None:
    """One seed has no groups; twelve that differ in all have other letters."""
    differs = {}
    for seeds in (1, 12):
        rows = trial(seeds, cropr=[9.0 + seed / 9 for seed in range(seeds)])
        by_row = {line.row: line for line in lines(tmp_path, rows)}
        differs[seeds] = differs_significantly(by_row["cropr"], by_row["random"])
    assert differs == {1: False, 12: True}


def test_rows_in_focus_lead(made: Path) -> None:
    """Each in the order of the study, as the table has it; one without a cell says so."""
    for study in STUDIES:
        folder = Path("results") / study
        said, focus = facts(folder, lines_of(folder)), load(study).study.focus
        assert [name for name, _ in said.facts][: len(focus)] == list(focus)
        assert said.headline.startswith(f"`{focus[0]}` ")
        by_row = {row["row"]: row for row in rows_of(made, study)}
        for name, value in said.facts[: len(focus)]:
            assert value.startswith(f"{float(by_row[name]['score_median']):.1f} % (95 % interval ")
            gap, control = float(by_row[name]["gap"]), by_row[name]["control"]
            assert re.search(
                rf"{abs(gap):.1f} points (more|fewer) than {re.escape(control)},|[+-]{abs(gap):.1f} points", value
            )


@pytest.mark.parametrize("study", [*STUDIES, *PLAIN])
def test_pages_are_whole_and_ask_for_nothing(made: Path, study: str) -> None:
    """Balanced elements, one h1, no heading skipped, links that lead somewhere, and no address of anything outside."""
    text = text_of(made, study)
    page = Page(text)
    assert text.startswith("<!DOCTYPE html>")
    assert page.all("html")[0]["lang"] == "en"
    assert any(tag == "title" and study in data for tag, data in page.texts)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {link["href"] for link in page.all("a")} <= {f"#{name}" for name in ids}
    assert not page.all("script")
    assert not list(made.glob("ml*")), "no store is made for a page"
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            if name in ("src", "srcset", "href", "data", "poster", "action"):
                assert value.startswith(("data:", "#")), f"<{tag} {name}={value[:60]}>"
    style = next(data for tag, data in page.texts if tag == "style")
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.parametrize("study", STUDIES)
def test_every_figure_and_the_table_are_in_the_page(made: Path, study: str) -> None:
    """Byte by byte, with words for who cannot see it; what could not be drawn is named with its reason."""
    page, text = Page(text_of(made, study)), text_of(made, study)
    drawn = [name for name in DRAWINGS if (made / "results" / study / f"{name}.png").is_file()]
    shown = {attributes["src"]: attributes["alt"] for attributes in page.all("img")}
    assert len(drawn) > 3
    assert len(shown) == len(drawn)
    for name in drawn:
        content = base64.b64encode((made / "results" / study / f"{name}.png").read_bytes()).decode()
        assert shown[f"data:image/png;base64,{content}"] == DRAWINGS[name].title
        assert f'id="figure-{name}"' in text
    for name in DRAWINGS.keys() - set(drawn):
        assert f"<li>{DRAWINGS[name].title}: " in text
    unboxed = text.replace('<div class="scroll" role="region" aria-label="table" tabindex="0">\n', "")
    drawn_table = as_html(table(study, lines_of(made / "results" / study)))
    assert drawn_table in unboxed.replace("</table>\n</div>", "</table>"), "as table.html has it, but for its box"


def test_a_figure_of_another_record_is_drawn_again(made: Path) -> None:
    """However new its file is; one of this record is left alone, however old. The page is then the same to the byte."""
    folder = made / "results/quickstart"
    path, other, page = folder / "pareto.png", folder / "ranks.png", text_of(made, "quickstart")
    before = path.read_bytes()
    path.write_bytes((made / "results/digits-segmentation/pareto.png").read_bytes())
    os.utime(other, (0, 0))
    run("quickstart")
    assert path.read_bytes() == before
    assert other.stat().st_mtime == 0
    assert text_of(made, "quickstart") == page


def test_provenance_is_that_of_the_record(made: Path) -> None:
    """Every commit, cell and digest of provenance.json."""
    folder = made / "results/digits-segmentation"
    found, text = read_origin(folder, kinds()["training"]), text_of(made, "digits-segmentation")
    assert found is not None
    assert all(run["commit"] in text and f"{run['started']}</th>" in text for run in found["runs"])
    assert found["records"].keys() == {"cells.csv", "curves.csv", "examples.json"}
    assert all(f"sha256 {digest}" in text for digest in (*found["records"].values(), *found["weights"]))
    assert f"git checkout {found['commits'][-1]}" in text
    assert f"<dt>torch</dt><dd>{found['versions']['torch']}</dd>" in text
    assert sum(run["cells"] for run in found["runs"]) == len(
        {row["cell_id"] for row in rows_of(made, folder.name, "cells.csv")}
    )


@pytest.mark.slow
def test_a_studys_machine_names_its_gpu_and_no_time_is_made_up(made: Path) -> None:
    """Speed studies keep no seconds: their page has no cell time, that of others has."""
    folder = made / "results/imagenet-vitl-speed"
    path = folder / "provenance.json"
    content = json.loads((ROOT / path.relative_to(made)).read_text())
    path.write_text(json.dumps(content | {"runs": [run | {"device": "a GPU"} for run in content["runs"]]}))
    run(folder.name)
    found, text = read_origin(folder, kinds()["speed"]), text_of(made, folder.name)
    assert found is not None
    assert (found["took"], found["runs"][0]["took"]) == (None, None)
    assert found["runs"][0]["machine"].endswith("Linux x86_64, computed on a GPU")
    assert "<h3>Runs</h3>" in text
    for words in ("in all cells together", "cell time"):
        assert words not in text
        assert words in text_of(made, "digits-segmentation")


@pytest.mark.parametrize(
    ("seconds", "words"), [(59.2, "59 s"), (61, "1 min"), (3599, "1 h 00 min"), (7500, "2 h 05 min")]
)
def test_durations_are_readable(seconds: float, words: str) -> None:
    """By hand."""
    assert duration(seconds) == words


def broken(*_: object) -> None:
    """A store that takes nothing."""
    raise MlflowException("no space is left")


@pytest.mark.slow
def test_where_the_studys_runs_are_in_mlflow_its_page_is_too(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a store that does not have them gets nothing."""
    store = f"sqlite:///{made / 'store.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    cells = expand(load("quickstart").study)
    tracker = Tracker("quickstart", cells)
    assert tracker._study_run.run_id  # asking for it makes it
    assert "not put into MLflow: MLflow has no runs of digits-segmentation" in run("digits-segmentation")
    assert "MLflow" not in run("quickstart")
    client = MlflowClient(tracking_uri=store)
    assert {found.name for found in client.search_experiments()} <= {"quickstart", "Default"}
    study_run = tracker._study_run.run_id
    client.delete_experiment(tracker.experiment.experiment_id)
    assert "not put into MLflow: the MLflow experiment 'quickstart' is deleted; restore it" in run("quickstart")
    with pytest.raises(UserError, match="is deleted; restore it with: mlflow experiments restore -x"):
        experiment_id(store, "quickstart")
    client.restore_experiment(tracker.experiment.experiment_id)
    with monkeypatch.context() as patch:
        patch.setattr(Tracker, "conclude", broken)
        assert "not put into MLflow: no space is left" in run("quickstart")
    assert "report.html" in {artifact.path for artifact in client.list_artifacts(study_run)}


def test_what_a_study_says_is_text_and_no_markup(made: Path) -> None:
    """Question and file of a study are somebody's input; cells that it no longer or newly asks for are counted."""
    path = made / "studies/nasty.yaml"
    text = (made / "studies/quickstart.yaml").read_text()
    path.write_text(text.replace("With 12 of", "<script>alert(1)</script> & 12 of").replace("  - variance\n", ""))
    shutil.copytree(made / "results/quickstart", made / "results/nasty", dirs_exist_ok=True)
    run("nasty")
    page = text_of(made, "nasty")
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt; &amp; 12 of") == 2
    assert "of the record are not among them" in page
    assert "not finished" not in page
    path.write_text(text.replace("seeds: [0, 1, 2, 3, 4]", "seeds: [0, 1, 2, 3, 4, 5]"))
    run("nasty")
    rows = {row["row"] for row in rows_of(made, "quickstart")}
    assert f"The study is not finished: {len(rows)} seeds of its rows are missing" in text_of(made, "nasty")
    path.write_text(text.replace("  epochs: 1\n  images", "  epochs: 2\n  images"))
    run("nasty")
    assert "of the record are not among them" in text_of(made, "nasty")
    assert "not finished" not in text_of(made, "nasty"), "other cells, but of the same rows and seeds"


def test_a_changed_studys_page_says_what_was_changed(made: Path) -> None:
    """Above the file, and in the command that makes it in a clone without its results."""
    changes, folder = ["seeds=[0, 1]", "finetune.epochs=2"], made / "results/quickstart+changed"
    shutil.copytree(made / "results/quickstart", folder)
    state(folder, {"study": "quickstart", "changes": changes})
    run(folder.name)
    page = text_of(made, folder.name)
    assert '<pre tabindex="0"><code>suite report quickstart+changed</code></pre>' in page
    command = "python3 -m nox -s table -- quickstart --set &#39;seeds=[0, 1]&#39; --set finetune.epochs=2</code>"
    assert command in page
    assert "quickstart+changed</code>" not in page[page.index("The numbers, from nothing") :]
    said = page.index("<li><code>finetune.epochs=2</code></li>")
    assert page.index("<li><code>seeds=[0, 1]</code></li>") < said < page.index("question: &gt;")
    assert "--set" not in text_of(made, "quickstart")
    assert "python3 -m nox -s table -- quickstart</code>" in text_of(made, "quickstart")


def test_the_ledgers_lines_that_a_study_answers_are_shown(made: Path) -> None:
    """Those whose command runs it, and no others."""
    path = made / "results/ledger.csv"
    before = path.read_text()
    try:
        path.write_text(before.replace("suite run ade20k-eva02", "suite run quickstart"))
        run("quickstart")
        shown = text_of(made, "quickstart")
        with path.open(newline="") as file:
            lines = list(csv.DictReader(file))
    finally:
        path.write_text(before)
        run("quickstart")
    own = [line["id"] for line in lines if line["command"] == "suite run quickstart"]
    assert own
    assert [line["id"] for line in lines if f'<th scope="row">{line["id"]}</th>' in shown] == own
    assert 'id="ledger"' not in text_of(made, "quickstart")


@pytest.mark.slow
def test_studies_of_costs_and_of_speed_have_pages_too(made: Path) -> None:
    """Their table and picture, and where they come from."""
    asked = sum(line.command == "suite run costs" for line in read_lines(made / "results/ledger.csv"))
    assert len(Page(text_of(made, "costs")).all("tr")) == len(rows_of(made, "costs")) + 1 + asked + 1 + 2
    assert text_of(made, "costs").count("<meta charset") == 1
    run("imagenet-vitl-speed")
    page = Page(text_of(made, "imagenet-vitl-speed"))
    runs = len(json.loads((made / "results/imagenet-vitl-speed/provenance.json").read_text())["runs"])
    asked = sum(line.command == "suite run imagenet-vitl-speed" for line in read_lines(made / "results/ledger.csv"))
    assert len(page.all("tr")) == len(rows_of(made, "imagenet-vitl-speed")) + 1 + runs + 1 + asked + 1
    assert [image["alt"] for image in page.all("img")] == ["Measured and published speed"]


def test_without_a_record_it_says_what_to_do(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And writes nothing."""
    for study in ("ade20k-eva02", "costs", "imagenet-vitl-speed"):
        there, aside = made / "results" / study, made / "aside"
        if is_there := there.is_dir():
            there.rename(aside)
        with pytest.raises(UserError, match=f"make it with: suite run {study}"):
            CliRunner().invoke(app, ["report", study], catch_exceptions=False)
        assert not (there / "report.html").exists()
        shutil.rmtree(there, ignore_errors=True)
        if is_there:
            aside.rename(there)


def test_a_damaged_provenance_is_named(tmp_path: Path) -> None:
    """With the command that writes it again."""
    (tmp_path / "provenance.json").write_text('{"runs": [{}]}')
    with pytest.raises(UserError, match=r"provenance\.json is damaged .KeyError: 'started'.; .*suite run"):
        read_origin(tmp_path, kinds()["training"])
    assert read_origin(tmp_path / "elsewhere", kinds()["training"]) is None


# ---------------------------------------------------------------- in a browser


@pytest.mark.skipif(not all(browser.PROGRAMS), reason="no Chromium and chromedriver here")
def test_a_browser_shows_it_whole(made: Path) -> None:
    """No request leaves the page, nothing is wider than a phone, all images load, nothing is complained about.

    In dark mode the page is dark and figures stay on white.
    """
    with browser.browser() as chromium:
        for study in (*PLAIN, *STUDIES):
            path = made / "results" / study / "report.html"
            for width, scheme in ((390, "light"), (1400, "dark")):
                chromium.show(path, width, scheme=scheme)
                sizes = chromium.ask("[...document.images].map(image => image.naturalWidth)")
                assert sizes or study in {"costs", "official-speed", "export"}
                assert all(sizes), f"{sizes.count(0)} images have not loaded"
                assert chromium.ask("document.documentElement.scrollWidth") <= width, "the page scrolls sideways"
                assert chromium.ask("innerWidth") == width
                outside = [address for address in chromium.requests() if not address.startswith(("data:", "file:"))]
                assert not outside, f"asked for {outside}"
                assert not chromium.log("browser")
            colours = [
                chromium.ask(f"getComputedStyle(document.querySelector('{name}')).backgroundColor")
                for name in ("body", *([".card"] if sizes else []))
            ]
            assert sum(map(int, re.findall(r"\d+", colours[0])[:3])) < 150
            assert colours[1:] in ([], ["rgb(255, 255, 255)"])


@pytest.mark.skipif(not all(browser.PROGRAMS), reason="no Chromium and chromedriver here")
@pytest.mark.parametrize("study", [*STUDIES, *PLAIN])
def test_a_rows_name_stays_when_its_table_scrolls(made: Path, study: str) -> None:
    """On a phone, to the right end of the table."""
    with browser.browser() as chromium:
        chromium.show(made / "results" / study / "report.html", 390)
        chromium.ask("document.querySelector('#table .scroll').scrollLeft = 9999")
        assert chromium.ask("document.querySelector('#table .scroll').scrollLeft") > 100
        left, right = chromium.ask(
            "(box => [box.left, box.right])"
            "(document.querySelector('#table tbody th[scope=row]').getBoundingClientRect())"
        )
        assert 0 <= left < right < 250
