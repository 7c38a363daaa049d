"""Figures: what they compute, by hand; that they are nothing but the record; what is said where it lacks things."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hand_made
import matplotlib as mpl
import numpy as np
import pytest
from hand_made import Rows
from scipy import stats
from typer.testing import CliRunner

from suite.cli.app import app
from suite.errors import UserError
from suite.kinds.training.figures import DRAWINGS, classes, ranks
from suite.kinds.training.figures import agreement as overlap
from suite.kinds.training.results import Results, read_curves, read_examples
from suite.kinds.training.summary import lines_of, scores_of
from suite.report import make, style
from suite.report.page.write import is_outdated
from suite.report.statistics.significance import correct
from suite.study import exported as store
from suite.study.cells import Cell
from suite.study.kind import kind_of
from suite.study.records import lines, write_provenance
from suite.study.records import write as write_record
from suite.study.store import Record

ROOT = Path(__file__).parents[1]
SEEDS = (0, 1, 2)
ROWS = {"none": (0, 0), "random": (1, 0), "cropr": (2, 1), "evit": (3, 2)}  # row: how its cells differ, and its patches
DEPTH = 3
PICTURES = "examples.json"


def cell(row: str, seed: int) -> Rows:
    """Tidy rows of an accuracy cell of segmentation."""
    schedule = "none" if row == "none" else "4 4 0"
    about = hand_made.cell(row, seed, None, task="segmentation", schedule=schedule)[0] | {
        "status": "done",
        "reason": "",
    }
    level = 50.0 - 10 * ROWS[row][0] + seed / 4
    metrics = {"miou_last": level, "iou_cat": level + 5, "iou_dog": level - 5 - (row == "cropr") * (seed - 1) * 30}
    metrics |= {"tokens_fewest": 9, "macs_full": 2e6 - 1e5 * ROWS[row][0]}
    found = [about | {"metric": name, "value": repr(value)} for name, value in metrics.items()]
    for name, counts in {"tokens_attention": (17, 13, 9), "tokens_mlp": (17, 12, 8)}.items():
        for block, count in enumerate(counts if row != "none" else (17, 17, 17)):
            found.append(about | {"metric": name, "repetition": f"{block:04}", "value": str(count)})
    return found


def speed(row: str) -> Rows:
    """Tidy rows of a speed cell."""
    about = {name: cell(row, 0)[0][name] for name in ("task", "schedule", "data")}
    return [one | about for one in hand_made.speed(row, [1 + ROWS[row][0] / 5 + turn / 50 for turn in range(3)])]


def curve(row: str, seed: int) -> list[dict[str, object]]:
    """Rows of two epochs of training."""
    about: dict[str, object] = {"cell_id": f"{row}-{seed}", "kind": "accuracy", "row": row, "seed": seed}
    about["schedule"] = cell(row, seed)[0]["schedule"]
    return [
        about
        | {"epoch": epoch, "metric": metric, "value": repr(10.0 * epoch + seed + ROWS[row][0] + 5 * (metric == "loss"))}
        for metric in ("loss", "miou")
        for epoch in (1, 2)
    ]


def drawn_picture(row: str, seed: int) -> dict[str, Any]:
    """Of 16 patches four leave after each of two blocks, which ones depends on row and seed; of two images."""
    order = np.roll(np.arange(16), ROWS[row][1] * 4 + (seed if row == "evit" else 0))
    left = np.full(16, DEPTH)
    if row != "none":
        left[order[:4]], left[order[4:8]] = 0, 1
    about = {name: cell(row, seed)[0][name] for name in ("cell_id", "row", "schedule", "method")} | {"seed": seed}
    kept = {"left_after": [left.tolist(), left[::-1].tolist()], "prediction": [0, 0]}
    return about | {"grid": [4, 4], "depth": DEPTH} | kept


def write(folder: Path, seeds: tuple[int, ...] = SEEDS) -> Path:
    """A results folder with a hand-made record."""
    pairs = list(itertools.product(ROWS, seeds))
    write_record(folder / "curves.csv", store.CURVE_COLUMNS, itertools.chain(*(curve(*pair) for pair in pairs)))
    store.write_examples(folder / "examples.json", [drawn_picture(*pair) for pair in pairs])
    store.write_csv(
        folder / "cells.csv", [*itertools.chain(*(cell(*pair) for pair in pairs)), *itertools.chain(*map(speed, ROWS))]
    )
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A results folder with a hand-made record."""
    return write(tmp_path / "results/trial")


