"""The report of an exported folder, and what stays of an earlier one."""

from __future__ import annotations

import json
from collections import Counter
from types import SimpleNamespace

import pytest
from random_models import RandomModel, Shape
from tiny_data import stream

import edgesnn as es
from edgesnn import export
from edgesnn import report as reports
from edgesnn.errors import BackendError, ConfigError, ModelError
from edgesnn.export.c_package import c
from edgesnn.export.c_plan import program
from edgesnn.report import collect as module
from edgesnn.report.collect import collect
from edgesnn.runtime import Model
from edgesnn.runtime.prediction import Prediction
from edgesnn.runtime.profile import Profile

USE = {"flash_bytes": 9000, "ram_bytes": 900, "arena_bytes": 300, "stack_bytes": 120}
TOLD = {
    "id": "mps2-an386",
    "flash_bytes": 8990,
    "ram_bytes": 900,
    "stack_bytes": 200,
    "call_stack_bytes": {"esnn_step": 90},
}


@pytest.fixture
def folder(tmp_path):
    RandomModel(Shape((6,), hidden=(("BinaryLinear", 5),)), seed=4).write(tmp_path, vectors=False)
    return tmp_path


@pytest.fixture
def measured(folder, monkeypatch):
    """A board whose every layer takes 70 instructions."""
    names = [layer.name for layer in collect(folder).layers]
    work = SimpleNamespace(by_layer=(70.0,) * len(names), instructions_per_step=321.0, instructions_per_learn=123.0)
    monkeypatch.setattr(module, "written_files", lambda package: [])
    monkeypatch.setattr(module, "_prediction", lambda planned, board, packaged: TOLD)
    monkeypatch.setattr(module, "measure", lambda planned, board, frames=None: work)
    monkeypatch.setattr(module, "firmware_use", lambda model, board: USE)


def test_the_provenance_is_of_this_model_machine_and_version(folder):
    found = collect(folder).provenance
    assert found.source_hash == Model.load(folder).source_hash
    assert found.command == "edgesnn report DIR"
    assert found.machine.cores >= 1
    assert found.version
    assert {"python", "numpy", "onnx"} <= found.packages.keys()
    assert "edgesnn" not in found.packages
    assert (found.board, found.seed, found.quick) == (None, None, False)
    assert found.date.endswith("+00:00")


def test_what_a_board_was_measured_for_stays_in_a_report_without_one(folder, measured):
    first = collect(folder, "mps2-an386")
    reports.write(first, folder)
    assert first.provenance.command == "edgesnn report DIR --board mps2-an386"
    second = collect(folder)
    assert second == first
    assert second.board.instructions_per_step == 321
    assert [layer.instructions for layer in second.layers] == [70] * len(first.layers)


def test_a_new_measurement_replaces_the_old_one_and_keeps_the_rest(folder, measured):
    reports.write(collect(folder, "mps2-an386"), folder)
    path = folder / "report.json"
    data = json.loads(path.read_text()) | {"training": {"seconds": 1.5, "rule": "SLTT", "time_steps": 4}}
    data["layers"][0] |= {"spike_rate": 0.25, "instructions": 1}
    path.write_text(json.dumps(data))
    found = collect(folder, "mps2-an500")
    assert (found.board.id, found.provenance.board) == ("mps2-an500", "mps2-an500")
    assert found.training.seconds == 1.5
    assert (found.layers[0].spike_rate, found.layers[0].instructions) == (0.25, 70)


@pytest.mark.parametrize("damage", ["other model", "no provenance", "not JSON"])
def test_a_report_of_another_model_is_not_believed(folder, measured, damage):
    reports.write(collect(folder, "mps2-an386"), folder)
    path = folder / "report.json"
    data = json.loads(path.read_text())
    if damage == "other model":
        data["provenance"]["source_hash"] = "0" * 64
    else:
        del data["provenance"]
    path.write_text("{" if damage == "not JSON" else json.dumps(data))
    found = collect(folder)
    assert found.board is None
    assert all(layer.instructions is None for layer in found.layers)


