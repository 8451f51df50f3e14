from __future__ import annotations

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgesnn import report as reports
from edgesnn.errors import ConfigError, ModelError
from edgesnn.report import svg

FULL: dict[str, Any] = {
    "name": "watch",
    "provenance": {
        "command": "edgesnn demo --model empf --board mps2-an386 --quick",
        "version": "9.8.7",
        "packages": {"python": "3.12.1", "torch": "2.13.0"},
        "machine": {"processor": "A Fast One", "cores": 3, "system": "Linux x86_64"},
        "seed": 5,
        "source_hash": "0123456789abcdef" * 4,
        "quick": True,
        "date": "2026-01-02T03:04:05+00:00",
        "board": "mps2-an386",
    },
    "accuracy": {
        "float": 0.832,
        "quantized": 0.83,
        "integer": 0.83,
        "device_before": 0.84,
        "device_after": 0.871,
        "majority": 0.163,
    },
    "people": [
        {
            "person": 9,
            "before": 0.9,
            "learned": 0.94,
            "after": 0.94,
            "check_fixed": 0.8,
            "check_learned": 0.9,
            "kept": True,
        },
        {
            "person": 10,
            "before": 0.78,
            "learned": 0.7,
            "after": 0.78,
            "check_fixed": 0.8,
            "check_learned": 0.7,
            "kept": False,
        },
    ],
    "bit_exact": {
        "backends": ["reference", "native"],
        "steps": 500,
        "learn_steps": 200,
        "equal": True,
        "differences": [],
        "checks": [
            {"backend": "reference", "graph": "window", "compared": 496, "equal": True},
            {"backend": "native", "graph": "step", "compared": 500, "equal": True},
            {"backend": "native", "graph": "learn", "compared": 200, "equal": True},
        ],
    },
    "board": {
        "id": "mps2-an386",
        "flash_bytes": 18432,
        "ram_bytes": 6400,
        "arena_bytes": 4100,
        "stack_bytes": 312,
        "instructions_per_step": 48211,
        "instructions_per_learn": 12903,
    },
    "size": {"float32_bytes": 120000, "packed_bytes": 9200},
    "training": {"seconds": 48.2, "rule": "SLTT(k=4)", "time_steps": 16},
    "timeline": {"seconds": [0.0, 60.0, 120.0], "before": [0.9, 0.85, 0.84], "after": [0.9, 0.86, 0.871]},
    "confusion": {"labels": ["PEN", "<ABD>"], "matrix": [[90, 10], [0, 0]]},
    "layers": [
        {
            "name": "fc1",
            "flash_bytes": 2560,
            "ram_bytes": 512,
            "instructions": 30000,
            "macs": 12288,
            "spike_rate": 0.21,
        },
        {"name": "readout", "flash_bytes": 1000, "ram_bytes": 1500, "instructions": 3900, "macs": 896},
    ],
}
REQUIRED = [
    *(f"accuracy.{key}" for key in ("float", "quantized", "integer", "device_before", "device_after")),
    *(f"bit_exact.{key}" for key in ("backends", "steps", "learn_steps", "equal")),
    *(f"provenance.{key}" for key in ("command", "version", "packages", "machine", "source_hash", "quick", "date")),
    *(f"board.{key}" for key in ("id", "flash_bytes", "ram_bytes", "arena_bytes", "stack_bytes")),
    *(f"board.{key}" for key in ("instructions_per_step", "instructions_per_learn")),
    *(f"size.{key}" for key in ("float32_bytes", "packed_bytes")),
    *(f"training.{key}" for key in ("seconds", "rule", "time_steps")),
    *("timeline", "confusion", "layers"),
]


class Page(HTMLParser):
    """Collects tags with their attributes, and fails on tags that do not close."""

    VOID = ("meta", "rect", "line", "polyline")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def without(key: str) -> dict[str, Any]:
    data = copy.deepcopy(FULL)
    section, _, name = key.partition(".")
    del (data[section] if name else data)[name or section]
    return data


