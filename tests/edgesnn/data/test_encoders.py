"""Encoders are their equations."""

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesnn.data import encoders
from edgesnn.errors import DataError


def test_direct_repeats_without_copies():
    x = torch.rand(3, 2)
    encoded = encoders.direct(x, 4)
    assert encoded.shape == (4, 3, 2)
    assert encoded.data_ptr() == x.data_ptr()
    assert (encoded == x).all()


def test_rate_is_bernoulli_and_seeded():
    x = torch.tensor([0.0, 0.3, 1.0])
    a, b = (encoders.rate(x, 4000, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(a, b)
    assert a.unique().tolist() == [0, 1]
    assert a.mean(0).tolist() == pytest.approx([0, 0.3, 1], abs=0.03)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(1, 9))
def test_latency_fires_once_and_earlier_for_more(values, steps):
    x = torch.tensor(values, dtype=torch.float64)
    spikes = encoders.latency(x, steps)
    assert spikes.sum(0).tolist() == [float(value > 0) for value in values]
    for i, value in enumerate(values):
        if value > 0:
            assert spikes[:, i].argmax().item() == round((1 - value) * (steps - 1))


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=20))
def test_delta_follows_the_signal_within_a_threshold_when_it_is_slow(moves):
    x = torch.cumsum(torch.tensor([0, *moves], dtype=torch.float64) / 100, 0)[:, None]
    spikes = encoders.delta(x, 0.5)
    assert spikes[0] == 0
    assert set(spikes.flatten().tolist()) <= {-1.0, 0.0, 1.0}
    followed = x[0] + 0.5 * torch.cumsum(spikes, 0)
    assert ((x - followed).abs() < 0.5 + 1e-9).all()


def test_delta_of_integers_is_that_of_their_values():
    x = torch.tensor([[9], [5], [5], [0], [255]], dtype=torch.uint8)
    spikes = encoders.delta(x, 2.0)
    assert spikes.dtype == torch.float32
    assert spikes.flatten().tolist() == [0, -1, -1, -1, 1]
    assert torch.equal(spikes, encoders.delta(x.float(), 2.0))


def test_encoders_are_found_without_being_imported():
    code = "import torch, edgesnn as es; print(es.data.encoders.direct(torch.ones(1), 2).tolist())"
    result = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[[1.0], [1.0]]"


def test_bad_input_is_one_line():
    generator = torch.Generator()
    for call, words in [
        (lambda: encoders.direct(torch.zeros(1), 0), "at least 1"),
        (lambda: encoders.direct(torch.zeros(1), 2.5), "whole number, got 2.5"),
        (lambda: encoders.delta(torch.zeros(0, 3), 1.0), r"at least 1 time step, got \(0, 3\)"),
        (lambda: encoders.delta(torch.tensor(1.0), 1.0), r"at least 1 time step, got \(\)"),
        (lambda: encoders.rate(torch.tensor([1.5]), 2, generator), r"\[0, 1\], got 1.5"),
        (lambda: encoders.latency(torch.tensor([-0.5]), 2), "scale them"),
        (lambda: encoders.delta(torch.zeros(2), 0.0), "threshold above 0"),
    ]:
        with pytest.raises(DataError, match=words):
            call()
