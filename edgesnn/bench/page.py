"""The page of a benchmark: its figures, its plot, and the rows behind them, in one file."""

from __future__ import annotations

from markupsafe import Markup

from edgesnn.bench.result import Result
from edgesnn.report.page import render_template


def render(result: Result) -> str:
    """HTML that opens anywhere; columns in the order in which rows first have them."""
    columns = list(dict.fromkeys(key for row in result.rows for key in row))
    plot = Markup(result.plot) if result.plot else None  # our own SVG, whose texts are escaped
    return render_template("bench.html.j2", result=result, columns=columns, plot=plot)
