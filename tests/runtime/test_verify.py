"""`verify`: equal where it should be, and one changed number found, by tensor, step and index."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import onnx
import pytest
from random_models import RandomModel, Shape

from edgesnn.errors import BackendError, EdgesnnError, ModelError
from edgesnn.export.c_package import c
from edgesnn.export.window import window
from edgesnn.runtime import build, native, ort
from edgesnn.runtime.model import Model
from edgesnn.runtime.native import NativeSession
from edgesnn.runtime.ort import OrtSession
from edgesnn.runtime.reference import ReferenceSession
from edgesnn.runtime.vectors import random_stream
from edgesnn.runtime.verify import Check, available, verify

STEPS = 24  # of each stream, where the default would only take longer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A network in which every layer is active, with per-step parameters: a window is four steps."""
    path = tmp_path_factory.mktemp("model")
    RandomModel(Shape((6,), hidden=(("BinaryLinear", 5), ("Linear", 4)), steps=4), seed=9).write(path)
    c(path)
    return path


def differences(checks: list[Check], vectors: bool = False) -> dict[str, str]:
    """What differs in the random streams, or in the stored test vectors."""
    return {
        f"{check.backend} {check.graph}": check.difference
        for check in checks
        if check.difference and vectors == (check.graph == "vectors")
    }


def changed(serialized: bytes, graph: str, tensor: str, index: int, bit: int) -> bytes:
    """A graph with one bit of an initializer flipped."""
    proto = onnx.load_model_from_string(serialized)
    if proto.graph.name == graph:
        values = next(init for init in proto.graph.initializer if init.name == tensor)
        raw = bytearray(values.raw_data)
        raw[index] ^= 1 << bit
        values.raw_data = bytes(raw)
    return proto.SerializeToString()


@pytest.fixture
def flip(monkeypatch):
    """Flip a bit of a graph that ONNX Runtime is given; the files stay as they are."""
    create = ort.create_session

    def patch(graph, tensor, index, bit=0):
        monkeypatch.setattr(
            ort, "create_session", lambda raw, threads=1: create(changed(raw, graph, tensor, index, bit), threads)
        )

    return patch


def first_difference(right, wrong, seed):
    """Step, tensor and index at which two sessions differ first, found without `verify`."""
    frames, labels = random_stream(right.model, STEPS, seed)
    for t, (frame, label) in enumerate(zip(frames, labels, strict=True)):
        values = {"y": (right.step(frame), wrong.step(frame))}
        left, other = right.tensors(), wrong.tensors()
        values |= {name: (left[name], other[name]) for name in left}
        for name, (expected, got) in values.items():
            for index in np.ndindex(expected.shape):
                if expected[index] != got[index]:
                    return t, name, list(index), int(expected[index]), int(got[index])
        if label >= 0:
            right.learn(int(label))
            wrong.learn(int(label))
    return None


def test_a_healthy_folder_is_equal_over_hundreds_of_steps(folder):
    checks = {(check.backend, check.graph): check for check in verify(folder, ["reference", "ort", "native"])}
    assert set(checks) == {
        ("reference", "window"), ("ort", "step"), ("ort", "learn"), ("ort", "window"), ("native", "step"),
        ("native", "learn"), ("reference", "vectors"), ("ort", "vectors"), ("native", "vectors"),
    }  # fmt: skip
    least = {"learn": 200, "vectors": 32}
    for (_, graph), check in checks.items():
        assert check.equal
        assert check.difference is None
        assert check.compared >= least.get(graph, 500)


def test_fewer_steps_than_a_window_still_compare_one_window_a_stream(folder):
    checks = {(check.backend, check.graph): check for check in verify(folder, ["reference", "ort"], steps=1)}
    steps = Model.load(folder).time_steps
    assert steps > 1
    for key in (("reference", "window"), ("ort", "window"), ("ort", "step")):
        assert checks[key].compared == 2 * steps


@pytest.mark.parametrize(
    ("tensor", "index", "bit"),
    [
        ("fc0.weight", 3, 2), ("fc1.weight", 7, 0), ("fc0.M", 9, 4), ("fc1.b", 4, 5), ("n_fc0.theta", 0, 7),
        ("n_fc1.lam", 13, 5), ("readout.leak", 1, 0),
    ],
)  # fmt: skip
def test_one_flipped_bit_of_a_step_is_found_and_located(folder, flip, tensor, index, bit):
    flip("step", tensor, index, bit)
    model = Model.load(folder)
    expected = {}
    for seed in (2, 1):  # the first stream is reported, if it differs there
        found = first_difference(ReferenceSession(model), OrtSession(model), seed)
        if found:
            step, name, at, right, wrong = found
            expected = {"ort step": f"step {step}: {name}{at}: expected {right}, got {wrong} ("}
    assert expected
    found = differences(verify(folder, ["ort"], steps=STEPS))
    assert found.keys() == expected.keys()
    assert found["ort step"].startswith(expected["ort step"])


