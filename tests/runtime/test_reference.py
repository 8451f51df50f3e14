"""The yardstick itself: a small network worked out with the NumPy arithmetic of tests/helpers/golden.py."""

from __future__ import annotations

import golden
import numpy as np
import onnx
from random_models import SEED, RandomModel, Shape

from edgesnn.runtime.reference import ReferenceSession
from edgesnn.runtime.vectors import random_stream


def test_steps_and_learning_equal_the_formulas(tmp_path):
    shape = Shape((13,), hidden=(("BinaryLinear", 11), ("Linear", 9)), neurons=("EMPF", "LIF"), steps=3)
    model = RandomModel(shape, seed=12).write(tmp_path, vectors=False)
    value = {
        init.name: golden.int64(onnx.numpy_helper.to_array(init))
        for graph in ("step", "learn")
        for init in model.graph(graph).graph.initializer
    }
    bits = np.unpackbits(value["fc0.weight"].astype(np.uint8), axis=1, bitorder="little")[:, :13]
    signs = 2 * golden.int64(bits) - 1
    gain, limit = (
        next(a.i for node in model.step.graph.node if node.op_type == "Trace" for a in node.attribute if a.name == name)
        for name in ("gain", "limit")
    )
    leak = int(value["readout.leak"][0])
    weight, bias, count = value["readout.weight"], value["readout.bias"], 0
    v0, v1, acc, trace = np.zeros(11), np.zeros(9), np.zeros(3), np.zeros(9)

    session = ReferenceSession(model)
    frames, labels = random_stream(model, 60, 9)
    for t, (x, label) in enumerate(zip(frames, labels, strict=True)):
        current = golden.rescale(golden.linear(x, signs), value["fc0.M"], value["fc0.b"], 20)
        lam, theta = (int(value[f"n_fc0.{name}"][t % 3]) for name in ("lam", "theta"))
        s, v0 = golden.empf(v0, current, lam, theta, shape.k, shape.bits)
        current = golden.rescale(golden.linear(s, value["fc1.weight"]), value["fc1.M"], value["fc1.b"], 20)
        lam, theta = (int(value[f"n_fc1.{name}"][t % 3]) for name in ("lam", "theta"))
        s, v1 = golden.lif(v1, current, lam, theta)
        current = golden.rescale(golden.linear(s, weight), value["readout.M"], bias, 20)
        acc = golden.integrate(acc, current, leak)
        trace = golden.trace(trace, s, leak, gain, limit)
        assert session.step(x).tolist() == acc.tolist()
        if label >= 0:
            session.learn(int(label))
            weight, bias, count = golden.learn_readout(
                weight, bias, trace, value["readout.learn_M"], int(label), count,
                shift=20, weight_shift=23, bias_shift=20, seed=SEED,
            )  # fmt: skip
        expected = {
            "t": [(t + 1) % 3], "n_fc0.v": [v0], "n_fc1.v": [v1], "readout.acc": [acc], "readout.trace": [trace],
            "readout.weight": weight, "readout.bias": bias, "learn.count": [count],
        }  # fmt: skip
        for name, got in session.tensors().items():
            np.testing.assert_array_equal(got, expected.pop(name), name)
        assert not expected
    assert count > 20
    assert v1.any()
