"""The commands in a row, as a user types them: train, quantize, export, verify, run, adapt."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from command_line import Command

from edgesnn import data
from edgesnn.cli import main
from edgesnn.runtime import ort


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network on 8x8 digits, by the commands alone."""
    root = tmp_path_factory.mktemp("road")
    flags = ("--model", "mlp", "--data", "digits", "--rule", "sltt:1", "--sizes", "24", "--epochs", "2")
    with pytest.MonkeyPatch.context() as patch:
        for arguments in (
            ("train", *flags, "-o", root / "run"),
            ("quantize", root / "run", "--weights", "1", "--spikes", "4"),
            ("export", root / "run-quantized", "-o", root / "model"),
        ):
            patch.setattr(sys, "argv", ["edgesnn", *map(str, arguments)])
            with pytest.raises(SystemExit) as ended:
                main()
            assert not ended.value.code
    return root / "model"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty labelled test images as a CSV stream."""
    test = data.load("digits").test
    path = tmp_path_factory.mktemp("stream") / "images.csv"
    rows = np.column_stack([test.values.reshape(len(test.values), -1), test.labels])[:20]
    header = [*(f"p{at}" for at in range(rows.shape[1] - 1)), "label"]
    path.write_text("\n".join([",".join(header), *(",".join(f"{v:g}" for v in row) for row in rows)]) + "\n")
    return path


def test_the_exported_model_knows_how_it_was_trained_and_decides_well(
    edgesnn: Command, model: Path, images: Path
) -> None:
    metadata = {entry.key: entry.value for entry in onnx.load(model / "step.onnx").metadata_props}
    assert metadata["edgesnn.rule"] == "sltt:1"
    last = json.loads(edgesnn("run", model, "--source", images).out.splitlines()[-1])
    assert last["step"] == 19
    assert last["accuracy"] >= 0.7


def test_a_report_compares_the_integers_with_the_run(edgesnn: Command, model: Path) -> None:
    shown = edgesnn("report", model, "--quantization").out
    assert "relative_error" in shown
    assert "no integer can overflow" in shown
    content = json.loads((model / "report.json").read_text())
    assert [layer["name"] for layer in content["quantization"]["weights"]] == ["linear1", "readout"]
    (spikes,) = content["quantization"]["spikes"]
    assert spikes["name"] == "neuron1"
    assert spikes["different"] < 0.05
    assert spikes["rate"] == pytest.approx(spikes["rate_brevitas"], abs=0.02)
    assert content["proof"][0]["node"] == "linear1.synapse"


def test_a_setting_of_quantization_that_nothing_reads_is_refused(edgesnn: Command, model: Path, tmp_path: Path) -> None:
    run = model.parent / "run"
    for path in run.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with (tmp_path / "config.toml").open("a") as config:
        config.write("\n[quantization]\nwieghts = 1\n")
    outcome = edgesnn("quantize", tmp_path)
    assert outcome.status == 2
    assert "wieghts" in outcome.err


def test_a_stream_of_ones_own_is_judged_as_a_stream(edgesnn: Command, tmp_path: Path) -> None:
    rows = [f"{np.sin(i / (2 + 5 * label)):.3f},{label}" for label in (0, 1) * 3 for i in range(120)]
    (tmp_path / "s.csv").write_text("\n".join(["a,label", *rows]) + "\n")
    flags = ("--model", "mlp", "--data", tmp_path / "s.csv", "--rule", "sltt:1", "--sizes", "8", "--epochs", "1")
    trained = edgesnn("train", *flags, "--rate", "25", "--frame", "8", "--hop", "2", "-o", tmp_path / "run")
    assert trained.err.count("Traceback") == 0
    assert "never reset, a new label every 24 rows" in trained.out
    assert edgesnn("train", "--resume", "-o", tmp_path / "run").status == 0
    assert "never reset, a new label every 24 rows" in edgesnn("quantize", tmp_path / "run").out
    edgesnn("export", tmp_path / "run-quantized", "-o", tmp_path / "model")
    first = json.loads(edgesnn("run", tmp_path / "model", "--source", tmp_path / "s.csv").out.splitlines()[0])
    assert first["seconds"] == 7 / 25


def test_short_recordings_need_fewer_steps(edgesnn: Command, tmp_path: Path) -> None:
    rows = [f"{i % (3 + 4 * label)},{label}" for label in (0, 1) * 3 for i in range(80)]
    (tmp_path / "s.csv").write_text("\n".join(["a,label", *rows]) + "\n")
    flags = ("--model", "mlp", "--data", tmp_path / "s.csv", "--rule", "sltt:1", "--sizes", "8", "--epochs", "1")
    refused = edgesnn("train", *flags, "-o", tmp_path / "run")
    assert "use at most 9 (--steps)" in refused.err
    assert edgesnn("train", *flags, "--steps", "4", "-o", tmp_path / "run").status == 0
    assert edgesnn("quantize", tmp_path / "run").status == 0


def test_verify_finds_every_backend_equal(edgesnn: Command, model: Path) -> None:
    outcome = edgesnn("verify", model, "--backends", "ort")
    assert outcome.status == 0
    assert re.findall(r"ort +(step|learn|window) +\S+ +equal", outcome.out) == ["step", "learn", "window"]


def test_adapt_changes_what_the_model_says_and_keeps_it(
    edgesnn: Command, model: Path, images: Path, tmp_path: Path
) -> None:
    def logits(command: str, *flags: object) -> list[object]:
        out = edgesnn(command, model, "--source", images, *flags).out
        return [json.loads(line)["logits"] for line in out.splitlines()]

    fixed = logits("run")
    first = logits("adapt", "--state", tmp_path / "user.state")
    second = logits("adapt", "--state", tmp_path / "user.state")
    assert first[0] == fixed[0]
    assert first[1:] != fixed[1:]
    assert second[0] != fixed[0]
    assert logits("run") == fixed


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[: len(raw) // 2], lambda raw: b"", lambda raw: raw[:-40] + b"x" * 40]
)
def test_a_damaged_graph_is_refused_in_one_line(
    edgesnn: Command, model: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    (tmp_path / "step.onnx").write_bytes(damage((model / "step.onnx").read_bytes()))
    outcome = edgesnn("run", tmp_path)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "step.onnx" in outcome.err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("run", "{model}", "--backend", "fpga"), "expected one of reference, ort"),
        (("run", "{model}", "--backend", "tvm", "--source", "{images}"), "tvm"),
        (("verify", "{model}", "--backends", "ort,fpga"), "got fpga"),
        (("adapt", "{model}", "--source", "{images}", "--state", "{images}"), "expected a"),
        (("export", "{model}/../run", "-o", "{model}/../x"), "expected a quantized network"),
        (("export", "{model}/../run-quantized", "-o", "{model}/../x", "--format", "c", "--board", "z80"), "'z80'"),
        (("export", "{model}/../run-quantized", "-o", "{model}/../x", "--board", "host"), "expected --format c or tvm"),
        (("export", "{model}/../run-quantized", "-o", "{model}/../x", "--format", "tvm", "--board", "z80"), "'z80'"),
        (("quantize", "{model}/../run", "--weights", "3"), "weights"),
        (("run", "{model}", "--source", "{model}/step.onnx"), "line 1: expected"),
    ],
)
def test_a_mistake_on_the_road_is_one_line(
    edgesnn: Command, model: Path, images: Path, arguments: tuple[str, ...], text: str
) -> None:
    outcome = edgesnn(*(part.format(model=model, images=images) for part in arguments))
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert text in outcome.err


def test_libraries_are_compiled_for_the_board_that_is_named(edgesnn: Command, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("tvm", reason="needs apache-tvm")
    pytest.importorskip("ziglang", reason="needs ziglang")
    outcome = edgesnn(
        "export", model.parent / "run-quantized", "-o", tmp_path, "--format", "tvm", "--board", "raspberry-pi-4"
    )
    assert outcome.status == 0, outcome.err
    machine = (tmp_path / "tvm" / "step.so").read_bytes()[18:20]
    assert machine == b"\xb7\x00"  # AArch64, in the header of ELF
    outcome = edgesnn("verify", tmp_path, "--backends", "tvm")
    assert "got one for raspberry-pi-4" in " ".join((outcome.out + outcome.err).split())
    assert outcome.status


def test_verify_ends_with_status_1_and_says_where_a_backend_differs(
    edgesnn: Command, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = ort.create_session

    def one_bit_wrong(serialized: bytes, threads: int = 1) -> object:
        proto = onnx.load_model_from_string(serialized)
        if proto.graph.name == "step":
            weights = next(init for init in proto.graph.initializer if init.name == "linear1.weight")
            weights.raw_data = bytes([weights.raw_data[0] ^ 64]) + weights.raw_data[1:]
        return create(proto.SerializeToString(), threads)

    monkeypatch.setattr(ort, "create_session", one_bit_wrong)
    outcome = edgesnn("verify", model, "--backends", "ort")
    assert outcome.status == 1
    assert outcome.err == ""
    assert re.search(r"ort +step +\S+ +step \d+: \S+\[\d+.*\]: expected +-?\d+, +got", outcome.out)
