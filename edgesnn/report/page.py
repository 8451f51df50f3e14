"""The page: one HTML file that opens anywhere, without network, script or font of its own."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from edgesnn.boards import Board, available
from edgesnn.boards import load as load_board
from edgesnn.report import svg
from edgesnn.report.schema import Report

TEMPLATE = "report.html.j2"


def render_template(name: str, **values: object) -> str:
    """A page from a template of this package."""
    environment = Environment(
        loader=PackageLoader("edgesnn.report"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, points=points, whole=whole, size=size, figure=figure)
    return environment.get_template(name).render(**values)


def render(report: Report) -> str:
    """The page of a report; sections that are absent are left out."""
    return render_template(
        TEMPLATE,
        report=report,
        board=_board(report),
        timeline=_timeline(report),
        confusion=_confusion(report),
        sizes=_sizes(report),
        memory=_memory(report),
        plots=_layer_plots(report),
    )


def figure(value: object) -> str:
    """Any cell of a table: floats with four significant digits, nothing for what is not there."""
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def percent(value: float) -> str:
    """0.8931 -> "89.3 %"."""
    return f"{value * 100:.1f} %"


def points(value: float) -> str:
    """Difference of two fractions, in percentage points, with its sign."""
    return f"{value * 100:+.1f} points"


def whole(value: int) -> str:
    """12345 -> "12,345"."""
    return f"{value:,}"


def size(count: int) -> str:
    """Bytes, in KiB from 10,000 on and in MiB from a million on."""
    if count >= 1_000_000:
        return f"{count / (1 << 20):.1f} MiB"
    return f"{count / 1024:.1f} KiB" if count >= 10_000 else f"{count:,} B"


def _board(report: Report) -> Board | None:
    """The description of the board, if it is one of ours: it holds the budgets and the clock."""
    known = report.board is not None and report.board.id in available()
    return load_board(report.board.id) if known and report.board is not None else None


def _timeline(report: Report) -> Markup | None:
    line = report.timeline
    if line is None or not line.seconds:
        return None
    minutes = [second / 60 for second in line.seconds]
    series = (svg.Series("learning", line.after, "a"), svg.Series("fixed", line.before, "b"))
    return svg.lines(minutes, series, "minutes of sensor stream")


def _confusion(report: Report) -> Markup | None:
    return svg.heatmap(report.confusion.labels, report.confusion.matrix) if report.confusion else None


def _sizes(report: Report) -> Markup | None:
    if report.size is None:
        return None
    full, packed = report.size.float32_bytes, report.size.packed_bytes
    return svg.bars([("float32", full, size(full)), ("packed integers", packed, size(packed))])


def _memory(report: Report) -> list[tuple[str, Markup]]:
    """What of the board is used, against its size where the board is known."""
    use, board = report.board, _board(report)
    if use is None:
        return []
    result = []
    for title, used, total in (
        ("flash", use.flash_bytes, board.flash_bytes if board else None),
        ("RAM", use.ram_bytes, board.ram_bytes if board else None),
    ):
        shown = f"{size(used)} of {size(total)}" if total else size(used)
        result.append((title, svg.bars([(title, used, shown)], limit=total)))
    return result


def _layer_plots(report: Report) -> list[tuple[str, Markup]]:
    """Flash, RAM, work and spikes by layer; what the board holds beyond the layers is a bar of its own."""
    layers, use = report.layers, report.board
    if not layers:
        return []

    def split(counts: list[int], total: int | None, rest: str) -> Markup:
        rows = [(layer.name, count) for layer, count in zip(layers, counts, strict=True)]
        if total is not None and total > sum(counts):
            rows.append((rest, total - sum(counts)))
        return svg.bars([(name, count, size(count)) for name, count in rows])

    counted = [(layer.name, layer.instructions) for layer in layers if layer.instructions is not None]
    work = sum(count for _, count in counted) or 1
    shares = [(name, count, f"{count:,} ({count / work:.0%})") for name, count in counted]
    rates = [(x.name, x.spike_rate, percent(x.spike_rate)) for x in layers if x.spike_rate is not None]
    flash = split([layer.flash_bytes for layer in layers], use.flash_bytes if use else None, "code, everything else")
    ram = split([layer.ram_bytes for layer in layers], use.ram_bytes if use else None, "everything else")
    plots = [
        ("Flash by layer", flash),
        ("RAM by layer", ram),
    ]
    if counted:
        plots.append(("Work of a step by layer, executed instructions", svg.bars(shares)))
    if rates:
        plots.append(("Spike rate: share of neurons that fire in a step", svg.bars(rates, limit=1.0, css="b")))
    return plots