def test_the_row_of_a_flipped_weight_is_the_index_of_the_difference(folder, flip):
    """fc1.weight is [4, 5]: byte 12 belongs to neuron 2, whose membrane differs before anything else does."""
    flip("step", "fc1.weight", 12, 6)
    found = differences(verify(folder, ["ort"], steps=STEPS))
    assert re.match(r"step \d+: n_fc1\.v\[0, 2\]: expected -?\d+, got -?\d+ \(1 of 4 differ\)$", found["ort step"])


def test_one_flipped_bit_of_a_window_is_found_there_alone(folder, flip):
    flip("window", "fc0.M", 9, 6)
    found = differences(verify(folder, ["ort"], steps=STEPS))
    assert found.keys() == {"ort window"}
    assert re.match(r"window at step \d+: \S.*: expected -?\d+, got -?\d+", found["ort window"])


def test_a_window_of_the_reference_is_compared_with_its_steps(folder, monkeypatch):
    run = ReferenceSession._run
    monkeypatch.setattr(
        ReferenceSession,
        "_run",
        lambda self, graph, feeds: {
            name: value + (graph == "window" and name == "y") for name, value in run(self, graph, feeds).items()
        },
    )
    found = differences(verify(folder, ["reference"], steps=STEPS))
    assert found.keys() == {"reference window"}
    assert found["reference window"].startswith("window at step 0: y[0, 0]: expected ")
    assert found["reference window"].endswith("(12 of 12 differ)")


@pytest.mark.parametrize(("steps", "held"), [(None, False), (None, True), (4, True)])
def test_windows_of_every_form_are_compared_where_they_begin(folder, tmp_path, flip, steps, held):
    """Of any number of steps: as many as the model has, one, and three more, each from where the stream is."""
    shutil.copytree(folder, tmp_path / "m", ignore=shutil.ignore_patterns(".build", "c"))
    onnx.save_model(window(Model.load(tmp_path / "m").step, steps, held=held), tmp_path / "m" / "window.onnx")
    checks = {check.backend: check for check in verify(tmp_path / "m", steps=STEPS) if check.graph == "window"}
    sizes = (4, 1, 7, 4, 1, 7) if steps is None else (4,) * 6
    assert all(check.equal and check.compared == 2 * sum(sizes) for check in checks.values())
    assert checks.keys() == {"reference", "ort"}
    flip("window", "fc0.M", 9, 6)
    found = differences(verify(tmp_path / "m", ["ort"], steps=STEPS))
    assert found.keys() == {"ort window"}
    assert re.match(r"window at step \d+: \S.*: expected -?\d+, got -?\d+", found["ort window"])


def test_one_changed_learning_constant_is_found_by_the_learning_check(folder, flip):
    flip("learn", "readout.learn_M", 2, 0)
    found = differences(verify(folder, ["ort"], steps=STEPS))
    assert found.keys() == {"ort learn"}
    assert re.match(r"step \d+: readout\.(weight|bias)\[", found["ort learn"])


def test_a_learner_that_draws_other_numbers_is_found(folder, monkeypatch):
    create = ort.create_session

    def reseeded(raw, threads=1):
        proto = onnx.load_model_from_string(raw)
        for node in proto.graph.node:
            for attribute in node.attribute:
                attribute.i ^= attribute.name == "seed"
        return create(proto.SerializeToString(), threads)

    monkeypatch.setattr(ort, "create_session", reseeded)
    assert differences(verify(folder, ["ort"], steps=STEPS)).keys() == {"ort learn"}


def test_what_was_compared_ends_at_the_difference(folder, flip):
    flip("step", "readout.leak", 1, 4)
    step, learn, window, _ = verify(folder, ["ort"], steps=STEPS)
    at = int(re.match(r"step (\d+):", step.difference).group(1))
    assert step.compared < 2 * STEPS
    assert at < step.compared
    assert learn.compared <= step.compared
    assert window.compared == 2 * STEPS


@pytest.mark.parametrize(("array", "check"), [("fc1_weight", "native step"), ("readout_learn_M", "native learn")])
def test_one_changed_number_in_the_generated_c_is_found(folder, tmp_path, array, check):
    shutil.copytree(folder, tmp_path / "m", ignore=shutil.ignore_patterns(".build"))
    source = tmp_path / "m" / "c" / "src" / "rand.c"
    text = source.read_text()
    place = re.search(rf"{array}\[[^{{]*{{\s*(-?\d+)", text)
    source.write_text(text[: place.start(1)] + str(int(place[1]) ^ 64) + text[place.end(1) :])
    assert differences(verify(tmp_path / "m", ["native"], steps=STEPS)).keys() == {check}


