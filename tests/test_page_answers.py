"""What pages of studies of costs and of speed answer: every number is the table's, and no claim beyond the record."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from suite.kinds.costs.answer import answer_of_costs, read_costs
from suite.kinds.speed.answer import answer_of_speed
from suite.kinds.training.answer import Answer
from test_speed_study import FIGURES, STUDY, keep
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.speed.figure import draw_speeds
from suite.kinds.speed.lines import summarise
from suite.kinds.speed.rounds import asked_for, read_rounds
from suite.report import style
from suite.report.style import drawn_from
from suite.report.trace import trace
from suite.study.load import load
from suite.study.records import write_provenance

ROOT = Path(__file__).parents[1]
Change = Callable[[str], dict[str, Any]]


# ---------------------------------------------------------------- costs


def figure(name: str, verdict: str = "fits", **changes: str) -> dict[str, str]:
    """A row of table.csv: 2.0 G of a reduced model, which fits in one reading."""
    row = {"id": name, "where": "A, Table 1", "value": "2.0", "unit": "G", "evidence": "primary", "note": ""}
    row |= {"read_as": "full, GMACs", "deviation": "0.5", "also_fits": "", "computed_as": '{"method": "tome"}'}
    if verdict == "not computed":
        row |= {"read_as": "", "deviation": "", "computed_as": "", "note": "It is not in timm."}
    return row | {"verdict": verdict} | changes


def test_figures_are_counted_by_verdict() -> None:
    """Two fit, one of them in two readings and of an unpruned model; one is near, one off, two are not computed."""
    rows = [
        figure("a"),
        figure("b", also_fits="linear", computed_as="{}"),
        figure("c", "near", evidence="secondary", deviation="-0.9"),
    ]
    rows += [figure("d", "off", value="-41", unit="%", deviation="6.2249", read_as="linear")]
    rows += [figure("e", "not computed"), figure("f", "not computed", note="No numbers.")]
    found = answer_of_costs(rows, 1.0)
    assert found.verdict == (
        "2 of the 4 published figures that are computed round to what is printed, 1 do not but are within 1 %, and 1 "
        "are off; 2 of all 6 are not computed."
    )
    said = " ".join(found.sentences)
    assert "departs from it: `d` (A, Table 1: -41 %, +6.22 pp)." in said
    assert "1 of the computed figures are of unpruned models" in said
    assert "of the 3 of reduced ones 1 round" in said
    assert "What fits in each: full, GMACs: 2 of 3; linear: 0 of 1." in said
    assert "1 of the 2 that fit do so in no other reading that is allowed for them; 1 fit in another too" in said
    assert "“It is not in timm” (1); “No numbers” (1)." in said
    assert "1 of the 6 figures were read in a text about their source" in said
    facts = dict(found.facts)
    assert (facts["largest deviation of a count"], facts["largest deviation of a change"]) == ("-0.90 %", "+6.22 pp")
    assert (facts["round to what is printed"], facts["not computed"], facts["off"]) == ("2 of 4", "2 of 6", "1")


def test_where_nothing_is_computed_nothing_is_claimed() -> None:
    """But for why."""
    found = answer_of_costs([figure("a", "not computed")], 1.0)
    assert found.verdict == "None of the 1 published figures can be computed here, so nothing is said about them."
    assert found.sentences == ("Why figures are not computed, and how many each: “It is not in timm” (1).",)
    assert found.facts == (("not computed", "1 of 1"),)


def test_where_all_fit_none_is_named_and_where_none_fits_no_reading() -> None:
    """And of many that are off some are counted."""
    assert not any("Off, " in sentence for sentence in answer_of_costs([figure("a")], 1.0).sentences)
    found = answer_of_costs([figure(f"o{index}", "off") for index in range(10)], 1.0)
    assert "`o7`" in found.sentences[0]
    assert found.sentences[0].endswith("+0.50 %); and 2 more.")
    assert "`o8`" not in found.sentences[0]
    assert found.verdict.startswith("0 of the 10 ")
    assert not any("read in the convention" in sentence for sentence in found.sentences)


def test_pages_and_traces_refuse_an_edited_record_of_costs(tmp_path: Path) -> None:
    """One digit is enough."""
    shutil.copytree(ROOT / "results/costs", tmp_path / "costs")
    record = tmp_path / "costs/figures.csv"
    edited = record.read_bytes().replace(b"204062426112", b"204062426113", 1)
    assert edited != record.read_bytes()
    record.write_bytes(edited)
    with pytest.raises(UserError, match=r"figures\.csv was changed after it was written: .*suite run costs"):
        read_costs(tmp_path / "costs")
    with pytest.raises(UserError, match=r"figures\.csv was changed after it was written"):
        trace("costs:cropr-eva02-r40:computed", tmp_path)


def test_the_answer_about_committed_costs_is_that_of_the_table() -> None:
    """Recomputed here from the counts themselves: a figure fits if some digits more round to it."""
    with (ROOT / "results/costs/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    computed = [row for row in rows if row["read_as"]]
    fits = 0
    for row in computed:
        convention, _, unit = row["read_as"].partition(", ")
        kind = "change" if row["unit"] == "%" else unit.lower()
        value = float(row[f"{kind}_{convention.replace(' ', '_')}"])
        digits = len(row["value"].partition(".")[2])
        fits += abs(value - float(row["value"])) <= 0.5 * 10.0**-digits
    verdict = answer_of_costs(read_costs(ROOT / "results/costs"), 1.0).verdict
    assert verdict.startswith(f"{fits} of the {len(computed)} published figures that are computed")
    assert verdict.endswith(f"; {len(rows) - len(computed)} of all {len(rows)} are not computed.")


# ---------------------------------------------------------------- speed


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny study of two backbones, which is the current one."""
    (tmp_path / "published.csv").write_text(FIGURES)
    (tmp_path / "trial.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def answered() -> Answer:
    """What the record in the current folder answers."""
    study = load("trial.yaml").study
    rounds, _ = asked_for(study, read_rounds(Path("results/trial")))
    return answer_of_speed(study, summarise(study, rounds))


def doubtful(*rows: str) -> Change:
    """These rows are not to be trusted."""
    return lambda row: {"timing_warnings": "drift: it throttled"} if row in rows else {}


def test_measured_speed_ups_stand_beside_published_ones(trial: Path) -> None:
    """Quartiles of the record: drawn 1.9–2.1 of 1.74, learned 1.52–1.68 of 1.72 and 2.1; a processor is no GPU."""
    keep("cpu", "CPU X", trial)
    found = answered()
    assert found.verdict == (
        "On CPU X (processor), 1 thread, float32, 4 of 4 rows with a published speed-up can be trusted, and 0 of these "
        "have it, up to its rounding, between the quartiles of their rounds; farthest from it is learned (second, "
        "batch of 1), 1.60x (1.52–1.68) where 2.1x is published (-23.8 %). Published speed-ups are taken to be of "
        "GPUs, so a processor neither reproduces nor contradicts them."
    )
    said = " ".join(found.sentences)
    assert "tiny, batch of 2: 3 of 3 reduced rows to be trusted, 1.60x to 2.00x as fast as the unpruned timm" in said
    assert "second, batch of 3: 1 of 1 reduced row to be trusted, 1.60x as fast" in said
    assert "reach 0.64 to 0.80 of what their MACs promise; in 5 of 5 the third quartile" in said
    assert "No GPU was measured." in found.sentences
    assert "1 published row cannot be run here" in said
    assert "left out of every comparison" not in said
    assert dict(found.facts)["farthest from a published speed-up"] == "-23.8 %"


@pytest.mark.parametrize(
    ("ratio", "agrees"),
    [(1.6239, "0 of 3"), (1.6241, "1 of 3"), (1.8281, "1 of 3"), (1.8284, "0 of 3")],
)
def test_a_published_speed_up_agrees_up_to_its_rounding(trial: Path, ratio: float, agrees: str) -> None:
    """Printed are 1.48 and 0.86, so 1.475 / 0.865 to 1.485 / 0.855 would do; quartiles are 0.95 and 1.05 of the median.

    The 2.1 of the others is far.
    """
    rounds = [ratio * share for share in (1.0, 0.9, 1.1, 0.95, 1.05)]
    others = doubtful("drawn", "attended")
    keep("cpu", "CPU X", trial, lambda row: {"speedup": rounds} if row == "learned" else others(row))
    assert dict(answered().facts)["published speed-up between quartiles"] == agrees


@pytest.mark.parametrize(
    ("learned", "doubts", "said"),
    [
        ([1.9, 2.0, 2.1, 2.0, 2.0], (), "batch of 2: 1.000x (quartiles of 5 rounds 1.000–1.000): the two are not"),
        ([1.9, 2.2, 2.1, 1.8, 2.0], (), "0.950–1.050): the two are not told apart."),
        ([1.6, 1.8, 1.6, 1.6, 1.6], (), "0.800–0.800): slower, by the quartiles of one session, which is no test."),
        ([2.4, 2.6, 2.4, 2.4, 2.4], (), "faster, by the quartiles"),
        ([1.6, 1.8, 1.6, 1.6, 1.6], ("drawn",), "no claim, for drawn is marked."),
        ([1.6, 1.8, 1.6, 1.6, 1.6], ("learned",), "no claim, for learned is marked."),
        ([1.6, 1.8, 1.6, 1.6, 1.6], ("learned", "drawn"), "no claim, for learned and drawn are marked."),
    ],
)  # fmt: skip
def test_two_rows_are_told_apart_by_their_own_rounds(
    trial: Path, learned: list[float], doubts: tuple[str, ...], said: str
) -> None:
    """Whatever the control is called; not if the quartiles cover 1, nor if one of the two is not to be trusted."""
    times = {"learned": learned, "drawn": [2.0] * 5}
    doubt = doubtful(*doubts)
    keep("cpu", "CPU X", trial, lambda row: ({"speedup": times[row]} if row in times else {}) | doubt(row))
    (sentence,) = [one for one in answered().sentences if "learned over drawn" in one]
    assert said in sentence


def test_rows_of_two_sessions_are_not_compared(trial: Path) -> None:
    """They were not timed side by side."""
    keep("cpu", "CPU X", trial, lambda row: {"session": "two"} if row == "drawn" else {})
    assert "learned over drawn, tiny, batch of 2: not timed side by side, so nothing is said." in answered().sentences


def test_where_nothing_is_to_be_trusted_nothing_is_claimed(trial: Path) -> None:
    """No range, no share, no comparison; the rows are counted."""
    keep("cpu", "CPU X", trial, doubtful("drawn", "learned", "attended"))
    found = answered()
    assert found.verdict == (
        "On CPU X (processor), 1 thread, float32, nothing can be said: of 4 rows with a published speed-up, all are "
        "marked as not to be trusted."
    )
    assert found.sentences[0].startswith("5 of 5 reduced rows are marked as not to be trusted")
    assert "second, batch of 1: no range, for none of 1 reduced row is to be trusted." in found.sentences
    assert not re.search(r"\d%|\d %|promise", " ".join(found.sentences))
    assert found.facts == (("reduced rows to be trusted", "0 of 5"),)


def test_without_published_figures_nothing_is_compared(trial: Path) -> None:
    """Of one backbone; its range stays."""
    Path("published.csv").write_text(FIGURES.splitlines(keepends=True)[0])
    study = re.sub(r", published: \w+|    published: plain\n", "", STUDY.split("  - name: second")[0])
    Path("trial.yaml").write_text(study)
    keep("cpu", "CPU X", trial)
    found = answered()
    assert found.verdict.endswith("no measured row has a published speed-up, so there is nothing to compare.")
    assert "published" not in " ".join(name for name, _ in found.facts)
    assert dict(found.facts)["speed-ups"] == "1.60x to 2.00x"


def test_a_part_of_a_record_says_what_is_missing(trial: Path) -> None:
    """Only the unpruned model was measured: no number at all."""
    keep("cpu", "CPU X", trial)
    path = Path("results/trial/rounds.csv")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *(line for line in lines if ",unpruned," in line)]))
    write_provenance(path.parent, {"runs": []})
    found = answered()
    assert "nothing to compare" in found.verdict
    assert "5 rows of the study are not measured." in found.sentences
    assert found.facts == ()


