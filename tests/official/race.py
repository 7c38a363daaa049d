"""Time the official implementations and this suite's side by side, with equal weights and equal images.

Usage: race.py --python PYTHON --cropr FOLDER --evit FOLDER --tome FOLDER --idlevit FOLDER [--out FOLDER]

Each folder is a checkout of the official repository (SOURCES in record.py); a method without one is left out. PYTHON is
an interpreter that the official code runs under (timm 1.0.3); this script runs under the suite's. Both keep one process
for each case and take turns, round by round, so that a machine that drifts slows both; the ratio is formed per round.
Every case is launched several times, because where a process's memory happens to lie weighs as much as small changes of
code. What goes out is a ratio, and on a GPU also seconds, with its name; other cases in the folder's record stay.
A profile of both says how much of the time goes into operators that no code can do without.
"""

import argparse
import contextlib
import csv
import functools
import json
import os
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SEED = 1
CLOSE = 2e-4  # largest difference between the logits, of unit size, of models this deep in float32
COMPARED = 20_000  # logits that are compared, evenly spread
WARM_UP = 3
SETTING = ("case", "batch", "device", "precision", "threads")
FIELDS = (*SETTING, "launch", "others_cores", "round", "ratio")
SIDES = ("official", "own")
SECONDS = ("official_seconds", "own_seconds")
PROFILED = 5  # passes
SHARES = (*SETTING, "side", "operator", "share")
NEEDED = (
    "addmm",
    "mm",
    "bmm",
    "linear",
    "baddbmm",
    "attention",
    "convolution",
    "gelu",
    "silu",
    "layer_norm",
)  # in names


@dataclass(frozen=True)
class Case:
    """One official model at its published size.

    Attributes:
        layout, options: as `suite.official.load` wants them.
        folder: which checkout, and where in it.
        side: of the images, in pixels.
        build: makes the official model, in the official interpreter.
    """

    layout: str
    options: dict[str, Any]
    folder: tuple[str, str]
    side: int
    build: Callable[[], Any]


def _cropr(width: int, depth: int, heads: int, rate: int) -> Any:
    from record import _cropr_settings
    from vision_transformer import VisionTransformer

    return VisionTransformer(
        _cropr_settings(rate, llf=False),
        num_classes=1000,
        img_size=224,
        patch_size=16,
        global_pool="avg",
        embed_dim=width,
        num_heads=heads,
        depth=depth,
        mlp_ratio=4.0,
        drop_path_rate=0.0,
        class_token=True,
    )


def _segmenter(width: int, depth: int, heads: int, rate: int) -> Any:
    from record import Sides, _cropr_settings
    from segmenter import Segmenter

    return Segmenter(
        _cropr_settings(rate, num_queries=1024),
        num_classes=150,
        img_size=Sides((512, 512)),
        patch_size=16,
        global_pool="avg",
        embed_dim=width,
        num_heads=heads,
        depth=depth,
        mlp_ratio=8 / 3,
        drop_path_rate=0.0,
        class_token=True,
        qkv_fused=False,
        swiglu_mlp=True,
        scale_mlp=True,
        scale_attn_inner=False,
        use_rot_pos_emb=True,
        ref_feat_shape=(16, 16),
    )


def _evit(rates: tuple[float, ...]) -> Any:
    import types

    sys.modules["torchprofile"] = types.SimpleNamespace(profile_macs=None)  # imported there, and not used here
    from evit import EViT

    return EViT(embed_dim=384, depth=12, num_heads=6, qkv_bias=True, keep_rate=rates, fuse_token=True)


def _tome(width: int, depth: int, heads: int, r: int) -> Any:
    import tome
    from timm.models.vision_transformer import VisionTransformer

    model = VisionTransformer(embed_dim=width, depth=depth, num_heads=heads)
    tome.patch.timm(model, prop_attn=True)
    model.r = r
    return model


def _idlevit(layers: list[int], ratios: list[float]) -> Any:
    from vit import IdleVisionTransformer

    return IdleVisionTransformer(
        embed_dim=384, depth=12, num_heads=6, idle_layers=layers, keep_ratios=ratios, distill=True
    )


