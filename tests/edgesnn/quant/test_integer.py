"""`evaluate_integer` counts what single sessions decide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_data
import torch

import edgesnn as es
from edgesnn import export
from edgesnn.data.dataset import Images, frames
from edgesnn.errors import DataError
from edgesnn.quant import integer
from edgesnn.quant.integer import evaluate_integer
from edgesnn.runtime.ort import OrtSession


@pytest.fixture(scope="module")
def data():
    return tiny_data.stream()


def exported(data, path, width=8):
    torch.set_num_threads(1)
    net = es.models.mlp(width, [12, 12], len(data.classes), es.EMPF(), leak=0.9)
    es.fit(net, data, epochs=15 if data.frame else 2, lr=2e-2, progress=False)
    return export.onnx(es.quantize(net, calibrate=data, epochs=1), path)


@pytest.fixture(scope="module")
def model(data, tmp_path_factory):
    return exported(data, tmp_path_factory.mktemp("model"))


def confusion(labels, decisions, classes):
    counts = np.zeros((classes, classes), int)
    for label, decision in zip(labels, decisions, strict=True):
        counts[label, decision] += 1
    return counts.tolist()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_each_recording_is_a_session_of_its_own(model, data, split):
    labels, decisions = [], []
    for recording in data.split(split):
        session = OrtSession(model)
        for frame in frames(recording.rows, data.frame):
            labels.append(recording.label)
            decisions.append(int(session.step(frame).argmax()))
    found = evaluate_integer(model, data, split)
    assert found.confusion.tolist() == confusion(labels, decisions, 3)
    assert found.accuracy > 0.6


def test_continuous_is_a_session_for_each_person(model, data):
    labels, decisions = [], []
    for person in (4, 5):
        session, mine = OrtSession(model), [r for r in data.test if r.person == person]
        rows = np.concatenate([recording.rows for recording in mine])
        of_row = np.concatenate([np.full(len(recording.rows), recording.label) for recording in mine])
        for i, frame in enumerate(frames(rows, data.frame)):
            labels.append(of_row[i * data.frame.hop + data.frame.length - 1])
            decisions.append(int(session.step(frame).argmax()))
    assert evaluate_integer(model, data, continuous=True).confusion.tolist() == confusion(labels, decisions, 3)


def test_an_image_is_shown_for_some_steps_and_decided_at_the_last(tmp_path):
    digits = es.data.digits()
    few = replace(digits, test=Images(digits.test.values[:30], digits.test.labels[:30]))
    model = exported(few, tmp_path, width=64)
    for steps in (None, 2):
        decisions = []
        for image in few.test.values:
            session = OrtSession(model)
            raw = ((image.astype(np.float64) - few.mean[:, None, None]) / few.std[:, None, None]).ravel()
            x = np.clip(np.rint(raw / model.input.scale), -128, 127).astype(np.int8)
            for _ in range(steps or few.steps):
                y = session.step(x.reshape(model.input.shape))
            decisions.append(int(y.argmax()))
        found = evaluate_integer(model, few, steps=steps)
        assert found.confusion.tolist() == confusion(few.test.labels, decisions, 10)


@pytest.mark.parametrize("window", ["dynamic", 4])
def test_an_image_that_stands_still_is_decided_in_one_window(tmp_path, monkeypatch, window):
    """The same decisions, from the window of one frame wherever it takes the number of steps."""
    digits = es.data.digits()
    few = replace(digits, test=Images(digits.test.values[:30], digits.test.labels[:30]))
    qnet = es.quantize(es.models.mlp(64, [12], 10, es.EMPF(), leak=0.9), calibrate=few, epochs=0)
    step_by_step = export.onnx(qnet, tmp_path / "steps")
    at_once = export.onnx(qnet, tmp_path / "window", window=window, constant_input=True)
    expected = {steps: evaluate_integer(step_by_step, few, steps=steps).confusion.tolist() for steps in (4, 2)}
    assert evaluate_integer(at_once, few, steps=2).confusion.tolist() == expected[2]
    monkeypatch.setattr(integer, "run_streams", None)
    assert evaluate_integer(at_once, few, steps=4).confusion.tolist() == expected[4]


def test_an_empty_split_is_one_line(model, data):
    with pytest.raises(DataError, match="the split 'validation' is empty"):
        evaluate_integer(model, data.merged(), "validation")
    with pytest.raises(DataError, match="split: expected one of"):
        evaluate_integer(model, data, "tset")