def test_without_a_package_a_board_is_told_but_nothing_is_run(folder, monkeypatch):
    """The sources are made for the prediction alone, and the folder stays as it was."""
    RandomModel(Shape((6,), hidden=(("BinaryLinear", 5),)), seed=4).write(folder)
    seen = []

    def predict(package, board):
        seen.append((board.id, (package / "src" / "rand.c").is_file(), (package / "src" / "esnn" / "esnn.h").is_file()))
        return Prediction(8990, 900, 200, {"esnn_step": 90})

    monkeypatch.setattr(module, "predict", predict)
    monkeypatch.setattr(module, "check_packages", lambda: None)
    found = collect(folder, "nucleo-f446re")
    assert seen == [("nucleo-f446re", True, True)]
    assert (found.prediction.id, found.prediction.flash_bytes, found.board) == ("nucleo-f446re", 8990, None)
    assert (found.prediction.board_flash_bytes, found.prediction.board_ram_bytes) == (524_288, 131_072)
    assert found.prediction.overflow is None
    assert not (folder / "c").exists()


def test_of_a_package_without_a_compiler_only_an_asked_for_prediction_is_an_error(folder, monkeypatch):
    RandomModel(Shape((6,), hidden=(("BinaryLinear", 5),)), seed=4).write(folder)
    c(folder, board="mps2-an386")

    def missing():
        raise BackendError("firmware: expected ziglang, found none; pip install edgesnn[mcu]")

    monkeypatch.setattr(module, "check_packages", missing)
    assert collect(folder).prediction is None
    with pytest.raises(BackendError, match="ziglang"):
        collect(folder, "mps2-an386")


@pytest.mark.parametrize(("board", "said"), [(None, "got no board"), ("host", "got no C package")])
def test_work_needs_a_board_and_a_package(folder, board, said):
    with pytest.raises(ConfigError, match=said) as caught:
        collect(folder, board, work=True)
    assert "\n" not in str(caught.value)


def test_a_source_without_work_is_refused(folder):
    with pytest.raises(ConfigError, match="expected it with --profile"):
        collect(folder, source="rows.csv")


def test_every_node_is_proven_to_keep_its_range(folder):
    bounds = {bound.node: bound for bound in collect(folder).proof}
    synapse = bounds["fc0.synapse"]
    assert (synapse.function, synapse.low, synapse.high, synapse.limit) == ("BinaryLinear", -768, 768, 2**31 - 1)
    assert (synapse.used_bits, synapse.allowed_bits) == (10, 31)
    assert all(-bound.limit <= bound.low <= bound.high <= bound.limit for bound in bounds.values())
    assert "No integer can overflow" in reports.write(collect(folder), folder).read_text()


def test_quantization_is_compared_with_the_run(folder, monkeypatch):
    found = {
        "frames": 64,
        "weights": [{"name": "fc0", "bits": 1, "relative_error": 0.4}],
        "spikes": [{"name": "n_fc0", "rate": 0.2, "rate_brevitas": 0.21, "saturated": 0.01, "different": 0.002,
                    "mean_difference": -0.001, "sqnr_db": None}],
    }  # fmt: skip
    monkeypatch.setattr(module, "quantization_error", lambda model, run: found)
    report = collect(folder, quantization=True, run=folder)
    assert report.quantization.model_dump() == found
    reports.write(report, folder)
    assert collect(folder).quantization == report.quantization
    page = reports.write(report, folder).read_text()
    assert "What quantization changes" in page
    assert "40.0 %" in page


def test_a_run_that_is_not_known_is_one_line(folder):
    with pytest.raises(ConfigError, match="expected a record of the run it was exported from"):
        collect(folder, quantization=True)


def test_layers_within_layers_are_counted_under_their_names(emulator, tmp_path):
    net = es.models.recurrent(8, 5, 3)
    export.onnx(es.quantize(net, calibrate=stream(), epochs=0), tmp_path)
    c(tmp_path, board=emulator)
    found = collect(tmp_path, emulator, work=True)
    counted = [(layer.name, layer.instructions) for layer in found.layers]
    assert "recurrent1.feedback.linear1" in dict(counted)
    assert all(instructions > 0 for _, instructions in counted)
    assert [(layer.name, layer.instructions) for layer in found.work.layers[:-1]] == counted


def test_a_package_of_another_version_is_one_line(folder, monkeypatch):
    counted = Profile("mps2-an386", 1, 0, (Counter(), Counter(), Counter()), Counter(), Counter())
    monkeypatch.setattr(module, "profile", lambda *arguments: counted)
    with pytest.raises(ModelError, match="expected 2 layers, as the graphs beside it have, got 3"):
        module.measure(program(Model.load(folder)), "mps2-an386")