SMALL, LARGE = (384, 12, 6), (1024, 24, 16)
RATES = tuple(0.7 if block in (3, 6, 9) else 1 for block in range(12))
IDLE = {"idle_layers": list(range(3, 12)), "keep_ratios": [0.7 ** (stage + 1) for stage in range(3) for _ in range(3)]}
CASES = {
    "cropr-s": Case(
        "cropr", {"heads": 6, "pruning_rate": 16}, ("cropr", "cls"), 224, functools.partial(_cropr, *SMALL, 16)
    ),
    "cropr-l": Case("cropr", {"pruning_rate": 8}, ("cropr", "cls"), 224, functools.partial(_cropr, *LARGE, 8)),
    "cropr-segmentation-s": Case(
        "cropr-segmentation",
        {"heads": 6, "pruning_rate": 80},
        ("cropr", "segm"),
        512,
        functools.partial(_segmenter, *SMALL, 80),
    ),
    "cropr-segmentation-l": Case(
        "cropr-segmentation", {"pruning_rate": 40}, ("cropr", "segm"), 512, functools.partial(_segmenter, *LARGE, 40)
    ),
    "evit-s": Case(
        "evit", {"keep_rate": list(RATES), "fuse_token": True}, ("evit", ""), 224, functools.partial(_evit, RATES)
    ),
    "tome-s": Case("tome", {"r": 13, "prop_attn": True}, ("tome", ""), 224, functools.partial(_tome, *SMALL, 13)),
    "tome-l": Case("tome", {"r": 8, "prop_attn": True}, ("tome", ""), 224, functools.partial(_tome, *LARGE, 8)),
    "idlevit-s": Case(
        "idlevit", IDLE, ("idlevit", ""), 224, functools.partial(_idlevit, IDLE["idle_layers"], IDLE["keep_ratios"])
    ),
}


