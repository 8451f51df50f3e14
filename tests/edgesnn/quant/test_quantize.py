"""`es.quantize` from a trained network to one that can be exported, and back from a file."""

from __future__ import annotations

import json
import math

import pytest
import tiny_data
import torch

import edgesnn as es
from edgesnn import export, runs
from edgesnn.errors import QuantizationError
from edgesnn.models import Network
from edgesnn.neurons import MembraneNormEMPF
from edgesnn.quant import QuantizedNetwork, check_calibrated, rebuild
from edgesnn.quant.quantize import describe
from edgesnn.runs import ModelConfig, Run, RunConfig
from edgesnn.training import History


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def data():
    return tiny_data.stream()


def trained(data, neuron, weights="binary"):
    net = es.models.mlp(8, [16, 16], 3, neuron, weights, leak=0.9)
    es.fit(net, data, es.rules.SLTT(), epochs=15, lr=2e-2, progress=False)
    return net


@pytest.fixture(scope="module")
def net(data):
    return trained(data, es.EMPF())


@pytest.fixture(scope="module")
def qnet(net, data):
    return es.quantize(net, weights=1, spikes=4, calibrate=data, epochs=2)


def emitted(qnet, x):
    """Spikes [T, N, C] by layer, and what the membrane lost with each."""
    found = {}
    with torch.no_grad():
        state = {}
        for t, frame in enumerate(x):
            value = frame
            for name, layer in qnet.layers.items():
                if name.startswith("neuron"):
                    v = state.get(name, torch.zeros_like(value))
                    m = layer.lam_values() * v + value
                    value, state[name] = layer(value, state.get(name), t)
                    found.setdefault(name, []).append((value, m - state[name]))
                else:
                    value = layer(value)
    return {name: [torch.stack(part) for part in zip(*pairs, strict=True)] for name, pairs in found.items()}


def test_the_network_still_knows_its_task(net, qnet, data):
    report = qnet.report
    assert es.evaluate(net, data).accuracy > 0.7
    assert es.evaluate(qnet, data).accuracy > 0.7
    assert report.accuracy_float == es.evaluate(net, data, "validation").accuracy
    assert report.accuracy_tuned == es.evaluate(qnet, data, "validation").accuracy
    assert [layer.name for layer in report.layers] == ["neuron1", "neuron2"]
    assert json.loads(json.dumps(report.to_json()))["accuracy_tuned"] == report.accuracy_tuned


@pytest.mark.parametrize("spikes", [1, 2, 4, 8])
def test_spikes_have_at_most_so_many_levels_and_leave_the_membrane(net, data, spikes):
    qnet = es.quantize(net, weights=1, spikes=spikes, calibrate=data, epochs=0).eval()
    x, _ = next(iter(data.evaluation_batches("test")))
    for name, (s, lost) in emitted(qnet, x).items():
        scale = torch.tensor(qnet.layers[name].scale)
        units = torch.round(s / scale)
        assert torch.equal(s, units * scale)
        assert set(units.unique().tolist()) <= set(range(2**spikes))
        assert s.any()
        torch.testing.assert_close(lost, s)


def test_calibration_alone_changes_no_weight(net, data):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    qnet = es.quantize(net, weights=1, spikes=4, calibrate=data, epochs=0)
    state = qnet.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(net.state_dict()[name], tensor) for name, tensor in before.items())
    assert qnet.report.accuracy_calibrated == qnet.report.accuracy_tuned


def test_fine_tuning_trains_weights_and_spike_scales_but_not_the_input(net, qnet, data):
    before = es.quantize(net, weights=1, spikes=4, calibrate=data, epochs=0)
    assert qnet.layers["input"].scale == before.layers["input"].scale
    for name in ("neuron1", "neuron2"):
        assert qnet.layers[name].scale != before.layers[name].scale
    assert not torch.equal(qnet.layers["linear2"].weight, before.layers["linear2"].weight)
    assert qnet.report.accuracy_calibrated == before.report.accuracy_tuned


