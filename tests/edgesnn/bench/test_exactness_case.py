"""Random networks: equal everywhere, all functions among them, and a backend that is wrong is noticed."""

import shutil
from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgesnn import export
from edgesnn.bench.cases import exactness
from edgesnn.bench.random_network import RandomNetwork
from edgesnn.export.functions import FUNCTIONS, means
from edgesnn.export.vectors import write_vectors
from edgesnn.runtime.ort import OrtSession
from edgesnn.runtime.vector_file import read
from edgesnn.runtime.verify import verify

#: Functions of class means, which tests/export draws networks for.
ELSEWHERE = {name for name in vars(means) if name in FUNCTIONS}
#: Called by other functions alone.
INNER = {
    "UnpackSigns", "UnpackFields", "Integrate", "Grade", "ChannelScore", "Mix", "StochasticShift", "SoftmaxError",
    "LearningKey", "PairwiseRandom", "Move", "Descend", "PackSigns", "SeenFrom", "PixelsUnder", "TakePixels",
    "WindowsOverPixels", "PixelsOfWindows", "ByGroup", "ConvStep", "Triangle",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("network")


@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_a_random_network_gives_the_same_integers_everywhere(folder, random):
    shutil.rmtree(folder)
    folder.mkdir()
    write_vectors(RandomNetwork(random).write(folder))
    export.c(folder)
    checks = verify(folder, ["reference", "ort", "native"], steps=6)
    assert [check.difference for check in checks if check.difference] == []


def test_figures():
    measured = exactness.measure(4, 7, {})
    assert (measured.figures["networks"], measured.figures["differences"]) == (4, 0)
    rows = {(row["backend"], row["graph"]): row for row in measured.rows}
    assert {backend for backend, _ in rows} == {"reference", "ort", "native"}
    assert {graph for _, graph in rows} == {"step", "learn", "window", "vectors"}
    assert rows["ort", "step"]["networks"] == rows["native", "step"]["networks"] == 4
    assert 0 <= measured.figures["hidden_moved"] <= measured.figures["hidden_learn"] <= 4
    assert measured.figures["steps"] == sum(row["steps"] for row in measured.rows)


def test_a_wrong_backend_is_counted_and_named(monkeypatch):
    run = OrtSession._run
    monkeypatch.setattr(
        OrtSession, "_run", lambda self, graph, feeds: {k: v + (k == "y") for k, v in run(self, graph, feeds).items()}
    )
    measured = exactness.measure(2, 7, {})
    rows = {(row["backend"], row["graph"]): row for row in measured.rows}
    assert measured.figures["differences"] == 6  # steps, windows and stored vectors of two networks
    assert rows["ort", "step"]["first"].startswith("network 7-0: step 0: y[0]: expected ")
    assert rows["native", "step"]["differences"] == 0


def test_a_network_that_a_backend_refuses_is_counted(monkeypatch):
    def refuse(self, graph, feeds):
        raise RuntimeError("no such operator")

    monkeypatch.setattr(OrtSession, "_run", refuse)
    measured = exactness.measure(1, 7, {})
    assert measured.figures["differences"] == 1
    assert "OrtSession runs, got RuntimeError: no such operator" in measured.rows[0]["first"]


def test_a_text_draws_the_same_network_again(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        RandomNetwork(Random("7-3")).write(tmp_path / name)
    assert (tmp_path / "a" / "step.onnx").read_bytes() == (tmp_path / "b" / "step.onnx").read_bytes()


def test_hidden_weights_of_most_networks_that_learn_them_move(tmp_path):
    moved = []
    for number in range(36):
        network = RandomNetwork(Random(f"3-{number}"))
        if network.depth and network.depth.weights:
            model = network.write(tmp_path)
            write_vectors(model)
            moved.append(exactness.hidden_weights_moved(model))
    found = [each for each in moved if each is not None]  # of pools alone, there are no weights
    assert len(found) >= 10
    assert np.mean(found) >= 0.7


def test_networks_are_active(tmp_path):
    active = 0
    for number in range(10):
        model = RandomNetwork(Random(f"0-{number}")).write(tmp_path)
        write_vectors(model)
        active += len(np.unique(read(model).y)) > 5
    assert active >= 6


@pytest.mark.long
def test_several_processes_measure_the_same():
    assert exactness.measure(3, 7, {}, workers=2) == exactness.measure(3, 7, {})


@pytest.mark.long
def test_networks_use_every_function(tmp_path):
    used = set()
    for number in range(300):
        network = RandomNetwork(Random(f"0-{number}"))
        network.write(tmp_path)
        used |= network.functions
    assert set(FUNCTIONS) - used - ELSEWHERE - INNER == set()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
def test_a_thousand_networks_give_the_same_integers_everywhere(seed):
    measured = exactness.measure(250, seed, exactness._SAMPLED)
    assert measured.figures["differences"] == 0, [row["first"] for row in measured.rows]
    assert measured.figures["networks_tvm"] >= 5
