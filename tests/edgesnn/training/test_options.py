"""Options of `fit`: parts of a batch, several processes, mixed precision, layout, logs; and what is wrong with data."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import edgesnn as es
from edgesnn.data import Images
from edgesnn.errors import ConfigError, DataError, TrainingError
from edgesnn.evaluation import placed
from edgesnn.training import Settings
from edgesnn.training import batch as batches
from edgesnn.training.history import Epoch, TensorBoard
from edgesnn.training.loop import Loop
from edgesnn.training.precision import multiplied_in
from edgesnn.training.processes import Processes

SETTINGS = {"epochs": 1, "lr": 1e-2, "batch_size": 64, "progress": False}


@pytest.fixture(scope="module")
def data():
    """Digits, 100 to train on: one batch of 64 and one of 36."""
    digits = es.data.digits()
    part = Images(digits.train.values[:100], digits.train.labels[:100])
    return replace(digits, train=part, validation=Images(part.values[:0], part.labels[:0]))


def network(norm="none", neuron=None, seed=0):
    return es.models.mlp(64, [24, 16], 10, neuron or es.LIF(), seed=seed, norm=norm)


def weights_after(data, **options):
    """Weights of a network without norm after an epoch of plain gradient descent, in float64."""
    net = network().double()
    history = es.fit(net, data, es.rules.SLTT(2), optimizer={"kind": "sgd"}, **{**SETTINGS, **options})
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()]), history.epochs[0].loss


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_of_a_batch_give_the_gradient_of_the_whole(data, parts):
    whole, loss = weights_after(data)
    split, split_loss = weights_after(data, accumulate=parts)
    torch.testing.assert_close(split, whole, rtol=1e-12, atol=1e-14)
    assert split_loss == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("norm", ["batch", "none"])
@pytest.mark.parametrize("last", [2, 3, 5])
def test_a_small_last_batch_is_run_in_fewer_parts(data, norm, last):
    part = replace(data, train=Images(data.train.values[: 64 + last], data.train.labels[: 64 + last]))
    sizes = []

    class Counting(es.rules.SLTT):
        def parts(self, net, x, y, generator):
            sizes.append(len(y))
            return super().parts(net, x, y, generator)

    history = es.fit(network(norm), part, Counting(1), accumulate=4, **SETTINGS)
    assert np.isfinite(history.epochs[0].loss)
    assert sum(sizes) == 64 + last
    assert min(sizes) >= 2


def test_a_batch_must_have_two_samples_a_part_in_every_process(data):
    settings = Settings(1, 1e-2, 8, 4, 0, accumulate=2)
    Loop(network(), data, es.rules.SLTT(), settings, Processes(0, 2))
    with pytest.raises(ConfigError, match="batch_size of at least 12") as error:
        Loop(network(), data, es.rules.SLTT(), settings, Processes(0, 3))
    assert "\n" not in str(error.value)


def test_an_epoch_without_a_batch_is_one_line(data):
    few = replace(data, train=Images(data.train.values[:3], data.train.labels[:3]))
    loop = Loop(network(), few, es.rules.SLTT(), Settings(1, 1e-2, 64, 4, 0), Processes(0, 2))
    with pytest.raises(TrainingError, match="two samples for each of 2 processes"):
        loop.run_epoch()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_dtype_trains_and_is_measured(data, dtype):
    net = network().to(dtype)
    whole = replace(data, validation=data.train)
    history = es.fit(net, whole, es.rules.SLTT(2), **SETTINGS)
    assert history.epochs[0].validation == es.evaluate(net, whole, "train").accuracy
    assert {parameter.dtype for parameter in net.parameters()} == {dtype}


def test_an_input_goes_where_the_network_is_and_a_still_image_stays_one():
    net = network().double().to("meta")
    x = torch.rand(1, 3, 64).expand(4, 3, 64)
    at = placed(x, net)
    assert (at.device.type, at.dtype, at.shape, at.stride(0)) == ("meta", torch.float64, x.shape, 0)
    moving = torch.rand(4, 3, 64)
    assert torch.equal(placed(moving, network()), moving)


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda:1", "nccl")])
def test_processes_talk_by_what_their_device_needs_not_by_what_there_is(monkeypatch, device, backend):
    asked, chosen = [], []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.distributed, "init_process_group", asked.append)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    assert Processes.of_this_run(torch.device(device)) == Processes(1, 2, torch.device(device))
    assert asked == [backend]
    assert chosen == ([] if device == "cpu" else [torch.device(device)])


def test_a_mean_of_all_processes_is_taken_on_their_device(monkeypatch):
    seen = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: seen.append(tensor.device.type))
    with pytest.raises(RuntimeError):  # a meta tensor has no value to give back
        Processes(0, 2, torch.device("meta")).average(1.0)
    assert seen == ["meta"]


SGD = {"kind": "sgd", "momentum": 0.9, "weight_decay": 0.01}


def recurrent_after(data, optimizer):
    """Weights of a recurrent network, some of which have no gradient where SLTT-1 drew the first step."""
    net = es.models.recurrent(64, 12, 10, es.LIF(theta=0.5), "float").double()
    es.fit(net, data, es.rules.SLTT(1), optimizer=optimizer, seed=2, **{**SETTINGS, "epochs": 4})
    return [parameter.detach() for parameter in net.parameters()]


def sizes_of_batches(data):
    """Samples of this process in each batch, where three are left for the last one."""
    sizes = []

    class Counting(es.rules.SLTT):
        def parts(self, net, x, y, generator):
            sizes.append(len(y))
            return super().parts(net, x, y, generator)

    few = replace(data, train=Images(data.train.values[:67], data.train.labels[:67]))
    es.fit(network(), few, Counting(1), **SETTINGS)
    return sizes


def everything(data):
    return {
        "plain": weights_after(data),
        "adam": recurrent_after(data, None),
        "sgd": recurrent_after(data, SGD),
        "sizes": sizes_of_batches(data),
    }


WORKER = """
import sys
import torch
sys.path[:0] = {path!r}
from test_options import data, everything
found = everything(data.__wrapped__())
if torch.distributed.get_rank() == 0:
    torch.save(found, {out!r})
