"""What pages of studies of costs and of speed say: every number is the table's, and no claim beyond the record."""

from __future__ import annotations

import base64
import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from test_speed_study import FIGURES, STUDY, keep
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.costs.facts import facts as facts_of_costs
from suite.kinds.costs.figures import Cost, Line, choose
from suite.kinds.costs.figures import lines as lines_of_costs
from suite.kinds.speed.facts import agrees, facts
from suite.kinds.speed.figure import draw_speeds
from suite.kinds.speed.lines import lines as speed_lines
from suite.report.page.facts import Facts
from suite.report.trace import trace
from suite.study.published import Number

ROOT = Path(__file__).parents[1]
Change = Callable[[str], dict[str, Any]]
Evidence = Literal["primary", "secondary"]


# ---------------------------------------------------------------- costs


def figure(
    name: str, giga: float | None = 2.0, value: str = "2.0", evidence: Literal["primary", "secondary"] = "primary"
) -> Line:
    """A published count of a reduced model, 2.0 G, and so many computed; none where it is excluded."""
    published = Number(
        id=name, where="A, Table 1", method="m", metric="GFLOPs", value=value, unit="G", source=name, evidence=evidence
    )
    if giga is None:
        return Line(published, 1.0, note="It is not in timm.")
    cost = Cost(int(giga * 1e9), int(giga * 0.5e9), 0)
    return Line(published, 1.0, "", '{"method": "tome"}', "", cost, Cost(int(4e9), int(4e9), 0))


def test_figures_are_counted_by_verdict() -> None:
    """One fits, one is near, one deviates and was read second-hand, one is not computed."""
    lines = choose([figure("a"), figure("b", 4.07, "4.0"), figure("c", 2.5, evidence="secondary"), figure("d", None)])
    assert [line.verdict for line in lines] == ["fits", "off", "off", "not computed"]
    found = facts_of_costs(Path(), lines)
    assert found.headline.startswith("1 of 3 computed figures round to what is printed, 2 deviate; 1 of all 4")
    said = dict(found.facts)
    assert (said["round to what is printed"], said["of them reduced models"]) == ("1 of 3", "1 of 3")
    assert said["`c`"] == "2.0 G printed, +25.00 %"
    assert said["largest deviation of a count"] == "+25.00 % (`c`)"
    assert "1 not computed: It is not in timm." in found.warnings
    assert any(one.startswith("1 of 4 figures were read in a text") for one in found.warnings)


def test_where_nothing_is_computed_nothing_is_claimed() -> None:
    """But for why."""
    found = facts_of_costs(Path(), [figure("a", None)])
    assert found == Facts(
        "None of the 1 published figures can be computed here: no claim.", (), ("1 not computed: It is not in timm.",)
    )


def test_pages_and_traces_refuse_an_edited_record_of_costs(tmp_path: Path) -> None:
    """One digit is enough."""
    shutil.copytree(ROOT / "results/costs", tmp_path / "costs")
    record = tmp_path / "costs/figures.csv"
    edited = record.read_bytes().replace(b"204062426112", b"204062426113", 1)
    assert edited != record.read_bytes()
    record.write_bytes(edited)
    with pytest.raises(UserError, match=r"figures\.csv was changed after it was written: .*suite run costs"):
        lines_of_costs(tmp_path / "costs")
    with pytest.raises(UserError, match=r"figures\.csv was changed after it was written"):
        trace("costs:cropr-eva02-r40:computed", tmp_path)