def draw(name: str, folder: Path, path: Path) -> None:
    """Draw a figure of a results folder."""
    DRAWINGS[name].draw(folder, lines_of(folder), path)


def test_curves_and_pictures_are_exported(tmp_path: Path) -> None:
    """A row per epoch counted from 1, for base cells too; examples with their cell's labels; failed cells have none."""
    identity = {"task": "classification", "threads": 1, "seed": 3}
    base = Cell(identity | {"kind": "base"}, "base", "none")
    cropr = Cell(identity | {"kind": "accuracy", "method": "cropr"}, "cropr + x", "8 8 0")
    poor = Cell(identity | {"kind": "accuracy", "method": "evit"}, "evit", "8 8 0")
    here = Record(tmp_path)
    done = {"status": "done", "reason": "", "curves": {"loss": [2.0, 0.1], "acc1": [10, 20.5]}}
    example = {"grid": [1, 2], "depth": 1, "left_after": [[0, 1]], "prediction": [7]}
    here.add(base, done)
    here.add(cropr, done | {"details": {"example": example}})
    here.add(poor, {"status": "failed", "reason": "it broke", "curves": {"loss": [1.0]}})
    for cells in ([base, cropr, poor], [poor, cropr, base]):
        write_record(tmp_path / "curves.csv", store.CURVE_COLUMNS, store.curves(cells, here))
        store.write_examples(tmp_path / "examples.json", store.examples(cells, here))
        write_provenance(tmp_path, {})
        found = [line.split(",", 1) for line in (tmp_path / "curves.csv").read_text().splitlines()[1:]]
        values = ("1,acc1,10", "1,loss,2.0", "2,acc1,20.5", "2,loss,0.1")
        wanted = [f"{row},3,{value}" for row in ("accuracy,cropr + x,8 8 0", "base,base,none") for value in values]
        assert sorted(values for _, values in found) == wanted
        assert [cell_id for cell_id, _ in found] == sorted(cell_id for cell_id, _ in found)
        about = {"cell_id": cropr.cell_id, "row": "cropr + x", "schedule": "8 8 0", "seed": 3, "method": "cropr"}
        assert read_examples(tmp_path) == [about | example]


def test_chance_is_the_mean_over_all_pairs_of_sets() -> None:
    """Of six patches, every pair of subsets of every two sizes; two of four shared is an index of 1/2."""
    found, chance = overlap.compare(np.array([1, 1, 1, 0, 0, 0], bool), np.array([0, 1, 1, 1, 0, 0], bool))
    assert (found, chance) == (0.5, overlap.expected_jaccard(6, 3, 3))
    for first, second in itertools.product(range(7), repeat=2):
        pairs = itertools.product(itertools.combinations(range(6), first), itertools.combinations(range(6), second))
        every = [len({*a} & {*b}) / len({*a} | {*b}) if a or b else 1.0 for a, b in pairs]
        assert overlap.expected_jaccard(6, first, second) == pytest.approx(np.mean(every))