def test_a_report_survives_writing_and_reading(tmp_path: Path) -> None:
    written = reports.DemoReport.parse(FULL | {"guard": {"kept": True}})
    page = reports.write(written, tmp_path / "new")
    assert page == tmp_path / "new" / "report.html"
    assert json.loads((tmp_path / "new" / "report.json").read_text()) == FULL | {"guard": {"kept": True}}
    assert reports.render(reports.load(tmp_path / "new")) == page.read_text()


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ModelError, match=f"report: {re.escape(key)}: field required"):
        reports.DemoReport.parse(without(key))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("accuracy.float", 83.2, "accuracy.float: input should be less than or equal to 1"),
        ("accuracy.integer", float("nan"), "accuracy.integer: "),
        ("board.flash_bytes", -1, "board.flash_bytes: "),
        ("timeline.after", [0.9], "timeline: expected series of one length, got [1, 3]"),
        ("confusion.matrix", [[1, 2]], "confusion: expected a matrix of 2 x 2"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(key: str, value: object, message: str) -> None:
    data = copy.deepcopy(FULL)
    section, name = key.split(".")
    data[section][name] = value
    with pytest.raises(ModelError, match=re.escape(f"report: {message}")) as caught:
        reports.DemoReport.parse(data)
    assert "\n" not in str(caught.value)


def test_the_page_shows_the_numbers_and_needs_nothing_from_outside() -> None:
    text = reports.render(reports.DemoReport.parse(FULL))
    page = Page(text)
    assert not {"script", "link", "img", "iframe"} & {tag for tag, _ in page.tags}
    assert not any(name in ("src", "href") for _, attributes in page.tags for name in attributes)
    assert "url(" not in text
    assert "//" not in text
    for shown in ("84.0 %", "87.1 %", "+3.1 points", "18.0 KiB of 4.0 MiB", "48,211", "90.0%", "21.0 %", "2.44"):
        assert shown in text


def test_the_page_tells_where_the_figures_come_from_and_what_they_must_beat() -> None:
    text = reports.render(reports.DemoReport.parse(FULL))
    footer = re.sub(r"\s+", " ", text[text.index("<footer") : text.index("</footer>")])
    for shown in (
        "edgesnn demo --model empf",
        "quick: fewer epochs",
        "on 2026-01-02",
        "seed 5",
        "edgesnn 9.8.7, model 0123456789abcdef.",
        "A Fast One, 3 cores, Linux x86_64",
        "python 3.12.1, torch 2.13.0.",
    ):
        assert shown in footer
    assert re.search(r"baseline: always the most frequent class[^<]*</td><td>16\.3 %", text)


def test_each_comparison_has_its_row_and_the_reference_only_its_window() -> None:
    text = reports.render(reports.DemoReport.parse(FULL))
    rows = re.findall(r"<code>(\w+)</code></td><td>(\w+)</td><td>(\d+)</td><td>(\w+)</td>", text)
    assert rows == [
        ("reference", "window", "496", "yes"),
        ("native", "step", "500", "yes"),
        ("native", "learn", "200", "yes"),
    ]


def test_without_a_board_nothing_is_said_about_its_work() -> None:
    data = without("board")
    data["layers"] = [
        {key: value for key, value in layer.items() if key not in ("instructions", "spike_rate")}
        for layer in data["layers"]
    ]
    text = reports.render(reports.Report.parse(data))
    assert "Flash by layer" in text
    for absent in ("executed instructions", "<th>instructions", "spike rate", "Spike rate"):
        assert absent not in text


def test_names_are_escaped() -> None:
    text = reports.render(reports.DemoReport.parse(FULL | {"name": "<script>alert(1)</script>"}))
    assert "<script" not in text
    assert "&lt;ABD&gt;" in text


@pytest.mark.parametrize(
    "section",
    ["provenance", "accuracy", "people", "bit_exact", "board", "size", "training", "timeline", "confusion", "layers"],
)
def test_a_section_may_be_absent_from_an_export(section: str) -> None:
    Page(reports.render(reports.Report.parse(without(section))))


def test_a_difference_between_backends_is_not_shown_as_equal() -> None:
    data = copy.deepcopy(FULL)
    data["bit_exact"] |= {"equal": False, "differences": ["native step: step 3: y[0]: expected 1, got 2"]}
    data["bit_exact"]["checks"][1]["equal"] = False
    text = reports.render(reports.DemoReport.parse(data))
    assert 'class="worse">NO' in text
    assert re.findall(r"<td>(\w+)</td><td>[\d,]+</td><td>(yes|<span class=\"worse\">NO)", text) == [
        ("window", "yes"),
        ("step", '<span class="worse">NO'),
        ("learn", "yes"),
    ]
    assert "native step: step 3: y[0]: expected 1, got 2" in text


def test_a_person_who_got_worse_is_shown_as_worse_and_rolled_back() -> None:
    text = reports.render(reports.DemoReport.parse(FULL))
    assert re.search(r"<td>10</td>.*?class=\"worse\">-8\.0 points.*?rolled back.*?78\.0 %", text, re.DOTALL)
    assert re.search(r"<td>9</td>.*?class=\"good\">\+4\.0 points.*?kept", text, re.DOTALL)


def test_a_board_that_is_not_ours_is_shown_by_its_id() -> None:
    data = copy.deepcopy(FULL)
    data["board"]["id"] = "my-own"
    assert "on my-own" in reports.render(reports.DemoReport.parse(data))


def test_a_line_runs_from_the_first_to_the_last_value_inside_its_frame() -> None:
    plot = svg.lines([0, 1, 3], [svg.Series("up", [0.5, 0.75, 1.0], "a")], "s", height=256)
    points = re.search(r'points="([^"]*)"', plot)
    assert points is not None
    xs, ys = zip(*(map(float, point.split(",")) for point in points.group(1).split()), strict=True)
    assert (xs[1] - xs[0]) * 3 == pytest.approx(xs[2] - xs[0], abs=0.2)
    assert ys == (212.0, 112.0, 12.0)


def test_lines_that_end_together_have_names_that_do_not_overlap() -> None:
    plot = svg.lines([0, 1], [svg.Series("p", [0.5, 0.8], "a"), svg.Series("q", [0.4, 0.8], "b")], "s")
    first, second = (float(y) for y in re.findall(r'y="([\d.]+)" class="name', plot))
    assert abs(first - second) >= 16


def test_a_confusion_shades_right_and_wrong_decisions_apart_by_their_share() -> None:
    cells = re.findall(r'class="(a|bad)" fill-opacity="([\d.]+)"', svg.heatmap(["x", "y"], [[3, 1], [0, 0]]))
    assert cells == [("a", "0.75"), ("bad", "0.25"), ("bad", "0.00"), ("a", "0.00")]


def test_a_bar_is_as_long_as_its_share() -> None:
    widths = re.findall(
        r'width="([\d.]+)" height="18.0" rx="2" class="a"', svg.bars([("x", 10, ""), ("y", 5, ""), ("z", 0, "")])
    )
    assert [float(width) for width in widths] == [440.0, 220.0, 0.0]


@pytest.mark.parametrize("content", [None, "{", "[]", '{"accuracy": {}}'])
def test_a_file_that_is_no_report_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(ModelError, match=r"report\.json: ") as caught:
        reports.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="expected a folder that can be written"):
        reports.write(reports.Report(), tmp_path / "file")
