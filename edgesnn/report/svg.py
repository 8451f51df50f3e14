"""Small plots as inline SVG: text stays text, colours come from the page's style sheet, no script, no file beside it.

Every function returns markup whose texts are escaped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

WIDTH = 760  # user units; the page scales a plot to its column


@dataclass(frozen=True)
class Series:
    """One line of a plot. `css` is the class that colours it."""

    name: str
    values: Sequence[float]
    css: str


#: Colours of a plot that stands alone.
_STYLE = (
    "text{font:13px sans-serif;fill:#333}.middle{text-anchor:middle}.end{text-anchor:end}.grid{stroke:#ddd}"
    ".line{fill:none;stroke-width:2}.line.a{stroke:#1f6feb}.line.b{stroke:#d9730d}.line.c{stroke:#2da44e}"
    ".name.a{fill:#1f6feb}.name.b{fill:#d9730d}.name.c{fill:#2da44e}"
)


def standalone(plot: Markup) -> str:
    """The text of an SVG file from what the functions below return; classes a, b, c have a colour each."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}"'
    return str(plot).replace("<svg", head, 1).replace(">", f"><style>{_STYLE}</style>", 1) + "\n"


def lines(
    x: Sequence[float], series: Sequence[Series], x_label: str, height: int = 280, label: str = "accuracy over time"
) -> Markup:
    """Fractions of one over x: a line a series, named at its end where it can be read without a legend.

    Args:
        x: the common abscissa, increasing.
        series: at least one, each as long as `x`.
        x_label: name and unit of the abscissa.
        height: of the plot in user units.
        label: what a screen reader says.
    """
    left, right, top, bottom = 44, 130, 12, 44
    low = _floor_to_tenth(min(min(entry.values) for entry in series))
    span_x = (x[-1] - x[0]) or 1.0

    def at_x(value: float) -> float:
        return left + (value - x[0]) / span_x * (WIDTH - left - right)

    def at_y(value: float) -> float:
        return top + (1.0 - value) / (1.0 - low) * (height - top - bottom)

    parts = [Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, height, label)]
    for tenth in range(round(low * 10), 11):
        y = at_y(tenth / 10)
        parts.append(_line(left, y, WIDTH - right, y, "grid"))
        parts.append(_text(left - 8, y + 4, f"{tenth * 10}%", "tick end"))
    for tick in _ticks(x[0], x[-1]):
        parts.append(_text(at_x(tick), height - bottom + 18, f"{tick:g}", "tick middle"))
    parts.append(_text((left + WIDTH - right) / 2, height - 6, x_label, "tick middle"))
    label_ys = _spread([at_y(entry.values[-1]) for entry in series], 16)
    for entry, label_y in zip(series, label_ys, strict=True):
        points = " ".join(f"{at_x(a):.1f},{at_y(b):.1f}" for a, b in zip(x, entry.values, strict=True))
        parts.append(Markup('<polyline class="line {}" points="{}"/>').format(entry.css, points))
        parts.append(_text(WIDTH - right + 8, label_y + 4, entry.name, f"name {entry.css}"))
    return Markup("").join([*parts, Markup("</svg>")])


def bars(rows: Sequence[tuple[str, float, str]], limit: float | None = None, css: str = "a") -> Markup:
    """Horizontal bars: (name, value, value as text). `limit` is the value of a full bar; the largest value if None."""
    left, right, pitch = 170, 150, 26
    height = pitch * len(rows) + 4
    full = limit or max((value for _, value, _ in rows), default=0) or 1.0
    parts = [Markup('<svg viewBox="0 0 {} {}" role="img">').format(WIDTH, height)]
    for at, (name, value, shown) in enumerate(rows):
        y = at * pitch + 4
        length = min(value / full, 1.0) * (WIDTH - left - right)
        parts.append(_text(left - 10, y + 14, name, "tick end"))
        parts.append(_rect(left, y, WIDTH - left - right, pitch - 8, "track"))
        parts.append(_rect(left, y, max(length, 1.0 if value else 0.0), pitch - 8, css))
        parts.append(_text(WIDTH - right + 10, y + 14, shown, "tick"))
    return Markup("").join([*parts, Markup("</svg>")])


def heatmap(labels: Sequence[str], matrix: Sequence[Sequence[int]]) -> Markup:
    """Confusion matrix: rows are true classes, columns decisions; a cell is shaded by its share of the row."""
    cell_w, cell_h, left, top = 74, 30, 150, 34
    width, height = left + cell_w * len(labels) + 70, top + cell_h * len(labels) + 8
    parts = [Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="confusion matrix">').format(width, height)]
    for at, label in enumerate(labels):
        parts.append(_text(left + (at + 0.5) * cell_w, top - 12, label, "tick middle"))
        parts.append(_text(left - 10, top + at * cell_h + 19, label, "tick end"))
    parts.append(_text(left + cell_w * len(labels) + 10, top - 12, "right", "tick"))
    for row, counts in enumerate(matrix):
        total = sum(counts)
        for column, count in enumerate(counts):
            share = count / total if total else 0.0
            x, y, css = left + column * cell_w, top + row * cell_h, "a" if row == column else "bad"
            parts.append(_rect(x + 1, y + 1, cell_w - 2, cell_h - 2, "track"))
            parts.append(_rect(x + 1, y + 1, cell_w - 2, cell_h - 2, css, opacity=share))
            strength = " strong" if share > 0.55 else ""
            parts.append(_text(x + cell_w / 2, y + 19, f"{count:,}" if count else "", f"tick middle{strength}"))
        hit = f"{counts[row] / total:.1%}" if total else "-"
        parts.append(_text(left + cell_w * len(labels) + 10, top + row * cell_h + 19, hit, "tick"))
    return Markup("").join([*parts, Markup("</svg>")])


def _text(x: float, y: float, text: str, css: str) -> Markup:
    return Markup('<text x="{}" y="{}" class="{}">{}</text>').format(f"{x:.1f}", f"{y:.1f}", css, escape(text))


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    coordinates = (f"{value:.1f}" for value in (x1, y1, x2, y2))
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(*coordinates, css)


def _rect(x: float, y: float, width: float, height: float, css: str, opacity: float = 1.0) -> Markup:
    template = Markup('<rect x="{}" y="{}" width="{}" height="{}" rx="2" class="{}" fill-opacity="{}"/>')
    return template.format(f"{x:.1f}", f"{y:.1f}", f"{width:.1f}", f"{height:.1f}", css, f"{opacity:.2f}")


def _floor_to_tenth(value: float) -> float:
    """Lower end of the ordinate: a tenth at or below the value, and always a tenth below one."""
    return min(int(value * 10) / 10, 0.9)


def _ticks(low: float, high: float) -> list[float]:
    """About six round numbers from `low` to `high`."""
    span = high - low
    if span <= 0:
        return [low]
    unit = 10.0 ** (len(str(int(span))) - 1)
    step = next(unit * factor for factor in (0.1, 0.2, 0.5, 1, 2, 5) if span / (unit * factor) <= 7)
    first = -(-low // step) * step
    return [first + step * at for at in range(int((high - first) / step) + 1)]


def _spread(ys: Sequence[float], gap: float) -> list[float]:
    """Moves labels apart, downwards in order of height, so that no two overlap."""
    placed = list(ys)
    order = sorted(range(len(ys)), key=lambda at: ys[at])
    for above, below in pairwise(order):
        placed[below] = max(placed[below], placed[above] + gap)
    return placed