def test_only_choices_of_the_image_are_compared(results: Path) -> None:
    """Neither padding, nor rows that remove nothing or draw at random; seeds, images and rows are kept separate."""
    loaded, examples = Results(results, lines_of(results)), read_examples(results)
    kept = overlap.kept_sets(loaded, examples)
    assert list(kept) == ["evit", "cropr"]
    assert [one[0] for one in overlap.between_seeds(kept["cropr"], 1)] == [1, 1, 1]
    assert [one[0] for one in overlap.between_seeds(kept["evit"], 1)] == pytest.approx([7 / 9, 6 / 10, 7 / 9])
    patches = {int(p) for p in np.flatnonzero(np.ravel(kept["cropr"][0][0][1]))}
    mirrored = {15 - p for p in patches}
    [(found, chance), *_] = overlap.between_images(kept["cropr"], 1)
    assert found == pytest.approx(len(patches & mirrored) / len(patches | mirrored))
    assert chance == pytest.approx(overlap.expected_jaccard(16, 8, 8))
    for one in examples:
        one["patches"] = [[2, 4], [3, 4]]
    cut = overlap.kept_sets(loaded, examples)["cropr"]
    assert [image.shape for image in cut[0]] == [(DEPTH, 2, 4), (DEPTH, 3, 4)]
    assert overlap.between_images(cut, 1) == [], "of other shapes"


def test_ranks_by_hand() -> None:
    """Best first; a tie shares; what is not whole is named; p is that of the table's groups."""
    scores = {"a": (9.0, 8, 9), "b": (5.0, 6, 5), "c": (7.0, 6, 7), "d": (1.0,), "e": ()}
    found = ranks.rank({row: dict(enumerate(own)) for row, own in scores.items()})
    assert found.mean.to_dict() == pytest.approx({"a": 1, "c": 6.5 / 3, "b": 8.5 / 3})
    assert list(found.mean.index) == ["a", "c", "b"]
    assert found.excluded == ["d", "e"]
    three = {"a": (9.0, 8, 9.5), "b": (5.0, 6, 5), "c": (7.0, 6, 7)}
    found = ranks.rank({row: dict(enumerate(own)) for row, own in three.items()})
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    wanted = correct([stats.ttest_rel(three[one], three[other]).pvalue for one, other in pairs])
    for (one, other), p in zip(pairs, wanted, strict=True):
        assert found.p.loc[one, other] == found.p.loc[other, one] == pytest.approx(p)
    with pytest.raises(UserError, match="the study has 1; give it more seeds"):
        ranks.rank({"a": {0: 1.0}, "b": {0: 2.0}})
    with pytest.raises(UserError, match="1 rows have a score in each of 2 seeds"):
        ranks.rank({"a": {0: 1.0, 1: 1.0}, "b": {0: 2.0}})