def test_the_facts_of_committed_costs_are_those_of_the_table() -> None:
    """Recomputed here from the counts themselves: a figure fits if some digits more round, or are cut, to it."""
    with (ROOT / "results/costs/table.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    computed = [row for row in rows if row["read_as"]]
    fits = 0
    for row in computed:
        convention, _, unit = row["read_as"].partition(", ")
        kind = "change" if row["unit"] == "%" else unit.lower()
        value = float(row[f"{kind}_{convention.replace(' ', '_')}"])
        digits = len(row["value"].partition(".")[2])
        half = 0.5 * 10.0**-digits
        fits += abs(value - float(row["value"]) - (half if row["cut"] else 0)) <= half
    headline = facts_of_costs(Path(), lines_of_costs(ROOT / "results/costs")).headline
    assert headline.startswith(f"{fits} of {len(computed)} computed figures")
    assert headline.endswith(f"; {len(rows) - len(computed)} of all {len(rows)} are not computed.")


# ---------------------------------------------------------------- speed


@pytest.fixture
def trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a tiny study of two backbones."""
    (tmp_path / "published.csv").write_text(FIGURES)
    (tmp_path / "studies").mkdir()
    for name in ("trial.yaml", "studies/trial.yaml"):
        (tmp_path / name).write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found_here() -> Facts:
    """The facts of the record in the current folder."""
    folder = Path("results/trial")
    return facts(folder, speed_lines(folder))


def unreliable(*rows: str) -> Change:
    """These rows have unreliable timings."""
    return lambda row: {"timing_warnings": "drift: it throttled"} if row in rows else {}


def test_measured_speed_ups_stand_beside_published_ones(trial: Path) -> None:
    """Quartiles of the record: drawn 1.9–2.1 of 1.74, learned 1.52–1.68 of 1.72 and 2.1; a processor is no GPU."""
    keep("cpu", "CPU X", trial)
    found = found_here()
    assert found.headline.startswith("On CPU X (processor), 1 thread, float32, reduced rows run 1.60x to 2.00x as fast")
    assert "0 of 4 published speed-ups lie between the quartiles measured" in found.headline
    assert "1.60x (quartiles 1.52–1.68), published 2.1x, -23.8 % (learned, second, batch of 1)" in found.headline
    assert dict(found.facts)["reliable timings"] == "5 of 5 reduced rows"
    assert any("a processor neither reproduces nor contradicts" in one for one in found.warnings)


@pytest.mark.parametrize(("ratio", "agree"), [(1.63, False), (1.66, True), (1.72, True), (1.78, True), (1.82, False)])
def test_a_published_speed_up_agrees_up_to_its_rounding(trial: Path, ratio: float, agree: bool) -> None:
    """1.72 is a quotient of throughputs with two decimals: 1.705 to 1.735; quartiles lie 3 % from the median."""
    keep("cpu", "CPU X", trial, lambda row: {"speedup": [ratio * (1 + 0.03 * turn) for turn in range(-2, 3)]})
    line = next(line for line in speed_lines(Path("results/trial")) if line.ratio and line.ratio.text == "1.72")
    assert agrees(line) == agree


def test_unreliable_timings_are_in_no_number(trial: Path) -> None:
    """Nor in a comparison with another row; where all are unreliable there is no claim."""
    keep("cpu", "CPU X", trial, unreliable("learned"))
    found = found_here()
    assert "learned" not in found.headline
    assert not any("learned" in name for name, _ in found.facts)
    assert any(one.startswith("3 reduced rows have unreliable timings") for one in found.warnings)
    keep("cpu", "CPU X", trial, unreliable("learned", "drawn", "attended"))
    assert found_here().headline.endswith("1 thread, float32, no reduced row has a reliable timing: no claim.")


def test_devices_stand_apart(trial: Path) -> None:
    """Each has a headline and facts of its own."""
    keep("cpu", "CPU X", trial)
    keep("cuda", "GPU Y", trial)
    found = found_here()
    assert [found.headline.count(name) for name in ("On CPU X", "On GPU Y")] == [1, 1]
    assert all(name.startswith(("CPU X", "GPU Y")) for name, _ in found.facts)


def test_a_figure_of_other_rounds_is_drawn_again(trial: Path) -> None:
    """Before the page shows it; where nothing can be drawn the page says why."""
    path = trial / "results/trial/speed.png"
    committed = json.loads((ROOT / "results/imagenet-vitl-speed/provenance.json").read_text())["runs"][0]
    images = []
    for ratio in (1.7, 1.2):
        own = {"speedup": [ratio] * 5, "provenance": committed | {"cells": []}}
        keep("cpu", "CPU X", trial, lambda row, own=own: own if row == "drawn" else {"provenance": own["provenance"]})
        for _ in range(2):
            assert CliRunner().invoke(app, ["report", "trial"], catch_exceptions=False).exit_code == 0
            images.append(path.read_bytes())
    assert images[0] == images[1] != images[2] == images[3]
    assert base64.b64encode(images[3]).decode() in (trial / "results/trial/report.html").read_text()
    with pytest.raises(UserError, match="no reduced row is measured or has a published speed-up"):
        draw_speeds(Path(), [], path)


def test_a_speed_up_that_was_read_second_hand_has_another_mark(trial: Path, kept: list[Any]) -> None:
    """Of the study's two rows with printed speed-ups that is the second backbone's."""
    keep("cpu", "CPU X", trial)
    draw_speeds(Path(), speed_lines(Path("results/trial")), Path("results/trial/speed.png"))
    marks = {one.get_label(): one.get_offsets()[:, 0].tolist() for one in kept[-1].axes[0].collections}
    assert set(marks["published, read in a text about the source"]) == {2.1}
    assert set(marks["published"]) == {1.72, 1.74, 0.57}


def test_an_unreliable_speed_up_is_hollow(trial: Path, kept: list[Any]) -> None:
    """With a key for it, which a figure without one lacks."""
    for rows in ((), ("learned",), ("learned", "drawn", "attended")):
        keep("cpu", "CPU X", trial, unreliable(*rows))
        draw_speeds(Path(), speed_lines(Path("results/trial")), Path("results/trial/speed.png"))
        filled = {
            bar.get_label(): (len(bar.lines[0].get_xydata()), bar.lines[0].get_markerfacecolor() != "white")
            for bar in kept[-1].axes[0].containers
        }
        hollow = {0: 0, 1: 3, 3: 5}[len(rows)]  # learned stands on three lines of five
        wanted = {"measured (median and IQR)": (5 - hollow, True), "measured, unreliable timing": (hollow, False)}
        wanted = {label: found for label, found in wanted.items() if found[0]}
        assert filled == wanted
        assert wanted.keys() <= {text.get_text() for text in kept[-1].legends[0].texts}