def test_a_seed_decides_everything(net, data):
    first, again, other = (
        es.quantize(net, calibrate=data, epochs=1, seed=seed).state_dict() for seed in (3, 3, 4)
    )  # fmt: skip
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_steps_are_those_of_the_window_and_of_all_that_is_measured():
    """Images are decided at the last step, which is the third here."""
    data, net = es.data.digits(), es.models.mlp(64, [8], 10, seed=1)
    qnet = es.quantize(net, calibrate=data, epochs=0, steps=3)
    assert qnet.config["data"]["steps"] == 3 != data.steps
    assert qnet.report.accuracy_calibrated == es.evaluate(qnet, data, "validation", steps=3).accuracy
    assert qnet.report.accuracy_float == es.evaluate(net, data, "validation", steps=3).accuracy


def test_input_without_negative_values_is_unsigned(data):
    positive = tiny_data.positive(data)
    qnet = es.quantize(es.models.mlp(8, [16], 3), calibrate=positive, epochs=0)
    assert not qnet.layers["input"].signed
    assert qnet.config["quantization"]["signed_input"] is False
    assert es.quantize(es.models.mlp(8, [16], 3), calibrate=data, epochs=0).layers["input"].signed


def test_data_without_validation_gives_no_accuracies(data):
    merged = data.merged()
    report = es.quantize(es.models.mlp(8, [16], 3), calibrate=merged, epochs=1).report
    assert (report.accuracy_float, report.accuracy_calibrated, report.accuracy_tuned) == (None, None, None)


@pytest.mark.parametrize(
    ("neuron", "spikes"), [(es.EMPF(theta=0.3, steps=4), 4), (es.EMPF(theta=0.3, parallel=True), 2), (es.LIF(), 1)]
)
def test_rebuilt_from_its_config_and_weights_it_is_the_same_bit_for_bit(data, neuron, spikes):
    qnet = es.quantize(es.models.mlp(8, [12, 9], 3, neuron), 1, spikes, data, epochs=1, seed=1).eval()
    config = json.loads(json.dumps(qnet.config))
    again = rebuild(config)
    again.load_state_dict(qnet.state_dict())
    again.eval()
    assert again.config == qnet.config
    assert again.report is None
    check_calibrated(again)
    x, _ = next(iter(data.evaluation_batches("test")))
    with torch.no_grad():
        assert torch.equal(again(x), qnet(x))
    assert json.loads(json.dumps(config)) == config  # and rebuilding took nothing out of it


@pytest.mark.parametrize("kind", ["mlp", "convnet"])
def test_a_run_with_a_quantized_network_loads_again(tmp_path, kind):
    model = ModelConfig(kind=kind, sizes=[6, 5], neuron={"kind": "empf"}, leak=0.9)
    config = RunConfig(data="digits", model=model, quantization={"weights": 1, "spikes": 4})
    data = runs.load_data(config)
    qnet = es.quantize(runs.build_network(config, data), weights=1, spikes=4, calibrate=data, epochs=0).eval()
    runs.save_run(Run(qnet, data, config, History([])), tmp_path)
    again = runs.load_run(tmp_path).net
    assert isinstance(again, QuantizedNetwork)
    check_calibrated(again)
    x, _ = next(iter(data.evaluation_batches("test")))
    with torch.no_grad():
        assert torch.equal(again(x[:, :40]), qnet(x[:, :40]))


def test_the_config_describes_the_data(qnet, data):
    assert qnet.config["data"] == describe(data)
    assert describe(data) == {
        "name": "tiny", "classes": ["rest", "slow", "fast"], "mean": data.mean.tolist(), "std": data.std.tolist(),
        "rate_hz": 20.0, "frame": {"length": 4, "hop": 2, "channels": 2}, "steps": 4, "channels": ["sway", "surge"],
    }  # fmt: skip


def refusal(action, *words):
    with pytest.raises(QuantizationError) as error:
        action()
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in words), text


def test_a_network_that_never_saw_data_is_not_exported(net, tmp_path):
    qnet = es.quantize(net, weights=1, spikes=4)
    for action in (lambda: check_calibrated(qnet), lambda: export.onnx(qnet, tmp_path / "out")):
        refusal(action, "input: expected a calibrated quantizer", "pass calibrate=data")
    assert not (tmp_path / "out").exists()