def test_bars_join_rows_without_a_significant_difference(
    results: Path, kept: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One over all with three seeds; by a matrix of ours that splits evit from the others, one over those."""
    draw("ranks", results, results / "ranks.png")
    assert bars(kept[-1].axes[0]) == [[1.0, 3.0]]
    found = {("cropr", "evit"): 0.01, ("cropr", "random"): 0.5, ("evit", "random"): 0.01}
    monkeypatch.setattr(ranks, "pairwise_p", lambda _scores: found)
    draw("ranks", results, results / "ranks.png")
    assert bars(kept[-1].axes[0]) == [[1.0, 2.0]]


def bars(axes: Any) -> list[list[float]]:
    """Ends of every bar of a critical-difference diagram, in ranks."""
    flat = [line.get_xdata() for line in axes.lines if len(set(line.get_ydata())) == 1]
    return [[float(min(ends)), float(max(ends))] for ends in flat]


def test_a_schedule_with_too_few_rows_leaves_the_others_their_diagram(results: Path, kept: list[Any]) -> None:
    """It is named with its reason; without any diagram the reason is the figure's."""
    rows = [row for pair in itertools.product(ROWS, SEEDS) for row in cell(*pair)]
    other = [row | {"schedule": "8 0 0", "cell_id": f"other-{row['cell_id']}"} for row in rows if row["row"] == "cropr"]
    store.write_csv(results / "cells.csv", rows + other)
    draw("ranks", results, results / "ranks.png")
    assert [axis.get_title() for axis in kept[-1].axes] == ["schedule 4 4 0; 3 seeds"]
    assert "schedule 8 0 0: not drawn, 1 rows have a score in each of 3 seeds" in kept[-1].get_supxlabel()
    store.write_csv(results / "cells.csv", [row for row in rows if row["row"] in ("none", "cropr")])
    with pytest.raises(UserError, match="1 rows have a score in each of 3 seeds"):
        draw("ranks", results, results / "ranks.png")


def test_differences_of_classes_are_paired(results: Path, kept: list[Any], tmp_path: Path) -> None:
    """Medians over seeds of what the same seed scored; bold only where all seeds agree."""
    classes.draw_classes(Results(results, lines_of(results)), tmp_path / "a.png")
    [figure] = kept
    unpruned, random = figure.axes
    said = [text.get_text() for text in unpruned.texts]
    rows = [label.get_text() for label in unpruned.get_yticklabels()]
    assert dict(zip(rows, zip(said[::2], said[1::2], strict=True), strict=True)) == {
        "random": ("-10.0", "-10.0"),
        "evit": ("-30.0", "-30.0"),
        "cropr": ("-20.0", "-20.0"),
    }
    bold = {text.get_text(): text.get_fontweight() for text in random.texts}
    assert [label.get_text() for label in random.get_yticklabels()] == ["evit", "cropr"]
    weights = [(text.get_text(), text.get_fontweight()) for text in random.texts]
    assert bold["-20.0"] == "bold"
    assert weights[2:] == [("-10.0", "bold"), ("-10.0", "normal")], "one seed is 20 above random pruning"


def test_numbers_on_figures_are_those_of_the_record(results: Path, kept: list[Any], tmp_path: Path) -> None:
    """Tokens of every block, medians and ranges of curves, chance in every panel."""
    draw("tokens", results, tmp_path / "tokens.png")
    attention, mlp = ([text.get_text() for text in axis.texts] for axis in kept[-1].axes)
    assert attention == ["17"] * 3 + ["17", "13", "9"] * 3
    assert mlp == ["17"] * 3 + ["17", "12", "8"] * 3
    draw("curves-score", results, tmp_path / "curves.png")
    panels = {axis.get_title(): axis for axis in kept[-1].axes}
    own = panels["evit"].lines[-1]
    assert own.get_xydata().tolist() == [[1, 14], [2, 24]]
    edges = panels["evit"].collections[0].get_paths()[0].vertices
    assert (edges[:, 1].min(), edges[:, 1].max()) == (13, 25)
    draw("agreement", results, tmp_path / "agreement.png")
    for axis in kept[-1].axes:
        chance = next(line for line in axis.lines if line.get_linestyle() == ":")
        expected = [overlap.expected_jaccard(16, count, count) for count in (12, 8, 8)]
        assert chance.get_ydata() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "old", "new", "changed"),
    [
        ("cells.csv", "tokens_mlp,0002,8", "tokens_mlp,0002,7", {"tokens"}),
        ("cells.csv", "iou_dog,,25.25", "iou_dog,,26.25", {"classes"}),
        ("cells.csv", "speed_ratio,0001,1.62", "speed_ratio,0001,1.63", {"pareto"}),
        ("curves.csv", "1,loss,16.0", "1,loss,17.5", {"curves-loss"}),
        ("curves.csv", "1,miou,11.0", "1,miou,12.5", {"curves-score"}),
        ("examples.json", "3,3,0,0,0,0,1,1,1,1]", "0,3,0,0,0,3,1,1,1,1]", {"agreement"}),
    ],
)
def test_a_changed_record_changes_its_figures_only(
    results: Path, tmp_path: Path, name: str, old: str, new: str, changed: set[str]
) -> None:
    """Figures show nothing but the record; each reads its own part."""
    text, other = (results / name).read_text(), tmp_path / "other"
    assert old in text
    shutil.copytree(results, other)
    (other / name).write_text(text.replace(old, new))
    write_provenance(other, {})
    drawn = {}
    for folder in (results, other):
        for figure in DRAWINGS:
            if figure in changed or figure in ("ranks", "tokens"):
                draw(figure, folder, folder / f"{figure}.png")
                drawn[folder, figure] = mpl.image.imread(folder / f"{figure}.png").tobytes()
    for figure in {figure for _, figure in drawn}:
        assert (drawn[results, figure] != drawn[other, figure]) == (figure in changed), figure