def test_stored_vectors_are_replayed_on_every_backend(folder, tmp_path):
    """One integer of the file is changed: every backend, the reference too, gives another."""
    shutil.copytree(folder, tmp_path / "m", ignore=shutil.ignore_patterns(".build"))
    path = tmp_path / "m" / "vectors.json"
    content = json.loads(path.read_text())
    content["y"]["data"][5] += 1  # step 1, class 2 of three
    path.write_text(json.dumps(content))
    found = differences(verify(tmp_path / "m", ["reference", "ort", "native"], steps=2), vectors=True)
    assert found.keys() == {"reference vectors", "ort vectors", "native vectors"}
    assert all(re.match(r"step 1: y\[2\]: expected -?\d+, got -?\d+", text) for text in found.values())


def test_stored_states_are_compared_after_the_last_step(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "m", ignore=shutil.ignore_patterns(".build"))
    path = tmp_path / "m" / "vectors.json"
    content = json.loads(path.read_text())
    content["tensors"]["readout.bias"]["data"][1] += 1
    path.write_text(json.dumps(content))
    found = differences(verify(tmp_path / "m", ["ort"], steps=2), vectors=True)
    assert found["ort vectors"].startswith("after the last step: readout.bias[1]: expected ")


def test_every_tensor_of_a_snapshot_is_compared(folder, monkeypatch):
    """A backend that computes right and keeps one tensor wrong."""
    snapshot = NativeSession._snapshot
    for tensor in Model.load(folder).tensors:

        def wrong(self, at=tensor.offset):
            raw = bytearray(snapshot(self))
            raw[at] ^= 1
            return bytes(raw)

        monkeypatch.setattr(NativeSession, "_snapshot", wrong)
        found = differences(verify(folder, ["native"], steps=2))
        assert re.match(rf"step 0: {re.escape(tensor.name)}\[0", found["native step"])


def test_a_model_without_learning_has_no_learning_check(tmp_path):
    RandomModel(Shape((4,), hidden=(("BinaryLinear", 3),), learn=False), seed=2).write(tmp_path, vectors=False)
    checks = verify(tmp_path, ["ort"], steps=5)
    assert [(check.graph, check.compared, check.equal) for check in checks] == [
        ("step", 10, True),
        ("window", 10, True),
    ]


def test_a_board_beside_backends_without_it_is_refused(folder):
    with pytest.raises(BackendError, match=r"expected the backend board among ort for 'mps2-an386', got none; add it"):
        verify(folder, ["ort"], board="mps2-an386")


def test_backends_are_those_whose_files_are_there(folder, tmp_path):
    assert available(Model.load(folder)) == ["reference", "ort", "native"]
    RandomModel(Shape((4,), hidden=(("BinaryLinear", 3),)), seed=2).write(tmp_path, vectors=False)
    assert available(Model.load(tmp_path)) == ["reference", "ort"]
    (tmp_path / "tvm").mkdir()
    assert available(Model.load(tmp_path)) == ["reference", "ort", "tvm"]
    (tmp_path / "tvm").rmdir()
    assert available(Model.load(folder), "nucleo-f446re") == ["reference", "ort", "native", "board"]
    assert available(Model.load(folder), "host") == ["reference", "ort", "native"]
    assert {check.backend for check in verify(tmp_path, steps=3)} == {"reference", "ort"}


@pytest.mark.parametrize(
    ("backends", "kind", "words"),
    [
        (["ort", "fpga"], BackendError, "expected some of reference, ort, tvm, native, board, got fpga"),
        ([""], BackendError, "backends: expected some of"),
        (["tvm"], ModelError, "--format tvm"),
    ],
)
def test_a_backend_that_is_not_there_is_one_line(folder, backends, kind, words):
    with pytest.raises(EdgesnnError) as error:
        verify(folder, backends, steps=1)
    assert type(error.value) is kind
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_none_is_one_line(tmp_path):
    with pytest.raises(ModelError, match=r"step\.onnx"):
        verify(tmp_path)


def test_a_backend_that_cannot_run_here_is_told_and_the_others_still_run(folder, monkeypatch):
    monkeypatch.setattr(build, "find_compiler", cannot)
    checks = {check.backend: check for check in verify(folder, steps=8)}
    assert checks.keys() == {"reference", "ort", "native"}
    assert checks["native"] == Check("native", "all", 0, None, "C compiler: expected one, found none; install one")
    assert not checks["native"].equal
    assert checks["ort"].equal
    assert checks["ort"].compared > 0


def test_a_named_backend_that_cannot_run_here_is_refused(folder, monkeypatch):
    monkeypatch.setattr(native, "shared_library", cannot)
    with pytest.raises(BackendError, match="C compiler"):
        verify(folder, ["ort", "native"], steps=1)


def test_c_that_does_not_compile_is_an_error_and_not_left_out(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "m", ignore=shutil.ignore_patterns("build"))
    (tmp_path / "m" / "c" / "src" / "rand.c").write_text("int broken(")
    with pytest.raises(BackendError, match="to compile"):
        verify(tmp_path / "m", steps=1)


def cannot(*_, **__):
    raise BackendError("C compiler: expected one, found none; install one")