torch.distributed.destroy_process_group()
"""


def torchrun(script, count=2):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    return subprocess.run([*command, str(script)], capture_output=True, text=True, env=environment)


def test_two_processes_give_the_numbers_of_one_with_the_joined_batch(data, tmp_path):
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(path=[str(Path(__file__).parent)], out=str(tmp_path / "result.pt")))
    done = torchrun(script)
    assert done.returncode == 0, done.stderr[-2000:]
    found, expected = torch.load(tmp_path / "result.pt"), everything(data)
    (weights, loss), (expected_weights, expected_loss) = found["plain"], expected["plain"]
    torch.testing.assert_close(weights, expected_weights, rtol=1e-12, atol=1e-14)
    assert loss == pytest.approx(expected_loss, rel=1e-12)
    for optimizer in ("adam", "sgd"):
        torch.testing.assert_close(found[optimizer], expected[optimizer], rtol=1e-9, atol=1e-11)
    assert (found["sizes"], expected["sizes"]) == ([32], [64, 3])


def test_a_gradient_that_one_process_has_is_that_of_all(monkeypatch):
    def both(tensor):
        tensor *= 2  # as if the other had the same

    monkeypatch.setattr(torch.distributed, "all_reduce", both)
    graded, bare, frozen = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))
    graded.grad, frozen.requires_grad = torch.tensor([1.0, 2.0]), False
    Processes(0, 2).average_gradients([graded, bare, frozen], 3, 6)
    assert graded.grad.tolist() == [1.0, 2.0]
    assert (bare.grad, frozen.grad) == (None, None)

    def other(tensor):
        tensor += torch.tensor([0.0, 0.0, 3.0, 5.0, 0.0, 1.0])

    monkeypatch.setattr(torch.distributed, "all_reduce", other)
    Processes(0, 2).average_gradients([graded, bare, frozen], 3, 6)
    assert (graded.grad.tolist(), bare.grad.tolist()) == ([0.5, 1.0], [3.0, 5.0])


def test_rules_that_update_within_a_window_take_no_parts(data):
    with pytest.raises(ConfigError, match="updates within a window"):
        es.fit(network(), data, es.rules.OTTT("online"), accumulate=2, **SETTINGS)


@pytest.mark.parametrize("neuron", [es.LIF(), es.EMPF()])
def test_bfloat16_learns_nearly_the_same(data, neuron):
    losses = []
    for precision in ("float32", "bfloat16"):
        net = network("batch", neuron)
        history = es.fit(net, data, es.rules.SLTT(2), precision=precision, **{**SETTINGS, "epochs": 4})
        losses.append(history.epochs[-1].loss)
        assert all(parameter.dtype == torch.float32 for parameter in net.parameters())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_membranes_stay_float32_in_mixed_precision():
    net, x = network(neuron=es.EMPF()), torch.rand(3, 64)
    with multiplied_in(net, "bfloat16"):
        _, state = net.step(x, {}, 0)
        assert net.layers["linear1"](x).dtype == torch.bfloat16
    assert {v.dtype for v in state.values()} == {torch.float32}
    assert net.step(x, {}, 0)[0].dtype == torch.float32


@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")  # torch of itself
@pytest.mark.long
def test_a_compiled_step_gives_the_same_numbers(data):
    losses = [
        es.fit(network("batch"), data, es.rules.SLTT(1), compile=how, **SETTINGS).epochs[0].loss
        for how in (False, "aot_eager")
    ]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("still", [True, False])
def test_channels_last_changes_the_layout_alone(channels, still):
    x = torch.rand(1 if still else 2, 4, channels, 6, 5).expand(2, 4, channels, 6, 5)
    laid = batches.laid_out(x[:, ::2])
    assert torch.equal(laid, x[:, ::2])
    assert laid.stride()[2:] == (1, 5 * channels, channels)
    assert (laid.stride(0) == 0) == still
    net = es.models.convnet((channels, 6, 5), [4], 3)
    net.to(memory_format=torch.channels_last)
    assert not net.layers["norm1"](net.layers["conv1"](laid[0])).is_contiguous()


def test_fit_leaves_weights_in_the_usual_layout(data):
    net = es.models.convnet((1, 8, 8), [4, 4], 10)
    seen = []

    class Watching(es.rules.SLTT):
        def parts(self, net, x, y, generator):
            seen.append(net.layers["conv2"].weight.is_contiguous(memory_format=torch.channels_last))
            return super().parts(net, x, y, generator)

    es.fit(net, data, Watching(1), **SETTINGS)
    assert all(seen)
    assert all(parameter.is_contiguous() for parameter in net.parameters())


def test_tensorboard_logs_every_epoch(data, tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    history = es.fit(network(), data, logdir=tmp_path, **{**SETTINGS, "epochs": 2})
    events = reader.EventAccumulator(str(tmp_path)).Reload()
    logged = [event.value for event in events.Scalars("loss")]
    assert logged == pytest.approx([epoch.loss for epoch in history.epochs])
    assert "validation accuracy" not in events.Tags()["scalars"]


def test_tensorboard_shows_every_epoch_of_a_training_that_went_on(tmp_path):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for done, trained in ((0, (1, 2, 3)), (2, (3, 4))):  # killed after the checkpoint of epoch 2, gone on from there
        board = TensorBoard(tmp_path, done)
        for number in trained:
            board.write(number, Epoch(10.0 * done + number, None, 0.1, 1.0))
        board.close()
    events = reader.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1), (2, 2), (3, 23), (4, 24)]


def test_without_tensorboard_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install edgesnn\[tensorboard\]"):
        TensorBoard(tmp_path)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"accumulate": 0}, "accumulate >= 1"),
        ({"accumulate": 33}, "got 33 of 64"),
        ({"precision": "int3"}, "float32 or bfloat16"),
    ],
)
def test_options_that_make_no_sense_are_one_line(data, options, words):
    with pytest.raises(ConfigError, match=words) as error:
        es.fit(network(), data, **{**SETTINGS, **options})
    assert "\n" not in str(error.value)


class TestData:
    def poisoned(self, data, change):
        values, labels = data.train.values.copy(), data.train.labels.copy()
        change(values, labels)
        return replace(data, train=Images(values, labels))

    def test_nan_is_named_with_its_step_and_the_checkpoint_stays(self, data, tmp_path):
        file = tmp_path / "checkpoint.safetensors"
        net = network()
        es.fit(net, data, es.rules.SLTT(1), checkpoint=file, **SETTINGS)
        before = file.read_bytes()
        bad = self.poisoned(data, lambda values, labels: values[3].fill(np.nan))
        words = r"epoch 1, step [12]: the input has NaN or infinity, first in sample \d+ at time step 1"
        with pytest.raises(TrainingError, match=words) as error:
            es.fit(net, bad, es.rules.SLTT(1), checkpoint=file, **SETTINGS)
        assert "\n" not in str(error.value)
        assert file.read_bytes() == before

    def test_labels_beyond_the_classes(self, data):
        changed = self.poisoned(data, lambda values, labels: None)
        changed.train.labels[0] = 10  # after the data set has looked at them
        with pytest.raises(TrainingError, match="labels of 0 to 9, got 0 to 10"):
            es.fit(network(), changed, **SETTINGS)

    def test_labels_of_another_length(self, data):
        with pytest.raises(DataError, match=r"expected a label for each of 100 images.*99"):
            Images(data.train.values, data.train.labels[:99])

    @pytest.mark.parametrize(
        ("x", "y", "words"),
        [
            (torch.zeros(8, 4, 64), torch.zeros(4, dtype=torch.long), "4 time steps first"),
            (torch.zeros(4, 64), torch.zeros(4, dtype=torch.long), "4 time steps first"),
            (torch.zeros(4, 8, 64), torch.zeros(4, dtype=torch.long), "expected 8 labels"),
            (torch.zeros(4, 2, 64), torch.zeros(2, 10, dtype=torch.long), "expected 2 labels"),
        ],
    )
    def test_a_wrong_time_axis_and_labels(self, x, y, words):
        with pytest.raises(TrainingError, match=f"here: .*{words}") as error:
            batches.check(x, y, 4, 10, "here")
        assert "\n" not in str(error.value)

    def test_nan_in_a_moving_input_is_placed(self):
        x = torch.zeros(4, 3, 64)
        x[2, 1, 5] = float("inf")
        with pytest.raises(TrainingError, match="sample 2 at time step 3"):
            batches.check(x, torch.zeros(3, dtype=torch.long), 4, 10, "here")