@pytest.mark.parametrize(
    ("name", "records"),
    [("ranks", {"cells.csv"}), ("curves-loss", {"cells.csv", "curves.csv"}), ("agreement", {"cells.csv", PICTURES})],
)
def test_a_figure_knows_its_records_and_nothing_of_its_time(results: Path, name: str, records: set[str]) -> None:
    """Digests of what it is drawn from, and the same bytes a second time; it is outdated by another record alone."""
    path = results / f"{name}.png"
    assert is_outdated(path)
    for suffix in (".pdf", ".png"):
        made = set()
        for _ in range(2):
            draw(name, results, path.with_suffix(suffix))
            made.add(path.with_suffix(suffix).read_bytes())
        assert len(made) == 1
    said = json.loads((results / "provenance.json").read_text())["records_sha256"]
    assert style.drawn_from(path) == {record: said[record] for record in records}
    os.utime(path, (0, 0))
    assert not is_outdated(path)
    for own in said:
        content = (results / own).read_bytes()
        (results / own).write_bytes(content + b"\n")
        os.utime(results / own, (0, 0))
        assert is_outdated(path) == (own in records), own
        (results / own).write_bytes(content)
    (results / "cells.csv").unlink()
    assert is_outdated(path)


@pytest.mark.parametrize("content", [b"", b"no example", (ROOT / "tests/test_figures.py").read_bytes()])
def test_what_is_no_figure_of_ours_is_outdated(results: Path, content: bytes) -> None:
    """Also an example without digests."""
    path = results / "ranks.png"
    path.write_bytes(content)
    assert is_outdated(path)
    mpl.image.imsave(path, np.zeros((2, 2)))
    assert is_outdated(path)


@pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
def test_a_score_that_is_not_finite_is_no_rank(results: Path, value: str) -> None:
    """As in the table, the seed has none, and the row is left out of the ranks rather than first."""
    path = results / "cells.csv"
    assert path.read_text().count("miou_last,,20.0,") == 1
    path.write_text(path.read_text().replace("miou_last,,20.0,", f"miou_last,,{value},"))
    write_provenance(results, {})
    scores = scores_of(Results(results, lines_of(results)).frame, "4 4 0")
    assert sorted(scores["evit"]) == [1, 2]
    assert ranks.rank(scores).excluded == ["evit"]


def marks(axes: Any) -> dict[str, tuple[float, float, bool]]:
    """By label: where a mark is, and whether it is filled."""
    drawn = {bar.get_label(): bar.lines[0] for bar in axes.containers}
    return {
        label: (*line.get_xydata()[0].tolist(), line.get_markerfacecolor() != "white") for label, line in drawn.items()
    }


def front(axes: Any) -> list[list[float]]:
    """Points of the Pareto front; empty where it is not drawn."""
    return next((line.get_xydata().tolist() for line in axes.lines if line.get_label() == "Pareto front"), [])


def test_an_unreliable_speed_is_hollow_and_not_on_the_front(results: Path, kept: list[Any]) -> None:
    """Evit is fastest and its timing unreliable, so the front ends at cropr; its multiply-accumulates are sure."""
    distrust(results, "evit")
    draw("pareto", results, results / "pareto.png")
    speeds, macs = kept[-1].axes
    assert [label for label, (_, _, filled) in marks(speeds).items() if not filled] == ["evit"]
    assert all(filled for _, _, filled in marks(macs).values())
    assert front(speeds) == [list(marks(speeds)[row][:2]) for row in ("cropr", "random", "none")]
    assert [score for _, score in front(macs)] == [marks(macs)[row][1] for row in ("evit", "cropr", "random", "none")]
    (legend,) = kept[-1].legends
    assert legend.texts[-1].get_text() == "hollow: unreliable timing, not on the front"


