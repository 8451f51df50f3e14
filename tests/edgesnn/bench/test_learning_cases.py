"""The cost of a learning step and the soak of a million of them: small in every run."""

from __future__ import annotations

import mmap

import pytest
import torch

from edgesnn import export
from edgesnn.bench import spiking_net
from edgesnn.bench.cases import learn_cost, soak
from edgesnn.runtime.native import NativeSession

KEYS = {"learn_over_forward", "learning_instructions", "forward_instructions", "arena_bytes", "text_bytes"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """256-16-10."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spiking_net, "HIDDEN", 16)
        made = spiking_net.export_spiking_net(tmp_path_factory.mktemp("spiking"))
    torch.set_num_threads(threads)
    return made


def test_spikes_have_the_activity_and_the_classes_that_are_said():
    frames, labels = spiking_net.spikes(20, seed=3, hold=2)
    assert frames.shape == (20, 2, 256)
    assert set(frames.ravel()) == {0, 1}
    assert (frames.sum(axis=2) == 32).all()
    assert labels.tolist() == [*range(10), *range(10)]


def test_cost(model, emulator):
    measured = learn_cost.measure(model, emulator, steps=2)
    assert set(measured.figures) == KEYS
    assert measured.figures["learn_over_forward"] > 1
    assert measured.figures["arena_bytes"] > model.snapshot_bytes
    assert 1000 < measured.figures["text_bytes"] < 20000
    work = {row["function"] for row in measured.rows}
    assert {"esnn_readout_error", "esnn_backward_linear", "esnn_lif_gradient"} <= work


def test_a_small_soak(model, monkeypatch):
    export.c(model.path)
    plan = soak.Plan(steps=2000, batch=100, replayed=3)
    figures = soak.measure(model, plan).figures
    assert (figures["steps"], figures["differences"], figures["stack_growth_bytes"]) == (2000, 0, 0)
    assert figures["rss_growth_bytes"] < 2**16
    assert figures["changed_weights"] > 0
    step = NativeSession.step
    monkeypatch.setattr(NativeSession, "step", lambda session, x: step(session, x) + 1)
    assert soak.measure(model, plan).figures["differences"] == 3


def test_a_soak_sees_memory_that_grows(model, monkeypatch):
    repeat, kept = NativeSession.repeat, []

    def leak(session, *steps):
        kept.append(mmap.mmap(-1, 2**22))  # pages of its own: the heap may have as much to give again
        kept[-1].write(b"x" * 2**22)
        return repeat(session, *steps)

    monkeypatch.setattr(NativeSession, "repeat", leak)
    assert soak.measure(model, soak.Plan(steps=100, batch=10, replayed=1)).figures["rss_growth_bytes"] >= 2**22