def test_devices_answer_for_themselves(trial: Path) -> None:
    """A GPU is not said to contradict a source that names none; each sentence and fact has its device."""
    keep("cpu", "CPU X", trial / "here")
    keep("cuda", "GPU Y", trial / "there", doubtful("learned"))
    found = answered()
    processor, gpu = found.verdict.split(" On GPU Y (GPU), float16, ")
    assert "neither reproduces nor contradicts" in processor
    assert gpu.startswith("1 of 3 rows with a published speed-up can be trusted")
    assert gpu.endswith(
        "Which GPU, precision and batch size a published speed-up is of is not known: none is contradicted here."
    )
    facts = dict(found.facts)
    assert facts["GPU Y (GPU), float16: reduced rows to be trusted"] == "2 of 4"
    assert facts["CPU X (processor), 1 thread, float32: reduced rows to be trusted"] == "5 of 5"
    assert not any("was measured." in sentence for sentence in found.sentences)


def test_a_page_of_speed_is_made_of_the_record(trial: Path) -> None:
    """Not of table.md; markup in a name is text; without rounds it says what to do."""
    Path("trial.yaml").write_text(STUDY.replace("name: attended", "name: <i>attended</i>"))
    report = ["report", "trial.yaml"]
    with pytest.raises(UserError, match=r"rounds\.csv has nothing that trial.yaml asks for; make it with: suite run"):
        CliRunner().invoke(app, report, catch_exceptions=False)
    committed = json.loads((ROOT / "results/imagenet-vitl-speed/provenance.json").read_text())["runs"][0]
    keep("cpu", "CPU X", trial, lambda row: {"provenance": committed | {"cells": []}})
    (trial / "results/trial/table.md").write_text("| stale |\n|---|\n")
    done = CliRunner().invoke(app, report, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    text = (trial / "results/trial/report.html").read_text()
    assert "&lt;i&gt;attended&lt;/i&gt;" in text
    assert "<i>" not in text
    assert "stale" not in text
    assert "On CPU X (processor)" in text
    assert drawn_from(trial / "results/trial/speed.png").keys() == {"rounds.csv"}
    assert "suite trace 'trial:BACKBONE ROW:COLUMN'" in text


def test_a_picture_of_other_rounds_is_drawn_again(trial: Path) -> None:
    """Before the page shows it; where nothing can be drawn the page says why."""
    path = trial / "results/trial/speed.png"
    committed = json.loads((ROOT / "results/imagenet-vitl-speed/provenance.json").read_text())["runs"][0]
    pictures = []
    for ratio in (1.7, 1.2):
        own = {"speedup": [ratio] * 5, "provenance": committed | {"cells": []}}
        keep("cpu", "CPU X", trial, lambda row, own=own: own if row == "drawn" else {"provenance": own["provenance"]})
        for _ in range(2):
            assert CliRunner().invoke(app, ["report", "trial.yaml"], catch_exceptions=False).exit_code == 0
            pictures.append(path.read_bytes())
    assert pictures[0] == pictures[1] != pictures[2] == pictures[3]
    assert base64.b64encode(pictures[3]).decode() in (trial / "results/trial/report.html").read_text()
    with pytest.raises(UserError, match="no reduced row is measured or has a published speed-up"):
        draw_speeds([], path)


def test_a_speed_up_that_was_read_second_hand_has_another_mark(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the study's two rows with printed speed-ups that is the second backbone's."""
    kept: list[Any] = []
    monkeypatch.setattr(style.plt, "close", kept.append)
    keep("cpu", "CPU X", trial)
    study = load("trial.yaml").study
    rounds, _ = asked_for(study, read_rounds(Path("results/trial")))
    lines = summarise(study, rounds)
    draw_speeds(lines, Path("results/trial/speed.png"))
    marks = {one.get_label(): one.get_offsets()[:, 0].tolist() for one in kept[-1].axes[0].collections}
    assert set(marks["published, read in a text about the source"]) == {2.1}
    assert set(marks["published"]) == {1.72, 1.74, 0.57}


def test_an_untrusted_speed_up_is_hollow(trial: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a key for it, which a picture without one lacks."""
    kept: list[Any] = []
    monkeypatch.setattr(style.plt, "close", kept.append)
    for doubts in ((), ("learned",), ("learned", "drawn", "attended")):
        keep("cpu", "CPU X", trial, doubtful(*doubts))
        study = load("trial.yaml").study
        rounds, _ = asked_for(study, read_rounds(Path("results/trial")))
        draw_speeds(summarise(study, rounds), Path("results/trial/speed.png"))
        filled = {
            bar.get_label(): (len(bar.lines[0].get_xydata()), bar.lines[0].get_markerfacecolor() != "white")
            for bar in kept[-1].axes[0].containers
        }
        hollow = {0: 0, 1: 3, 3: 5}[len(doubts)]  # learned stands on three lines of five
        wanted = {"measured (median and IQR)": (5 - hollow, True), "measured, not to be trusted": (hollow, False)}
        wanted = {label: found for label, found in wanted.items() if found[0]}
        assert filled == wanted
        assert wanted.keys() <= {text.get_text() for text in kept[-1].legends[0].texts}


def _printed(rows: list[dict[str, str]]) -> Iterator[tuple[dict[str, str], float, float]]:
    """Each row with the least and the most that its digits allow: throughputs to two decimals, of which 0.86 is one."""
    for row in rows:
        if row["throughput"]:
            own = float(row["throughput"])
            yield row, (own - 0.005) / 0.865, (own + 0.005) / 0.855
        else:
            yield row, float(row["speedup"]) - 0.05, float(row["speedup"]) + 0.05


def test_the_answer_about_committed_speeds_is_that_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recomputed here from table.csv."""
    monkeypatch.chdir(ROOT)
    study = load("imagenet-vitl-speed").study
    rounds, _ = asked_for(study, read_rounds(Path("results/imagenet-vitl-speed")))
    found = answer_of_speed(study, summarise(study, rounds))
    with (ROOT / "results/imagenet-vitl-speed/table.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["measured_median"] and row["row"] != "unpruned"]
    trusted = [row for row in rows if not row["timing_warnings"]]
    beside = [row for row in trusted if row["published_ratio"]]
    off, farthest = max(
        ((float(row["measured_median"]) / float(row["published_ratio"]) - 1, row) for row in beside),
        key=lambda pair: abs(pair[0]),
    )
    facts = dict(found.facts)
    assert facts["reduced rows to be trusted"] == f"{len(trusted)} of {len(rows)}"
    assert facts["farthest from a published speed-up"] == f"{100 * off:+.1f} %"
    shares = sorted(float(row["realised_of_macs"]) for row in trusted)
    assert facts["realised / MACs"] == f"{shares[0]:.2f} to {shares[-1]:.2f}"
    agree = [
        low <= float(row["measured_high"]) and float(row["measured_low"]) <= high for row, low, high in _printed(beside)
    ]
    assert facts["published speed-up between quartiles"] == f"{sum(agree)} of {len(beside)}"
    assert f"{sum(agree)} of these have it" in found.verdict
    how = "follows from published throughputs" if farthest["throughput"] else "is published"
    assert f"x ({float(farthest['measured_low']):.2f}–" in found.verdict
    assert f"where {farthest['published_ratio']}x {how} ({100 * off:+.1f} %)" in found.verdict
    said = " ".join(found.sentences)
    compared = [row for row in rows if row["compare_to"]]
    assert compared
    for row in compared:
        assert f"{row['row']} over {row['compare_to']}, {row['backbone']}, batch of {row['batch_size']}: " in said
        assert f"{float(row['compare_to_median']):.3f}x" in said