def test_without_a_reliable_speed_there_is_no_front(results: Path, kept: list[Any]) -> None:
    """Said above the panel; where all are reliable neither that nor a key is there."""
    draw("pareto", results, results / "pareto.png")
    assert kept[-1].axes[0].get_title() == ""
    assert not [text for text in kept[-1].legends[0].texts if "hollow" in text.get_text()]
    distrust(results, *ROWS)
    draw("pareto", results, results / "pareto.png")
    speeds, macs = kept[-1].axes
    assert front(speeds) == []
    assert speeds.get_title() == "no Pareto front: no reliable timing"
    assert len(front(macs)) == 4
    assert macs.get_title() == ""


def test_one_row_on_the_front_beats_no_more_than_those_that_are_reliable(results: Path, kept: list[Any]) -> None:
    """None is best and with a speed of 2 fastest; others' timings are unreliable; its own alone is not."""
    changed(results, lambda row: row | ({"value": "2"} if (row["kind"], row["row"]) == ("speed", "none") else {}))
    beats = "Pareto front: one row beats all others"
    said = {(): beats, ("evit",): f"{beats} with reliable timings"}
    said |= {("evit", "cropr", "random"): "no Pareto front: one reliable timing"}
    for rows, title in said.items():
        distrust(results, *rows)
        draw("pareto", results, results / "pareto.png")
        speeds, macs = kept[-1].axes
        assert front(speeds) == [list(marks(speeds)["none"][:2])]
        assert (speeds.get_title(), macs.get_title()) == (title, "")


def changed(folder: Path, change: Callable[[dict[str, str]], dict[str, str] | None]) -> None:
    """Have other rows in the record of cells: what `change` makes of each, or none."""
    rows = lines(folder / "cells.csv", store.COLUMNS)
    store.write_csv(folder / "cells.csv", [new for row in rows if (new := change(row))])


def distrust(folder: Path, *rows: str) -> None:
    """The timings of these rows are unreliable."""
    reason = {"reason": "drift: it throttled"}
    changed(folder, lambda row: row | (reason if row["kind"] == "speed" and row["row"] in rows else {}))


