from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import Command
from toy import ToySession, make_model

from edgesnn import __version__, bench, runtime
from edgesnn.cli import console, main
from edgesnn.errors import EdgesnnError
from edgesnn.runtime.verify import Check

STREAM = "label,x,y\n" + "walk,0,0\n" * 5


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> ToySession:
    toy = ToySession(make_model({"length": 3, "hop": 2, "channels": 2}, (6,)))
    opened: list[tuple[Any, ...]] = []

    def fake_open(directory: Path, **options: object) -> ToySession:
        opened.append((directory, options))
        return toy

    monkeypatch.setattr(runtime, "open", fake_open)
    toy.opened = opened  # type: ignore[attr-defined]
    return toy


def raises(error: Exception) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise error

    return call


def test_every_promised_command_is_there(edgesnn: Command) -> None:
    words = edgesnn("--help").out.split()
    names = "demo train quantize export run adapt pull merge verify report boards bench"
    for name in names.split():
        assert name in words
        assert edgesnn(name, "--help").status == 0


def test_boards_lists_them_and_shows_one(edgesnn: Command) -> None:
    assert "mps2-an386" in edgesnn("boards").out
    shown = json.loads(edgesnn("boards", "mps2-an386").out)
    assert shown["ram"]["bytes"] == 4 * 1024 * 1024
    assert shown["ram"]["source"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("boards", "nope"),
        ("bench", "nope"),
        ("run", "no/such/folder"),
        ("adapt", "no/such/folder"),
        ("report", "no/such/folder"),
        ("train",),
        ("train", "no/such.toml"),
        ("train", "no-such-preset"),
        ("train", "--model", "mlp", "--data", "digits"),
        ("train", "--model", "transformer", "--data", "digits", "--rule", "sltt"),
        ("train", "--model", "mlp", "--data", "digits", "--rule", "sltt", "--sizes", "8,x"),
        ("train", "watch-empf", "--model", "mlp"),
        ("quantize", "no/such/run"),
        ("quantize", "no/such/run", "-o", "/dev/null"),
        ("train", "watch-empf", "-o", "/dev/null"),
        ("train", "watch-empf", "-o", "/proc/x"),
        ("train", "watch-empf", "--hop", "2"),
        ("train", "--resume", "-o", "no/such/run"),
        ("train", "--model", "mlp", "--data", "digits", "--rule", "sltt", "--rate", "50"),
        ("train", "--model", "mlp", "--data", "x.csv", "--rule", "sltt", "--rate", "0"),
        ("train", "--epochs", "0"),
        ("train", "--no-such-option"),
        ("train", "a.toml", "b.toml"),
        ("export",),
        ("export", "run", "-o", "/dev/null"),
        ("no-such-command",),
        ("adapt", "model", "--save-every", "5"),
        ("run", "model", "--board", "mps2-an386"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(edgesnn: Command, arguments: tuple[str, ...]) -> None:
    outcome = edgesnn(*arguments)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert outcome.err.startswith("edgesnn: ")
    assert "Traceback" not in outcome.err


def test_version(edgesnn: Command) -> None:
    outcome = edgesnn("--version")
    assert (outcome.status, outcome.out) == (0, f"edgesnn {__version__}\n")


def test_without_a_command_the_help_is_shown(edgesnn: Command) -> None:
    outcome = edgesnn()
    assert outcome.status == 0
    assert "quantize" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("adapt", "model", "--save-every", "5"), "add --state"),
        (("run", "model", "--board", "mps2-an386"), "add --backend board"),
        (("train", "watch-empf", "--leak", "0.9"), "leave out --leak"),
        (("train", "no-such-preset"), "mnist-empf, watch-empf, watch-sltt"),
        (("train", "--model", "mlp", "--data", "digits", "--rule", "dsr"), 'neuron = { kind = "lif" } in the [model]'),
    ],
)
def test_a_mistake_names_the_way_out(
    edgesnn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in edgesnn(*arguments).err


def test_a_command_to_copy_stays_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_line("next: " + "edgesnn [x] " * 30)
    assert capsys.readouterr().out.count("\n") == 1


def test_a_title_is_not_broken_by_a_narrow_table(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_figures({"x": 0.26818370819091797}, "validation accuracy")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines == [["validation", "accuracy"], ["figure", "value"], ["x", "0.2682"]]


def test_an_unknown_board_is_refused_before_anything_is_written(edgesnn: Command, tmp_path: Path) -> None:
    outcome = edgesnn("export", tmp_path, "-o", tmp_path / "out", "--format", "c", "--board", "foo")
    assert (outcome.status, "'foo'" in outcome.err) == (2, True)
    assert not (tmp_path / "out").exists()


def test_a_message_of_several_lines_becomes_one(edgesnn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "open", raises(EdgesnnError("graph:\n  bad  node\n")))
    assert edgesnn("run", "x").err == "edgesnn: graph: bad node\n"


def test_a_missing_optional_package_names_its_extra(edgesnn: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "open", raises(ModuleNotFoundError("no tvm", name="tvm.relax")))
    outcome = edgesnn("run", "x")
    assert outcome.status == 2
    assert outcome.err == "edgesnn: tvm: expected an installed package, got none; run `pip install 'edgesnn[tvm]'`\n"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError(), ModuleNotFoundError("x", name="edgesnn.gone"), ValueError("bug")]
)
def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(runtime, "open", raises(error))
    monkeypatch.setattr(sys, "argv", ["edgesnn", "run", "x"])
    with pytest.raises(type(error)):
        main()