def test_one_uncalibrated_layer_is_named(net, data):
    qnet = es.quantize(net, calibrate=data, epochs=0)
    check_calibrated(qnet)
    qnet.layers["neuron2"].calibrated.fill_(False)
    refusal(lambda: check_calibrated(qnet), "neuron2: expected a calibrated quantizer")


def test_a_float_network_is_not_exported(net, tmp_path):
    refusal(lambda: export.onnx(net, tmp_path), "expected a quantized network", "edgesnn.quantize")


def test_what_cannot_be_quantized_is_one_line(net, qnet, data):
    refusal(lambda: es.quantize(qnet, calibrate=data), "expected a float network")
    refusal(lambda: es.quantize(net, weights=3, calibrate=data), "got 3 and 4")
    refusal(lambda: es.quantize(es.models.mlp(8, [4], 3, es.LIF()), spikes=4, calibrate=data), "neuron1", "spikes=1")
    layers = dict(net.layers.items()) | {"linear1": torch.nn.Bilinear(2, 2, 2)}
    odd = Network(layers, {}, (8,), 3)
    refusal(lambda: es.quantize(odd), "linear1", "Bilinear")


def test_a_silent_layer_is_one_line(data):
    net = es.models.mlp(8, [6, 6], 3)
    net.layers["neuron1"].theta_raw.data.fill_(1000.0)
    refusal(lambda: es.quantize(net, calibrate=data), "neuron1", "silent")


@pytest.mark.parametrize(("weights", "spikes", "neuron"), [
    (1, 4, es.EMPF(theta=0.3)), (4, 2, es.EMPF(theta=0.3)), (8, 8, MembraneNormEMPF(theta=0.3)),
])  # fmt: skip
def test_scales_may_be_powers_of_two(data, weights, spikes, neuron):
    """Of the input, hidden weights and spikes; after fine-tuning too, and in the network rebuilt from its config."""
    net = es.models.mlp(8, [12, 9], 3, neuron)
    qnet = es.quantize(net, weights, spikes, data, scales="power-of-two", epochs=1, seed=1).eval()
    again = rebuild(json.loads(json.dumps(qnet.config)))
    again.load_state_dict(qnet.state_dict())
    for layers in (qnet.layers, again.layers):
        units = [layers["input"].scale, layers["neuron1"].scale, layers["neuron2"].scale]
        for name in ("linear1", "linear2"):
            units += layers[name].quant_weight().scale.detach().flatten().tolist()
        assert all(math.frexp(unit)[0] == 0.5 for unit in units), units
    value = qnet.layers["linear2"].quant_weight()
    assert torch.equal(value.value, torch.round(value.value / value.scale) * value.scale)
    x, _ = next(iter(data.evaluation_batches("test")))
    with torch.no_grad():
        assert torch.equal(again.eval()(x), qnet(x))


def test_other_scales_are_one_line(net, data):
    refusal(
        lambda: es.quantize(net, scales="binary", calibrate=data), "scales to be one of free, power-of-two", "'binary'"
    )


@pytest.mark.parametrize("neuron", [es.EMPF(), es.LIF(theta=0.3), MembraneNormEMPF(w2=0.5)], ids=lambda n: n.kind)
def test_a_network_of_float64_is_that_of_its_rounded_values(data, neuron):
    """Integers are made in float32: quantizing the network, and one that was rounded before, is the same."""
    net = es.models.mlp(8, [16], 3, neuron, leak=0.9)
    es.fit(net, data, es.rules.SLTT(), epochs=2, lr=2e-2, progress=False)
    options = {"spikes": 1 if neuron.kind == "lif" else 4, "calibrate": data, "epochs": 1}
    expected = es.quantize(net, **options)
    found = es.quantize(net.double(), **options)
    assert {value.dtype for value in net.parameters()} == {torch.float64}  # it is not changed
    weights = found.state_dict()
    assert weights.keys() == expected.state_dict().keys()
    assert all(torch.equal(weights[name], value) for name, value in expected.state_dict().items())
    assert found.report == expected.report