def said_by(results: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What `suite figures` says of each figure."""
    monkeypatch.chdir(results.parents[1])
    result = CliRunner().invoke(app, ["figures", "trial"], catch_exceptions=False)
    lines = dict(line.split(maxsplit=1) for line in result.output.splitlines())
    assert result.exit_code == 0, lines
    assert list(lines) == [*DRAWINGS]
    return lines


def test_of_the_unpruned_model_alone_the_rest_is_drawn(
    results: Path, kept: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl-C early in a study."""
    changed(results, lambda row: row if row["row"] == "none" else None)
    said = said_by(results, monkeypatch)
    assert said["ranks"] == "not drawn: no reduced row has a score yet; resume with: suite run"
    assert said["pareto"].startswith("written to ")
    assert {axes.get_title() for axes in kept[0].axes} == {""}, "it beats nobody"


def test_studies_without_figures_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their tables are named instead of a run."""
    monkeypatch.chdir(ROOT)
    with pytest.raises(UserError, match=r"costs is of kind costs, which has no figures; its table: suite table costs$"):
        CliRunner().invoke(app, ["figures", "costs"], catch_exceptions=False)


def test_maps_make_no_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor do they say that they are in one."""
    shutil.copytree(ROOT / "results/quickstart", tmp_path / "results/quickstart")
    shutil.copytree(ROOT / "studies", tmp_path / "studies")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    done = CliRunner().invoke(app, ["figures", "quickstart", "--only", "maps"], catch_exceptions=False)
    assert "written to results/quickstart/maps.png" in done.output
    assert not Path("mlflow.db").exists()


def test_what_cannot_be_drawn_is_said_and_the_rest_is_drawn(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One seed, no speed, no classes, no curves, no examples, no study file."""
    (results / "ranks.png").write_bytes(b"of an earlier record")
    write(results, seeds=(0,))
    (results / "curves.csv").unlink()
    changed(results, lambda row: None if row["kind"] == "speed" or row["metric"].startswith("iou_") else row)
    said = said_by(results, monkeypatch)
    written = {name for name, sentence in said.items() if sentence == f"written to results/trial/{name}.png"}
    assert written == {path.stem for path in results.glob("*.png")} == {"pareto", "tokens", "agreement"}
    assert "ranks are compared over seeds, and the study has 1" in said["ranks"]
    assert "tasks that have them: segmentation" in said["classes"]
    assert "curves.csv does not exist; make it with: suite run trial" in said["curves-loss"]
    assert "there is no study 'trial'" in said["maps"]
    (results / "examples.json").write_text('[{"row": "cropr"}]')
    write_provenance(results, {})
    assert "examples.json is not a list of examples with" in said_by(results, monkeypatch)["agreement"]
    (results / "examples.json").write_text('[{"row')
    write_provenance(results, {})
    assert "examples.json is damaged" in said_by(results, monkeypatch)["agreement"]


@pytest.mark.parametrize(("name", "read"), [("curves.csv", read_curves), ("examples.json", read_examples)])
def test_an_edited_record_of_figures_is_refused(results: Path, name: str, read: Callable[[Path], object]) -> None:
    """As that of the table is."""
    path = results / name
    assert read(results) is not None
    path.write_text(path.read_text().replace("1", "2", 1))
    with pytest.raises(UserError, match=f"{name} was changed after it was written: .*restore it, or delete both and"):
        read(results)


@pytest.mark.parametrize("study", ["quickstart", pytest.param("digits-segmentation", marks=pytest.mark.slow)])
def test_committed_figures_are_rebuilt_to_the_byte(
    study: str, committed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every committed example of a study comes out of its committed record, and no other is made."""
    if f"matplotlib=={mpl.__version__}\n" not in (ROOT / "constraints.txt").read_text():
        pytest.skip("another version of matplotlib draws other bytes")
    folder = committed / "results" / study
    before = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    for path in folder.glob("*.png"):
        path.unlink()
    monkeypatch.chdir(ROOT)
    list(make.draw(kind_of(folder), folder, lines_of(folder), ".png", [*DRAWINGS]))
    assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == before
    cells = set(Results(folder, lines_of(folder)).frame["cell_id"])
    assert set(read_curves(folder)["cell_id"]) <= cells
    assert {one["cell_id"] for one in json.loads((folder / "examples.json").read_text())} <= cells


@pytest.mark.parametrize(
    ("name", "row", "drawn"),
    [
        ("pareto", "方法", r"\u65b9\u6cd5"),
        ("tokens", "👍 é", r"\U0001f44d é"),
        ("pareto", "$\\wrong$", r"\$\wrong\$"),
        ("curves-score", "5 $ or 6 $", r"5 \$ or 6 \$"),
        ("tokens", "_hidden", " _hidden"),
    ],
)
def test_names_in_all_scripts_are_drawn(
    results: Path, kept: list[Any], name: str, row: str, drawn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Letters without a font by their numbers, which the figure says; nothing is read as mathematics or left out."""
    changed(results, lambda line: line | {"row": line["row"].replace("cropr", row)})
    text = (results / "curves.csv").read_text(encoding="utf-8")
    (results / "curves.csv").write_text(text.replace(",cropr,", f",{row},"), encoding="utf-8")
    write_provenance(results, {})
    monkeypatch.setattr(style, "_letters", lambda: frozenset(range(256)))  # as where no other font is installed
    draw(name, results, results / f"{name}.png")
    texts = [text.get_text() for text in kept[-1].findobj(mpl.text.Text)]
    assert any(drawn in text for text in texts)
    assert (style.NOTE in texts) == ("\\u" in drawn.lower())


def test_a_font_that_has_the_letters_is_used() -> None:
    """Those of the first font need no other; what no font has is written by its number."""
    assert style.FONTS[0] == "DejaVu Sans"
    assert style.drawable("Größe – α, é, ≥") == "Größe – α, é, ≥"
    assert style.drawable("\ufdd0") == r"\ufdd0"
