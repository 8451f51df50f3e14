"""What a device learned, back in Python: the integers of the next export are those of the device."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from quantized import network, sample

import edgesnn as es
from edgesnn import export, runtime
from edgesnn.errors import ExportError, StateError
from edgesnn.runtime.class_means import learned_means, means_readout, read_learner
from edgesnn.runtime.guard import overruled
from edgesnn.runtime.model import Array, Model

SCOPES = ("means", "readout")


def exported(net: es.models.Network, folder: Path, learn: str | None) -> Model:
    return export.onnx(net, folder, window=3, learn=learn, name="digits")


def device(model: Model, shift: int = 3) -> tuple[bytes, Array]:
    """A device that was told that every digit is another one, and its decisions by what it learned, on more digits."""
    _, frames = sample(model, 60)
    data = es.data.digits()
    _, labels = next(iter(data.evaluation_batches("test")))
    with runtime.open(model.path) as session:
        for n in range(30):
            session.reset()
            for frame in frames[:, n]:
                session.step(frame)
            session.learn((int(labels[0, n]) + shift) % 10)
        snapshot = session.snapshot()
        if model.learn is not None and model.learn.scope == "means":
            session.restore(overruled(model, snapshot))
        return snapshot, decisions(session, frames[:, 30:])


def decisions(session: runtime.Session, frames: Array) -> Array:
    found = []
    for n in range(frames.shape[1]):
        session.reset()
        found.append([session.step(frame) for frame in frames[:, n]])
    return np.array(found)


@cache
def learned(tmp: Path, scope: str) -> tuple[Model, bytes, Array]:
    model = exported(network("empf"), tmp / scope, scope)
    return model, *device(model)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pull")


@pytest.mark.parametrize("scope", SCOPES)
def test_the_factory_of_the_next_export_decides_as_the_device_learned(root: Path, tmp_path: Path, scope: str) -> None:
    model, snapshot, expected = learned(root, scope)
    before = {name: value.clone() for name, value in network("empf").state_dict().items()}
    pulled = es.pull(network("empf"), model, snapshot)
    again = exported(pulled, tmp_path, scope)
    found = model.unpack(snapshot)
    for tensor in model.tensors:
        if tensor.kind == "param":
            np.testing.assert_array_equal(again.factory[tensor.name], found[tensor.name])
            assert (again.factory[tensor.name] != model.factory[tensor.name]).any()
    _, frames = sample(again, 60)
    with runtime.open(again.path) as session:
        np.testing.assert_array_equal(decisions(session, frames[:, 30:]), expected)
    assert all(torch.equal(value, before[name]) for name, value in network("empf").state_dict().items())
    assert "learned" not in network("empf").config["quantization"]


def test_means_far_from_those_of_the_factory_keep_their_shift(root: Path, tmp_path: Path) -> None:
    """With scores a third as large, export would choose a finer shift, and other weights."""
    model, _, _ = learned(root, "means")
    learner = read_learner(model)
    count = np.full(len(learner.factory_mean), learner.most - 1)
    total = count[:, None] * (learner.factory_mean // 3)
    mean = learned_means(learner.factory_mean, total, count, learner.prior)
    weight, bias = means_readout(mean, learner.metric, learner.shift, learner.bias_limit)
    changed = {"means.sum": total, "means.count": count, "means.weight": weight, "means.bias": bias}
    again = exported(es.pull(network("empf"), model, model.pack(model.factory | changed)), tmp_path, "means")
    np.testing.assert_array_equal(again.factory["means.weight"], weight)
    np.testing.assert_array_equal(again.factory["means.bias"], bias)
    assert read_learner(again).shift == learner.shift


@pytest.mark.parametrize("scope", SCOPES)
def test_what_was_pulled_can_learn_and_be_pulled_again(root: Path, tmp_path: Path, scope: str) -> None:
    model, snapshot, _ = learned(root, scope)
    pulled = es.pull(network("empf"), model, snapshot)
    second = exported(pulled, tmp_path / "second", scope)
    state, _ = device(second, shift=5)
    third = exported(es.pull(pulled, second, state), tmp_path / "third", scope)
    found = second.unpack(state)
    for tensor in second.tensors:
        if tensor.kind == "param":
            np.testing.assert_array_equal(third.factory[tensor.name], found[tensor.name])


@pytest.mark.parametrize("scope", SCOPES)
def test_a_state_that_learned_nothing_changes_no_integer(root: Path, tmp_path: Path, scope: str) -> None:
    model, _, _ = learned(root, scope)
    again = exported(es.pull(network("empf"), model, model.pack(model.factory)), tmp_path, scope)
    assert again.source_hash == model.source_hash


def test_the_learning_rate_of_the_export_does_not_matter(tmp_path: Path) -> None:
    """The weights of this readout are so large that no step of the usual rate reaches one unit."""
    large = copy.deepcopy(network("empf"))
    with torch.no_grad():
        large.readout.weight.mul_(2**7)
    with pytest.raises(ExportError, match="expected a learning rate from"):
        export.onnx(large, tmp_path, learn="readout", learning_rate=3e-4)
    model = export.onnx(large, tmp_path, window=3, learn="readout", name="digits", learning_rate=3.0)
    changed = {"readout.weight": model.factory["readout.weight"][::-1]}
    pulled = es.pull(large, model, model.pack(model.factory | changed))
    again = export.onnx(pulled, tmp_path, window=3, learn="readout", name="digits", learning_rate=3.0)
    np.testing.assert_array_equal(again.factory["readout.weight"], changed["readout.weight"])


def test_another_network_is_refused(root: Path) -> None:
    model, snapshot, _ = learned(root, "means")
    with pytest.raises(ExportError, match=r"exported from this network, [0-9a-f]{16}, got [0-9a-f]{16};"):
        es.pull(network("lif"), model, snapshot)


def test_a_snapshot_of_another_model_is_refused(root: Path) -> None:
    model, snapshot, _ = learned(root, "means")
    with pytest.raises(StateError, match="belongs to another model"):
        es.pull(network("empf"), model, snapshot[:-4])


def test_a_model_that_does_not_learn_is_refused(tmp_path: Path) -> None:
    model = exported(network("empf"), tmp_path, None)
    with pytest.raises(ExportError, match="expected a model that learns means or readout, got one that learns nothing"):
        es.pull(network("empf"), model, model.pack(model.factory))
