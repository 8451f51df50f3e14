"""`fit`: seeds, checkpoints that go on to the same numbers, early stop, errors; `evaluate` and `score`."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import edgesnn as es
from edgesnn import checkpoint
from edgesnn.errors import ConfigError, DataError, TrainingError
from edgesnn.evaluation import score
from edgesnn.training import History, cosine


@pytest.fixture(scope="module")
def data():
    return es.data.digits()


class Stopping(es.rules.SLTT):
    """SLTT that is interrupted, or finds no finite loss, at one call."""

    def __init__(self, k, at, loss=None):
        super().__init__(k)
        self.at, self.loss, self.calls = at, loss, 0

    def backward(self, net, x, y, generator):
        self.calls += 1
        result = super().backward(net, x, y, generator)
        if self.calls != self.at:
            return result
        if self.loss is None:
            raise KeyboardInterrupt
        return self.loss


class Never(es.rules.SLTT):
    """SLTT for a training that must not begin."""

    def backward(self, net, x, y, generator):
        raise AssertionError("a batch was trained on")


def network(seed=0):
    return es.models.mlp(64, [24], 10, es.EMPF(steps=4), seed=seed)


SETTINGS = {"epochs": 4, "lr": 1e-2, "batch_size": 64, "progress": False}


def numbers(history):
    return [(epoch.loss, epoch.validation, epoch.lr) for epoch in history.epochs]


def same_weights(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_fit_learns_and_repeats_with_its_seed(data):
    a, b, c = network(), network(), network()
    first = es.fit(a, data, es.rules.SLTT(1), seed=1, **SETTINGS)
    again = es.fit(b, data, es.rules.SLTT(1), seed=1, **SETTINGS)
    other = es.fit(c, data, es.rules.SLTT(1), seed=2, **SETTINGS)
    assert numbers(first) == numbers(again) != numbers(other)
    assert same_weights(a, b)
    assert es.evaluate(a, data).accuracy > 0.85
    assert [epoch.lr for epoch in first.epochs] == [cosine(1e-2, i, 4) for i in range(4)]
    assert first.epochs[0].lr == 1e-2


@pytest.mark.parametrize("patience", [None, 3])
@pytest.mark.parametrize("at", [19 * 2 + 5, 19 * 3 + 1])
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(data, tmp_path, patience, at):
    whole, parts, file = network(), network(), tmp_path / "run" / "checkpoint.safetensors"
    expected = es.fit(whole, data, es.rules.SLTT(2), patience=patience, **SETTINGS)
    with pytest.raises(KeyboardInterrupt):
        es.fit(parts, data, Stopping(2, at), checkpoint=file, patience=patience, **SETTINGS)
    resumed = network(seed=9)
    resumed.config["seed"] = 0  # same network, other weights: all of them must come from the checkpoint
    history = es.fit(resumed, data, es.rules.SLTT(2), checkpoint=file, resume=True, patience=patience, **SETTINGS)
    assert numbers(history) == numbers(expected)
    assert history.best_epoch == expected.best_epoch
    assert same_weights(resumed, whole)


def test_resuming_a_finished_training_changes_nothing(data, tmp_path):
    net, file = network(), tmp_path / "checkpoint.safetensors"
    history = es.fit(net, data, checkpoint=file, **SETTINGS)
    again = network()
    assert es.fit(again, data, checkpoint=file, resume=True, **SETTINGS) == history
    assert same_weights(net, again)


def test_early_stop_keeps_the_best_weights(data, monkeypatch):
    accuracies = iter([0.5, 0.7, 0.6, 0.7, 0.9])
    snapshots = []

    class Fixed:
        def __init__(self):
            self.accuracy = next(accuracies)

    def fake(net, *args, **kwargs):
        snapshots.append({name: tensor.clone() for name, tensor in net.state_dict().items()})
        return Fixed()

    monkeypatch.setattr("edgesnn.training.loop.evaluate", fake)
    net = network()
    history = es.fit(net, data, es.rules.SLTT(1), patience=2, **{**SETTINGS, "epochs": 9})
    assert len(history.epochs) == 4
    assert history.best_epoch == 1
    assert all(torch.equal(tensor, snapshots[1][name]) for name, tensor in net.state_dict().items())


def test_without_patience_the_last_weights_stay(data):
    net = network()
    history = es.fit(net, data, es.rules.SLTT(1), **{**SETTINGS, "epochs": 2})
    assert history.best_epoch is None
    assert es.evaluate(net, data, "validation").accuracy == history.epochs[-1].validation


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_good_checkpoint(data, tmp_path, loss):
    net, file = network(), tmp_path / "checkpoint.safetensors"
    with pytest.raises(TrainingError, match="epoch 2, step 3") as error:
        es.fit(net, data, Stopping(1, 19 + 3, loss), checkpoint=file, **SETTINGS)
    assert "\n" not in str(error.value)
    tensors, metadata = checkpoint.read(file)
    assert len(metadata["history"]["epochs"]) == 1
    assert all(tensor.isfinite().all() for tensor in tensors.values() if tensor.is_floating_point())


def test_weights_that_are_not_a_number_are_never_saved(data, tmp_path):
    net, file = network(), tmp_path / "checkpoint.safetensors"

    class Poison(es.rules.SLTT):
        def backward(self, net, x, y, generator):
            super().backward(net, x, y, generator)
            net.readout.bias.grad.fill_(float("nan"))
            return 1.0

    with pytest.raises(TrainingError, match="has NaN or infinity after epoch 1"):
        es.fit(net, data, Poison(1), checkpoint=file, **SETTINGS)
    assert not file.exists()


def test_infinite_weights_are_refused_but_for_those_that_start_so(data):
    class Runaway(es.rules.SLTT):
        def backward(self, net, x, y, generator):
            super().backward(net, x, y, generator)
            net.readout.bias.grad.fill_(-float("inf"))
            return 1.0

    with pytest.raises(TrainingError, match=r"readout\.bias' has NaN or infinity after epoch 1"):
        es.fit(network(), data, Runaway(1), optimizer={"kind": "sgd"}, **{**SETTINGS, "batch_size": 2000})
    keeping = es.models.mlp(64, [24], 10, es.EMPF(lam=1.0))  # a leak of exactly 1, which stays
    es.fit(keeping, data, es.rules.SLTT(1), **{**SETTINGS, "epochs": 1})
    assert keeping.layers["neuron1"].lam_values().item() == 1.0


def images(count, classes):
    values = np.random.default_rng(0).normal(size=(count, 1, 8, 8)).astype(np.float32)
    return es.data.Images(values, np.arange(count) % classes)


def convolution():
    layers = [{"kind": "conv", "outputs": 4, "kernel": (3, 3)}, {"kind": "neuron"}, {"kind": "flatten"}]
    return es.models.sequence((1, 8, 8), layers, 10)


@pytest.mark.parametrize(
    ("make", "changes"),
    [
        (network, {"optimizer": {"kind": "adam", "betas": (0.9, 0.99)}}),
        (convolution, {}),
        (lambda: es.models.mlp(np.int64(64), np.array([8, 8]), np.int64(10), es.LIF(theta=np.float32(1))), {}),
        (network, {"lr": np.float32(0.01), "batch_size": np.int64(64), "seed": np.int64(3), "steps": np.int64(2)}),
        (network, {"rule": es.rules.TTLBP(k=np.int64(2))}),
    ],
)
def test_tuples_and_numbers_of_numpy_are_kept_in_a_checkpoint(data, tmp_path, make, changes):
    few = replace(data, train=data.validation)
    options = {**SETTINGS, "epochs": 1, **changes, "checkpoint": tmp_path / "checkpoint.safetensors"}
    history = es.fit(make(), few, **options)
    assert es.fit(make(), few, resume=True, **options) == history


def test_what_no_checkpoint_can_hold_is_refused_before_training(data):
    net = network()
    net.config["made_by"] = object()
    with pytest.raises(ConfigError, match=r"fit: config of the network: .*got object") as error:
        es.fit(net, data, Never(1), **SETTINGS)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["checkpoint", "logdir"])
@pytest.mark.parametrize("resume", [False, True])
def test_files_that_cannot_be_written_are_refused_before_training(data, tmp_path, key, resume):
    if key == "logdir":
        pytest.importorskip("tensorboard")
    file = tmp_path / "file"
    file.write_bytes(b"")
    paths = {"checkpoint": [tmp_path, file / "a.safetensors"], "logdir": [file, file / "logs"]}
    for path in paths[key]:
        options = {"checkpoint": tmp_path / "none.safetensors", key: path, "resume": resume}
        with pytest.raises((ConfigError, TrainingError)) as error:
            es.fit(network(), data, Never(1), **options, **SETTINGS)
        assert "\n" not in str(error.value)


def test_a_checkpoint_that_is_not_there_makes_no_folder(data, tmp_path):
    with pytest.raises(TrainingError, match="none found"):
        es.fit(network(), data, checkpoint=tmp_path / "new" / "a.safetensors", resume=True, **SETTINGS)
    assert not (tmp_path / "new").exists()


def test_a_checkpoint_of_something_else_is_one_line(data, tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    es.fit(network(), data, es.rules.SLTT(1), checkpoint=file, **{**SETTINGS, "epochs": 1})
    bigger = es.models.mlp(64, [25], 10, es.EMPF(steps=4))
    renamed = network()
    del renamed.layers["norm1"]
    attempts = [
        (bigger, {"epochs": 1}, "network 'hidden'"),
        (network(), {"epochs": 2}, "setting 'epochs'"),
        (network(), {"epochs": 1, "lr": 1.0}, "setting 'lr'"),
        (renamed, {"epochs": 1}, "layers.norm1"),
    ]
    for net, changes, words in attempts:
        with pytest.raises(TrainingError, match=words) as error:
            es.fit(net, data, es.rules.SLTT(1), checkpoint=file, resume=True, **{**SETTINGS, **changes})
        assert "\n" not in str(error.value)


def recordings(hop=4, change=0.0, labels=(0, 1, 0, 1), **options):
    rng = np.random.default_rng(0)
    made = [es.data.Recording(i, rng.normal(size=(60, 6)).astype(np.float32), label) for i, label in enumerate(labels)]
    made[3].rows[0, 0] += change
    frame = es.data.Frame(8, hop, 6)
    return es.data.from_recordings(made[:2], made[2:], made[2:], classes=("a", "b"), frame=frame, steps=2, **options)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (lambda: recordings(hop=8), "'data_frame' expected .*8.*4"),
        (lambda: recordings().merged(), "'data_samples' expected .*4.*2"),
        (lambda: recordings(change=1.0), "'data_values'"),
        (lambda: recordings(labels=(0, 1, 1, 1)), "'data_values'"),
        (lambda: recordings(variation=es.data.Variation(0.1, 5.0, 0.1)), "'data_values'"),
        (lambda: replace(recordings(), mean=np.ones(6)), "'data_values'"),
        (lambda: replace(recordings(), name="other"), "'data' expected 'other', got 'stream'"),
    ],
)
def test_a_checkpoint_of_other_data_is_one_line(tmp_path, other, words):
    options = {**SETTINGS, "epochs": 1, "rule": es.rules.SLTT(1), "checkpoint": tmp_path / "checkpoint.safetensors"}
    history = es.fit(es.models.mlp(48, [8], 2), recordings(), **options)
    assert es.fit(es.models.mlp(48, [8], 2), recordings(), resume=True, **options) == history
    with pytest.raises(TrainingError, match=words) as error:
        es.fit(es.models.mlp(48, [8], 2), other(), resume=True, **options)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_other_images_is_one_line(data, tmp_path):
    options = {**SETTINGS, "epochs": 1, "checkpoint": tmp_path / "checkpoint.safetensors"}
    few = replace(data, train=data.validation)
    es.fit(network(), few, **options)
    brighter = replace(few, train=es.data.Images(few.train.values + np.float32(1), few.train.labels))
    moved = replace(few, shift=1)
    for other in (brighter, moved):
        with pytest.raises(TrainingError, match="'data_values'"):
            es.fit(network(), other, resume=True, **options)


@pytest.mark.parametrize("content", [None, b"", b"pickle", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_a_damaged_checkpoint_is_one_line(data, tmp_path, content):
    file = tmp_path / "checkpoint.safetensors"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint\.safetensors") as error:
        es.fit(network(), data, checkpoint=file, resume=True, **SETTINGS)
    assert "\n" not in str(error.value)


def test_a_truncated_checkpoint_is_one_line(data, tmp_path):
    file = tmp_path / "checkpoint.safetensors"
    es.fit(network(), data, checkpoint=file, **{**SETTINGS, "epochs": 1})
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(TrainingError, match="damaged"):
        es.fit(network(), data, checkpoint=file, resume=True, **{**SETTINGS, "epochs": 1})


class Counting(es.rules.SLTT):
    """SLTT that notes how many threads it has."""

    def backward(self, net, x, y, generator):
        self.threads = torch.get_num_threads()
        return super().backward(net, x, y, generator)


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (network(), 1),
        (es.models.mlp(64, [2**13], 10, es.EMPF()), 2),
        (es.models.convnet((1, 8, 8), [2], 10, es.EMPF()), 2),
    ],
)
def test_small_matrices_train_on_one_thread_and_the_setting_comes_back(data, net, expected):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        rule = Counting(1)
        es.fit(net, replace(data, train=data.validation), rule, epochs=1, steps=1, progress=False)
        assert (rule.threads, torch.get_num_threads()) == (expected, 2)
        with pytest.raises(KeyboardInterrupt):
            es.fit(network(), data, Stopping(1, 1), **SETTINGS)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_bad_settings_are_one_line(data):
    for changes, words in [
        ({"epochs": 0}, "epochs >= 1"),
        ({"lr": 0.0}, "lr > 0"),
        ({"lr": float("inf")}, "lr > 0, a finite number"),
        ({"lr": float("nan")}, "lr > 0, a finite number"),
        ({"lr": "fast"}, "lr > 0, a finite number"),
        ({"batch_size": 1}, "batch_size >= 2, a whole number, got 1$"),
        ({"batch_size": 16.0}, "batch_size >= 2"),
        ({"steps": 0}, "steps >= 1"),
        ({"patience": 0}, "patience >= 1"),
        ({"patience": -3}, "patience >= 1"),
        ({"seed": 2**32}, "seed, -2\\^31"),
        ({"seed": -(2**31) - 1}, "seed, -2\\^31"),
        ({"seed": "a"}, "seed, -2\\^31"),
        ({"resume": True}, "checkpoint="),
        ({"rule": "sltt"}, "a rule such as"),
        ({"rule": {"kind": ["sltt"]}}, "a rule such as"),
        ({"optimizer": "sgd"}, "optimizer: expected a description"),
        ({"optimizer": {"kind": ["sgd"]}}, "expected one of adam, sgd"),
        ({"compile": "nope"}, "compile to be True, False or one of .*'inductor'.* got 'nope'"),
        ({"compile": "eager", "rule": es.rules.OTTT()}, "no compile for OTTT"),
        ({"compile": "eager", "rule": es.rules.TTLBP(2)}, "no compile for TTLBP"),
    ]:
        with pytest.raises(ConfigError, match=words) as error:
            es.fit(network(), data, **{**SETTINGS, **changes})
        assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="validation split"):
        es.fit(network(), data.merged(), patience=1, **SETTINGS)


@pytest.mark.parametrize("seed", [-(2**31), 2**32 - 1])
def test_the_outermost_seeds_train(data, seed):
    few = replace(data, train=data.validation)
    assert len(es.fit(network(), few, es.rules.SLTT(1), seed=seed, **{**SETTINGS, "epochs": 2}).epochs) == 2


def test_a_validation_split_that_cannot_be_measured_is_refused_before_training(data):
    names = tuple("abc")
    more = es.data.from_images(images(40, 2), images(9, 3), images(9, 3), classes=names)
    net = es.models.mlp(64, [8], 2)
    with pytest.raises(ConfigError, match=r"validation: expected labels of 0 to 1, .* got 2; .*classes=3"):
        es.fit(net, more, Never(1), **SETTINGS)
    with pytest.raises(ConfigError, match="test: expected labels of 0 to 1"):
        es.evaluate(net, more)
    with pytest.raises(ConfigError, match="steps >= 1"):
        es.evaluate(net, replace(data, test=data.train), steps=0)
    with pytest.raises(ConfigError, match="score: expected labels of 0 to 1"):
        score(np.zeros((1, 1, 2)), [[2]])


def test_recordings_shorter_than_a_frame_are_one_line():
    rng = np.random.default_rng(0)
    made = [es.data.Recording(i, rng.normal(size=(size, 2)).astype(np.float32), i % 2, person=0)
            for i, size in enumerate((60, 60, 5, 5))]  # fmt: skip
    data = es.data.from_recordings(
        made[:2], made[2:], made[2:], classes=("a", "b"), frame=es.data.Frame(8, 4, 2), steps=2
    )
    net = es.models.mlp(16, [8], 2)
    with pytest.raises(DataError, match="validation: expected a recording with the 8 rows of a frame"):
        es.fit(net, data, Never(1), **SETTINGS)
    with pytest.raises(DataError, match="test: expected a recording with the 8 rows"):
        es.evaluate(net, data)
    assert es.evaluate(net, data, continuous=True).samples == 1  # 10 rows of one person


def test_training_without_a_validation_split(data):
    history = es.fit(network(), data.merged(), es.rules.SLTT(1), **{**SETTINGS, "epochs": 1})
    assert history.epochs[0].validation is None
    with pytest.raises(DataError, match="'validation' is empty"):
        es.evaluate(network(), data.merged(), "validation")


def test_history_survives_json(data):
    history = es.fit(network(), data, **{**SETTINGS, "epochs": 1})
    assert History.from_json(history.to_json()) == history


@given(st.integers(1, 4), st.integers(1, 4), st.integers(2, 5), st.integers(0, 99))
def test_score_counts_what_is_labelled(steps, samples, classes, seed):
    rng = np.random.default_rng(seed)
    accumulated = rng.integers(-2, 3, (steps, samples, classes))  # small integers: ties are common
    y = rng.integers(-1, classes, (steps, samples))
    result = score(accumulated, y)
    expected = np.zeros((classes, classes), int)
    for s in range(steps):
        for n in range(samples):
            if y[s, n] >= 0:
                row = accumulated[s, n].tolist()
                expected[y[s, n], row.index(max(row))] += 1
    np.testing.assert_array_equal(result.confusion, expected)
    assert result.samples == expected.sum()
    if result.samples:
        assert result.accuracy == np.trace(expected) / expected.sum()
    assert ((result + result).confusion == 2 * expected).all()


@pytest.mark.parametrize("layer", ["linear1", "norm1", "readout"])
def test_evaluate_does_not_judge_a_network_with_nan(data, layer):
    net = es.models.mlp(64, [24], 10, es.LIF())
    tensor = net.layers[layer].running_var if layer == "norm1" else net.layers[layer].weight.data
    tensor[0] = float("nan")
    with pytest.raises(TrainingError, match=f"evaluate: .* got NaN in 'layers.{layer}") as error:
        es.evaluate(net, data, "validation")
    assert "\n" not in str(error.value)


def test_evaluate_does_not_judge_logits_of_nan(data):
    net = network()
    net.readout.weight.data.fill_(torch.finfo(torch.float32).max)
    net.readout.weight.data[:, ::2] *= -1  # inf - inf
    with pytest.raises(TrainingError, match="score: expected logits that are numbers, got NaN; ") as error:
        es.evaluate(net, data, "validation")
    assert "\n" not in str(error.value)


def test_evaluate_restores_the_mode_when_it_is_refused(data):
    net = network().train()
    with pytest.raises(DataError, match="is empty"):
        es.evaluate(net, data.merged(), "validation")
    assert net.training


def test_evaluate_follows_the_leaky_readout_and_restores_the_mode(data):
    net = network().train()
    result = es.evaluate(net, data, "validation")
    assert net.training
    net.eval()
    decided = []
    with torch.no_grad():
        for x, y in data.evaluation_batches("validation"):
            acc, state = torch.zeros(x.shape[1], 10), {}
            for t in range(len(x)):
                logits, state = net.step(x[t], state, t)
                acc = net.readout.accumulate(acc, logits)
            decided.append((acc.argmax(1) == y[-1]).sum().item())
    assert result.samples == 200
    assert round(result.accuracy * 200) == sum(decided)