def test_run_prints_one_json_object_a_decision(edgesnn: Command, session: ToySession, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(STREAM)
    outcome = edgesnn("run", "model", "--source", tmp_path / "s.csv", "--backend", "board", "--board", "mps2-an386")
    assert [json.loads(line)["step"] for line in outcome.out.splitlines()] == [0, 1]
    assert session.bias.tolist() == [0, 0, 0]
    assert session.opened == [(Path("model"), {"backend": "board", "board": "mps2-an386"})]  # type: ignore[attr-defined]


def test_run_reads_standard_input(edgesnn: Command, session: ToySession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf" + STREAM.encode())))
    outcome = edgesnn("run", "model")
    assert outcome.err == ""
    assert len(outcome.out.splitlines()) == 2
    assert session.opened == [(Path("model"), {"backend": "ort"})]  # type: ignore[attr-defined]


def test_adapt_learns_and_goes_on_from_its_state(edgesnn: Command, session: ToySession, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(STREAM)
    arguments = ("adapt", "model", "--source", tmp_path / "s.csv", "--state", tmp_path / "user.state")
    assert [json.loads(line)["accuracy"] for line in edgesnn(*arguments).out.splitlines()] == [0.0, 0.5]
    session.bias[:] = 0
    assert [json.loads(line)["accuracy"] for line in edgesnn(*arguments).out.splitlines()] == [1.0, 1.0]


def test_a_bad_row_ends_the_stream_after_its_decisions(edgesnn: Command, session: ToySession, tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(STREAM + "walk,far,0\n")
    outcome = edgesnn("run", "model", "--source", tmp_path / "s.csv")
    assert outcome.status == 2
    assert len(outcome.out.splitlines()) == 2
    assert "s.csv, line 7: expected a number" in outcome.err


def test_bench_lists_runs_and_writes(edgesnn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    entry = bench.Benchmark("toy", "a toy", (), lambda: bench.Measured({"answer": 42}))
    monkeypatch.setattr("edgesnn.bench.harness.REGISTRY", {"toy": entry})
    assert "a toy" in edgesnn("bench").out
    assert "42" in edgesnn("bench", "toy", "--json", tmp_path / "toy.json").out
    edgesnn("bench", "all", "--json", tmp_path / "all")
    for path in (tmp_path / "toy.json", tmp_path / "all" / "toy.json"):
        assert json.loads(path.read_text())["figures"] == {"answer": 42.0}


def test_report_prints_the_figures_and_writes_the_page(edgesnn: Command, tmp_path: Path) -> None:
    layer = '"flash_bytes": 1, "ram_bytes": 2, "macs": 3'
    layers = f'[{{"name": "a", {layer}}}, {{"name": "b", {layer}, "spike_rate": 0.26818370819091797}}]'
    size = '{"float32_bytes": 120000, "packed_bytes": 9200}'
    (tmp_path / "report.json").write_text(f'{{"size": {size}, "layers": {layers}}}')
    outcome = edgesnn("report", tmp_path)
    assert outcome.status == 0
    assert "120,000" in outcome.out
    shown = [line.split() for line in outcome.out.splitlines()]
    assert ["a", "1", "2", "3", "-"] in shown
    assert ["b", "1", "2", "3", "0.2682"] in shown
    assert "117.2 KiB" in (tmp_path / "report.html").read_text()


def test_a_plain_report_needs_neither_graphs_nor_training(
    edgesnn: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for package in ("edgesnn.report.collect", "onnxscript", "torch"):
        monkeypatch.setitem(sys.modules, package, None)
    (tmp_path / "report.json").write_text('{"size": {"float32_bytes": 120000, "packed_bytes": 9200}}')
    outcome = edgesnn("report", tmp_path)
    assert (outcome.status, outcome.err) == (0, "")
    assert "9,200" in outcome.out


@pytest.mark.parametrize(("difference", "status"), [(None, 0), ("step 3: y[0]: expected 1, got 2", 1)])
def test_verify_says_what_was_not_run(
    edgesnn: Command, monkeypatch: pytest.MonkeyPatch, difference: str | None, status: int
) -> None:
    checks = [Check("ort", "step", 600, difference), Check("board", "all", 0, None, "no emulator")]
    monkeypatch.setattr("edgesnn.runtime.verify.verify", lambda *_, **__: checks)
    outcome = edgesnn("verify", "model")
    assert outcome.status == status
    assert "not run: no emulator" in outcome.out
    assert "not run on this machine: board" in outcome.out
