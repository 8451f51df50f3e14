"""EM-PF version II: what it is without its norm, its statistics by time step, and the version I left of it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesnn.neurons import EMPF, MembraneNormEMPF


def trained(steps: int | None, channels: int, seed: int, dtype: torch.dtype = torch.float32) -> MembraneNormEMPF:
    """Parameters and statistics as after some training, different in every step and channel."""
    neuron = MembraneNormEMPF(0.7, 0.4, steps=steps, w1=0.6, w2=0.7).sized(channels)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*neuron.parameters(), neuron.running_mean):
            tensor.add_(0.5 * torch.randn(tensor.shape, generator=generator))
        neuron.running_var.mul_(0.2 + torch.rand(neuron.running_var.shape, generator=generator))
    return neuron.to(dtype)


def run(neuron, currents):
    v, spikes = None, []
    for t, current in enumerate(currents):
        s, v = neuron(current, v, t)
        spikes.append(s)
    return torch.stack(spikes), v


@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("training", [True, False])
def test_without_its_norm_it_is_version_one(steps, training):
    currents = 2 * torch.randn(5, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one, two = EMPF(0.8, 0.9, steps=steps), MembraneNormEMPF(0.8, 0.9, steps=steps, w1=1.0, w2=0.0).sized(3)
    torch.testing.assert_close(run(two.double().train(training), currents), run(one.double(), currents))


@pytest.mark.parametrize("shape", [(3,), (3, 2, 4)])
@settings(max_examples=30)
@given(steps=st.sampled_from([None, 1, 4]), seed=st.integers(0, 999))
def test_reparameterized_it_gives_the_same(shape, steps, seed):
    neuron = trained(steps, 3, seed).eval()
    currents = 2 * torch.randn(6, 5, *shape, generator=torch.Generator().manual_seed(seed))
    spikes, v = run(neuron, currents)
    folded = run(neuron.reparameterize(), currents)
    torch.testing.assert_close(folded[0], spikes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(folded[1], v, atol=1e-5, rtol=1e-5)
    assert v.count_nonzero() > 0


def test_every_time_step_has_statistics_of_its_own():
    neuron = MembraneNormEMPF(steps=2, w2=1.0).sized(3)
    current = torch.randn(64, 3, generator=torch.Generator().manual_seed(0)) + 5
    neuron(current, None, 0)
    assert neuron.running_mean[0].min() > 0.4
    assert neuron.running_mean[1].abs().max() == 0
    neuron.eval()(current, None, 1)
    assert neuron.running_mean[1].abs().max() == 0


def test_all_its_parameters_learn():
    neuron = trained(2, 3, 0)
    spikes, v = run(neuron, 2 * torch.randn(4, 8, 3, generator=torch.Generator().manual_seed(1)))
    (spikes.square().sum() + v.square().sum()).backward()
    assert all(parameter.grad.abs().min() > 0 for parameter in neuron.parameters())