class Runner:
    """The process of one side, which times a forward pass when it is asked to."""

    def __init__(self, python: str, side: str, name: str, chosen: argparse.Namespace, batch: int) -> None:
        command = [python, str(Path(__file__).resolve()), "--serve", side, "--case", name, "--batch", str(batch)]
        command += ["--device", chosen.device, "--precision", chosen.precision, "--threads", str(chosen.threads)]
        folder = getattr(chosen, CASES[name].folder[0])
        settings = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**33)}  # as in studies
        self.process = subprocess.Popen(
            [*command, f"--{CASES[name].folder[0]}", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | settings,
        )

    def ask(self, question: Any) -> Any:
        """Send one line and read one."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{' '.join(map(str, self.process.args))} ended with {self.process.wait()}")
        return json.loads(answer)

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


def serve(chosen: argparse.Namespace) -> None:
    """Build a model, then answer questions: its shapes, its logits, the seconds of a forward pass."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # official models announce themselves
    sys.path.insert(0, str(ROOT))
    import suite.torchvision_operators  # noqa: F401 -- lets timm be imported whatever torchvision is there

    # isort: split
    import torch
    from weights import fill, images

    torch.set_num_threads(chosen.threads)
    warnings.simplefilter("ignore")
    case = CASES[chosen.case]
    shapes: dict[str, list[int]] = json.loads(sys.stdin.readline())
    if chosen.serve == "official":
        folder, inner = case.folder
        sys.path.insert(0, str(getattr(chosen, folder) / inner))
        model = case.build()
        shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
        model.load_state_dict({key: torch.from_numpy(value) for key, value in fill(shapes, SEED).items()})
    else:
        from suite import official

        weights = {key: torch.from_numpy(value) for key, value in fill(shapes, SEED).items()}
        model = official.load(weights, case.layout, **case.options)
        getattr(model, "reduced", model).deploy()
    model = model.eval().to(chosen.device)
    pixels = torch.from_numpy(images(chosen.batch, case.side, case.side, SEED)).to(chosen.device)
    half = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}[chosen.precision]

    def say(answer: Any) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    def some(logits: torch.Tensor) -> list[float]:
        return logits.float().flatten()[:: max(1, logits.numel() // COMPARED)].tolist()

    def seconds() -> float:
        start = time.perf_counter()
        logits = model(pixels)
        if logits.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    def shares() -> dict[str, float]:
        kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA][: 1 + pixels.is_cuda]
        with torch.profiler.profile(activities=kinds) as profile:
            for _ in range(PROFILED):
                model(pixels)
        field = "self_device_time_total" if pixels.is_cuda else "self_cpu_time_total"
        found = {event.key: float(getattr(event, field)) for event in profile.key_averages()}
        return {key: value / sum(found.values()) for key, value in found.items() if value}

    say(shapes)
    with torch.inference_mode(), torch.autocast(chosen.device, half, enabled=half is not None):
        for line in sys.stdin:
            question = json.loads(line)
            say({"logits": lambda: some(model(pixels)), "time": seconds, "profile": shares}[question]())


Rows = list[dict[str, Any]]


def race(name: str, batch: int, launch: int, chosen: argparse.Namespace) -> tuple[Rows, Rows]:
    """All rounds of one launch of a case, and both profiles; refuses models that do not compute the same."""
    import numpy
    import psutil

    official = Runner(chosen.python, "official", name, chosen, batch)
    own = Runner(sys.executable, "own", name, chosen, batch)
    with contextlib.ExitStack() as ending:
        ending.callback(official.end)
        ending.callback(own.end)
        own.ask(official.ask({}))
        theirs, ours = (numpy.array(side.ask("logits")) for side in (official, own))
        scale = theirs.std()
        if chosen.precision == "float32" and not numpy.abs(theirs - ours).max() <= CLOSE * scale:
            raise SystemExit(f"{name}: logits differ by {numpy.abs(theirs - ours).max() / scale:.1e} of their spread")
        for _ in range(WARM_UP):
            official.ask("time"), own.ask("time")
        processes = [psutil.Process(), *(psutil.Process(side.process.pid) for side in (official, own))]
        before, start = _readings(processes), time.perf_counter()
        rounds = []
        while len(rounds) < chosen.rounds or time.perf_counter() - start < chosen.seconds:
            turn = len(rounds)
            order = (official, own) if turn % 2 else (own, official)
            seconds = {side: side.ask("time") for side in order}
            measured = {"official_seconds": seconds[official], "own_seconds": seconds[own]}
            rounds.append(measured | {"round": turn, "ratio": seconds[official] / seconds[own]})
        after, wall = _readings(processes), time.perf_counter() - start
        profiles = {"official": official.ask("profile"), "own": own.ask("profile")}
    others = max(0.0, (after[0] - before[0] - (after[1] - before[1])) / wall)
    about = {"case": name, "batch": batch, "device": chosen.device_name, "precision": chosen.precision}
    about["threads"] = chosen.threads
    lines = [(side, key, share) for side, found in profiles.items() for key, share in found.items() if share > 1e-3]
    spent = [about | {"side": side, "operator": key, "share": round(share, 4)} for side, key, share in lines]
    return [about | {"launch": launch, "others_cores": round(others, 3)} | row for row in rounds], spent


def _readings(processes: list[Any]) -> tuple[float, float]:
    """Processor seconds of the whole machine, and of these processes."""
    import psutil

    times = psutil.cpu_times()
    busy = sum(times) - times.idle - times.iowait - times.guest - times.guest_nice
    return busy, sum(sum(process.cpu_times()[:2]) for process in processes)


def _setting(row: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in SETTING)


def keep(rows: Rows, spent: Rows, out: Path) -> None:
    """Put rounds and profiles into the folder's record, in place of earlier ones of the same setting."""
    from suite.study.provenance import provenance
    from suite.study.records import write_provenance

    out.mkdir(parents=True, exist_ok=True)
    origins = out / "provenance.json"
    rows = [row | (dict.fromkeys(SECONDS, "") if row["device"] == "cpu" else {}) for row in rows]
    _merge(out / "rounds.csv", FIELDS + SECONDS, rows)
    _merge(out / "operators.csv", SHARES, spent)
    here = sorted({" ".join(_setting(row)) for row in rows})
    runs = json.loads(origins.read_text())["runs"] if origins.is_file() else []
    runs = [run | {"settings": [one for one in run["settings"] if one not in here]} for run in runs]
    runs = [*(run for run in runs if run["settings"]), {**provenance(), "settings": here}]
    write_provenance(out, {"runs": runs})
    rebuild(out)


def rebuild(out: Path) -> None:
    """Make the table of a folder's record, in every format."""
    from suite.report.render import write
    from suite.study.records import RECORDS, write_provenance

    write(table(_read(out / "rounds.csv"), _read(out / "operators.csv")), out)
    runs = json.loads((out / "provenance.json").read_text())["runs"]
    write_provenance(out, {"runs": runs}, (*RECORDS, "table.csv"))  # `suite trace` believes the table


def _read(path: Path) -> Rows:
    from suite.study.records import check_unedited

    check_unedited(path, "delete {}/ and race again")
    return list(csv.DictReader(path.open()))


def _merge(path: Path, fields: tuple[str, ...], new: Rows) -> None:
    """Rewrite a CSV with new rows in place of those of the same settings."""
    settings = {_setting(row) for row in new}
    earlier = _read(path) if path.is_file() else []
    rows = sorted([row for row in earlier if _setting(row) not in settings] + new, key=_setting)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def table(rows: Rows, spent: Rows) -> Any:
    """Medians and quartiles of the rounds, a row for each setting."""
    from suite.report.layout import Block, Column, Note, Row, Table

    def ends(low: str, high: str) -> str:
        return f"{low}–{high}"

    columns = (
        *(Column(name, name, align="left" if name == "case" else "right", fields=(name,)) for name in SETTING),
        Column("ratio", "ours / official", "{:.2f}x".format, fields=("ratio_median",)),
        Column("quartiles", "IQR", lambda own: ends(*map("{:.2f}".format, own)), fields=("ratio_low", "ratio_high")),
        Column(
            "launches",
            "of launches",
            lambda own: ends(*map("{:.2f}".format, own)),
            fields=("lowest_launch", "highest_launch"),
        ),
        Column("rounds", "rounds", fields=("rounds",)),
        Column("others", "others' cores", "{:.2f}".format, fields=("others_cores",)),
        Column(
            "needed",
            "needed, official / ours",
            "{0[0]:.0f} / {0[1]:.0f} %".format,
            fields=("needed_official", "needed_own"),
        ),
    )
    lines = []
    for setting in dict.fromkeys(map(_setting, rows)):
        own = [row for row in rows if _setting(row) == setting]
        low, middle, high = statistics.quantiles([float(row["ratio"]) for row in own], n=4, method="inclusive")
        launches = [
            [float(row["ratio"]) for row in own if row["launch"] == one] for one in {row["launch"] for row in own}
        ]
        medians = sorted(statistics.median(ratios) for ratios in launches)
        shares = [[row for row in spent if _setting(row) == setting and row["side"] == side] for side in SIDES]
        values = dict(zip(SETTING, setting, strict=True)) | {
            "ratio": middle,
            "quartiles": (low, high),
            "launches": (medians[0], medians[-1]),
            "rounds": len(own),
            "others": max(float(row["others_cores"]) for row in own),
            "needed": tuple(100 * _needed(each) for each in shares),
        }
        lines.append(Row(values))
    notes = [
        "Images per second of this suite over those of the official code, with equal weights and images, in turns: "
        "median and quartiles of rounds, lowest and highest median of a launch, and processor cores that others used.",
        "Needed: the share of a pass that goes into matrix products, attention, convolution, activation and norms, "
        "which both must compute; more in operators.csv.",
        *([] if any(row["device"] != "cpu" for row in rows) else ["A GPU: not measured."]),
    ]
    caption = "This suite beside the official code of each method."
    return Table("official-speed", caption, columns, (Block("", tuple(lines)),), tuple(map(Note, notes)))


def _needed(own: Rows) -> float:
    return sum(float(row["share"]) for row in own if any(name in row["operator"] for name in NEEDED))


def main() -> None:
    """Race every case for which a folder is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("cropr", "evit", "tome", "idlevit"):
        parser.add_argument(f"--{name}", type=Path, help="a checkout of the official repository")
    parser.add_argument("--python", default=sys.executable, help="interpreter for the official code")
    parser.add_argument(
        "--case", action="append", choices=sorted(CASES), help="repeatable; by default those ending in -s"
    )
    parser.add_argument("--batch", action="append", type=int, help="repeatable; by default 1 and 16")
    parser.add_argument("--rounds", type=int, default=7, help="of a launch, at least")
    parser.add_argument("--seconds", type=float, default=10.0, help="of a launch's rounds, at least")
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--out", type=Path, default=ROOT / "results/official-speed")
    parser.add_argument("--table", action="store_true", help="only make the table again, from the record")
    parser.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        chosen.case, chosen.batch = chosen.case[0], chosen.batch[0]
        serve(chosen)
        return
    sys.path.insert(0, str(ROOT))
    if chosen.table:
        rebuild(chosen.out)
        return
    chosen.device_name = chosen.device
    if chosen.device != "cpu":
        import torch

        chosen.device_name = torch.cuda.get_device_name()
    names = [name for name in chosen.case or CASES if getattr(chosen, CASES[name].folder[0]) is not None]
    names = names if chosen.case else [name for name in names if name.endswith("-s")]
    if not names:
        parser.error("give at least one folder")
    for name in names:
        for batch in chosen.batch or (1, 16):
            rows, spent = Rows(), Rows()
            for launch in range(chosen.launches):
                sys.stderr.write(f"{name}, batch {batch}, launch {launch}\n")
                measured, spent = race(name, batch, launch, chosen)
                rows += measured
            keep(rows, spent, chosen.out)
    sys.stderr.write((chosen.out / "table.md").read_text())


if __name__ == "__main__":
    main()
