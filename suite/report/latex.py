"""A table in LaTeX, with the rules of the package booktabs, no wider than what margins of an inch leave of a page."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

from suite.report.layout import Column, Table

LONG = 40  # rows; more do not fit a page
FRAME = 12  # lines that caption, head, rules and the room around them take
SEPARATION = 3  # points on each side of a column
NARROWEST = 9.0  # em; columns of words wrap, but become no narrower than this
SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after the end of a row it would open an optional argument
    "]": "{]}",
    "*": "{*}",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "°": r"\textdegree{}",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "\N{ZERO WIDTH SPACE}": r"\allowbreak{}",
}
CODE = re.compile(r"`([^`]*)`")
GAP = re.compile(r"(?<=[;_])(?=\S)")  # where a line may end though there is no space
WIDE, NARROW = re.compile(r"[A-Zmw%@+=<>~—−]"), re.compile(r"[ijl.,;:'|!]|\s")


@dataclass(frozen=True)
class Page:
    """What a table lies on.

    Attributes:
        size: of its type, as LaTeX calls it.
        em: what an em of that type is in points; widths of columns are counted in em.
        room: points between the margins, of A4 or US letter, whichever has less.
        lines: that fit between the other margins.
        turned: whether it is landscape.
    """

    size: str
    em: float
    room: float
    lines: int
    turned: bool


PAGES = (
    Page("footnotesize", 8.5, 452, 56, turned=False),
    Page("footnotesize", 8.5, 648, 39, turned=True),
    Page("scriptsize", 8.0, 648, 39, turned=True),
)


@dataclass(frozen=True)
class Fitted:
    """Columns on a page; `widths` has em for those that wrap, None for the others."""

    page: Page
    columns: Sequence[Column]
    widths: Sequence[float | None]


def latex(table: Table) -> str:
    """The short form, because pages are narrow, to be read with input.

    Columns of words wrap if they do not all fit side by side, and a table that is still too wide lies on a landscape
    page. More than 40 rows, or fewer that do not fit a page with their notes, break over pages.
    """
    fitted = fit(table)
    many = sum(len(block.rows) for block in table.blocks) > LONG or _lines(table, fitted) > fitted.page.lines
    needed = {"booktabs": True, "longtable": many, "array": any(fitted.widths), "pdflscape": fitted.page.turned}
    body = _breaking(table, fitted) if many else _floating(table, fitted)
    if fitted.page.turned:
        body = [r"\begin{landscape}", *body, r"\end{landscape}"]
    packages = [name for name, used in needed.items() if used]
    return "\n".join([f"% \\usepackage{{{','.join(packages)}}}", *body, ""])


def fit(table: Table) -> Fitted:
    """The first page that has room for the columns; if none has, the last, with words as narrow as they become."""
    columns = table.shown("short")
    texts = [[row.text(column) for row in table.rows()] for column in columns]
    whole = [
        max(map(_width, [*own, *column.heading.split()]), default=0.0)
        for column, own in zip(columns, texts, strict=True)
    ]
    least = [
        min(width, max([NARROWEST, *map(_width, pieces)])) if column.align == "left" else width
        for column, width, own in zip(columns, whole, texts, strict=True)
        for pieces in [[piece for text in own for piece in GAP.sub(" ", text).split()]]
    ]
    for page in PAGES:
        room = (page.room - 2 * SEPARATION * (len(columns) - 1)) / page.em
        widths = _shared(whole, least, room)
        if sum(widths) <= room:
            break
    wraps = [width if width < own else None for width, own in zip(widths, whole, strict=True)]
    return Fitted(page, columns, wraps)


def _lines(table: Table, fitted: Fitted) -> int:
    """About how many lines a table and its notes take."""
    columns = list(zip(fitted.columns, fitted.widths, strict=True))
    rows = sum(
        max([1, *(ceil(_width(row.text(column)) / width) for column, width in columns if width)])
        for row in table.rows()
    )
    notes = sum(ceil(_width(str(note)) * PAGES[0].em / fitted.page.room) for note in table.said("short"))
    return FRAME + len(table.blocks) + rows + notes


def _shared(whole: Sequence[float], least: Sequence[float], room: float) -> list[float]:
    """Widths of columns that fit: as they are, or all that are wider than some limit cut down to it."""
    limit = max(whole, default=0.0)
    while True:
        widths = [max(small, min(own, limit)) for small, own in zip(least, whole, strict=True)]
        if sum(widths) <= room or limit <= min(least, default=0.0):
            return widths
        limit -= 0.1


def _width(text: str) -> float:
    """About how wide a text is in Computer Modern, in em; rather too wide."""
    wide, narrow = len(WIDE.findall(text)), len(NARROW.findall(text))
    return 0.78 * wide + 0.33 * narrow + 0.51 * (len(text) - wide - narrow)


def escaped(text: str) -> str:
    """Text as LaTeX prints it; what stands between backticks in typewriter type."""
    plain = "".join(SPECIAL.get(character, character) for character in " ".join(text.split()))
    plain = re.sub(r"(^| )-(?=\d)", r"\1$-$", plain)
    return CODE.sub(r"\\texttt{\1}", plain)


def _floating(table: Table, fitted: Fitted) -> list[str]:
    return [
        r"\begin{table}",
        rf"\centering{_type(fitted)}",
        f"\\caption{{{escaped(table.caption)}}}",
        f"\\label{{tab:{_label(table)}}}",
        rf"\begin{{tabular}}{{{_letters(fitted)}}}",
        r"\toprule",
        _heads(fitted.columns),
        *_rows(table, fitted),
        r"\bottomrule",
        r"\end{tabular}",
        *_notes(table),
        r"\end{table}",
    ]


def _breaking(table: Table, fitted: Fitted) -> list[str]:
    head = [r"\toprule", _heads(fitted.columns), r"\midrule"]
    return [
        rf"\begingroup{_type(fitted)}",
        rf"\begin{{longtable}}{{{_letters(fitted)}}}",
        f"\\caption{{{escaped(table.caption)}}}\\label{{tab:{_label(table)}}}\\\\",
        *[*head, r"\endfirsthead"],  # a caption on every page would define its label twice
        *[*head, r"\endhead"],
        r"\bottomrule",
        r"\endfoot",
        *list(_rows(table, fitted))[1:],
        r"\end{longtable}",
        r"\endgroup",
        *_notes(table),
    ]


def _rows(table: Table, fitted: Fitted) -> Iterator[str]:
    """Blocks, a rule above each; where there are several, their names too."""
    for block in table.blocks:
        yield r"\midrule"
        if len(table.blocks) > 1:
            name = escaped(block.name)
            yield rf"\multicolumn{{{len(fitted.columns)}}}{{@{{}}l}}{{\emph{{{name}}}}} \\"
        for row in block.rows:
            texts = (row.text(column) for column in fitted.columns)
            cells = (_broken(text) if width else text for text, width in zip(texts, fitted.widths, strict=True))
            yield " & ".join(map(escaped, cells)) + r" \\"
            if any(fitted.widths):
                yield r"\addlinespace[1.5pt]"


def _broken(text: str) -> str:
    """Text of a column that wraps, whose lines may end after a semicolon or an underscore too."""
    return GAP.sub("\N{ZERO WIDTH SPACE}", text)


def _notes(table: Table) -> Iterator[str]:
    if notes := table.said("short"):
        yield r"\par\medskip"
        yield r"\noindent\begin{minipage}{\linewidth}\footnotesize"
        yield from (f"{escaped(str(note))}\\par" for note in notes)
        yield r"\end{minipage}"


def _type(fitted: Fitted) -> str:
    return rf"\{fitted.page.size}\setlength{{\tabcolsep}}{{{SEPARATION}pt}}"


def _letters(fitted: Fitted) -> str:
    letters = (
        rf">{{\raggedright\arraybackslash}}p{{{width:.1f}em}}" if width else column.align[0]
        for column, width in zip(fitted.columns, fitted.widths, strict=True)
    )
    return "@{}" + "".join(letters) + "@{}"


def _heads(columns: Sequence[Column]) -> str:
    """The headings, their words above one another."""
    stacked = (r" \\ ".join(map(escaped, column.heading.split())) for column in columns)
    return (
        " & ".join(
            rf"\shortstack[{column.align[0]}]{{{words}}}" for column, words in zip(columns, stacked, strict=True)
        )
        + r" \\"
    )


def _label(table: Table) -> str:
    return re.sub(r"[^A-Za-z0-9:-]", "-", table.name)
