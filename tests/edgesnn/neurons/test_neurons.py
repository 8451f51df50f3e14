"""EM-PF and LIF against their equations, parameters, gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesnn import neurons
from edgesnn.errors import ConfigError
from edgesnn.neurons import EMPF, LIF, SURROGATES, empf_step, lif_step, parallel_empf_step

VALUES = st.lists(st.floats(-8, 8, width=32), min_size=4, max_size=4)


@given(current=VALUES, v=VALUES, lam=st.floats(0, 1), theta=st.floats(0.125, 4))
def test_empf_emits_what_it_subtracts(current, v, lam, theta):
    i, u = torch.tensor(current).double(), torch.tensor(v).double()
    s, v_new = empf_step(i, u, torch.tensor(lam, dtype=i.dtype), torch.tensor(theta, dtype=i.dtype))
    m = lam * u + i
    torch.testing.assert_close(s, torch.where(m > theta, m - theta, 0.0))
    torch.testing.assert_close(s + v_new, m)
    assert (v_new <= theta + 1e-12).all()


@given(current=VALUES, v=VALUES, lam=st.floats(0, 1), theta=st.floats(0.125, 4))
def test_lif_fires_at_threshold_and_subtracts_it(current, v, lam, theta):
    i, u = torch.tensor(current).double(), torch.tensor(v).double()
    s, v_new = lif_step(i, u, lam, theta)
    m = lam * u + i
    assert torch.equal(s, (m >= theta).double())
    torch.testing.assert_close(v_new, m - theta * s)


def test_lif_fires_when_the_membrane_equals_the_threshold():
    s, v = lif_step(torch.tensor([1.0]), torch.zeros(1), lam=0.5, theta=1.0)
    assert s.item() == 1
    assert v.item() == 0


def test_surrogates_are_equations_5_and_6():
    distance = torch.tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 0.9, 3.0])
    assert SURROGATES["rectangle"](distance, 2.0).tolist() == [0, 0, 0.5, 0.5, 0.5, 0.5, 0]
    torch.testing.assert_close(
        SURROGATES["triangle"](distance, 2.0), torch.tensor([0, 0.25, 0.375, 0.5, 0.375, 0.275, 0])
    )


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_lif_backward_uses_the_surrogate(surrogate):
    current = torch.linspace(-1, 3, 9, dtype=torch.float64, requires_grad=True)
    s, _ = lif_step(current, torch.zeros(9, dtype=torch.float64), 0.5, 1.5, surrogate)
    s.sum().backward()
    torch.testing.assert_close(current.grad, SURROGATES[surrogate](current.detach() - 1.5, 1.5))


def test_empf_gradient_is_one_where_it_fires():
    current = torch.tensor([0.5, 1.5, 7.0], requires_grad=True)
    s, _ = empf_step(current, torch.zeros(3), torch.tensor(0.5), torch.tensor(1.0))
    s.sum().backward()
    assert current.grad.tolist() == [0, 1, 1]


@pytest.mark.parametrize("lam", [0.0, 0.3, 0.97, 1.0])
@pytest.mark.parametrize("theta", [0.01, 1.0, 20.0])
def test_empf_starts_at_the_values_given(lam, theta):
    neuron = EMPF(lam=lam, theta=theta, steps=3)
    torch.testing.assert_close(neuron.lam_values(), torch.full((3,), lam))
    torch.testing.assert_close(neuron.theta_values(), torch.full((3,), theta))


def test_empf_parameters_stay_in_range_however_large_a_step():
    neuron = EMPF()
    with torch.no_grad():
        neuron.lam_raw.add_(100)
        neuron.theta_raw.sub_(50)
    assert 0 <= neuron.lam_values().item() <= 1
    assert neuron.theta_values().item() > 0


def test_empf_trains_leak_and_threshold():
    neuron = EMPF(lam=0.5, theta=1.0)
    s, v = neuron(torch.full((1, 2), 2.0), torch.full((1, 2), 0.5), 0)
    (s + v).square().sum().backward()
    assert neuron.lam_raw.grad.abs().item() > 0
    s, _ = neuron(torch.full((1, 2), 2.0), None, 0)
    s.sum().backward()
    assert neuron.theta_raw.grad.abs().item() > 0


def test_no_gradient_reaches_a_leak_of_exactly_one():
    neuron = EMPF(lam=1.0)
    s, _ = neuron(torch.full((1, 2), 2.0), torch.full((1, 2), 0.5), 0)
    s.sum().backward()
    assert neuron.lam_raw.grad.item() == 0


def test_per_step_parameters_repeat_with_their_period():
    neuron = EMPF(steps=2)
    with torch.no_grad():
        neuron.theta_raw.copy_(torch.tensor([1.0, 5.0]))
    current = torch.full((1, 1), 4.0)
    at = [neuron(current, None, t)[0].item() for t in range(4)]
    assert at[0] == at[2] != at[1] == at[3]


def test_parallel_neuron_has_no_membrane_and_no_leak():
    neuron = EMPF(parallel=True, theta=1.0)
    s, v = neuron(torch.tensor([[0.5, 3.0]]), None, 5)
    assert v is None
    torch.testing.assert_close(s, parallel_empf_step(torch.tensor([[0.5, 3.0]]), torch.tensor(1.0)))
    assert neuron.lam_values().tolist() == [0]
    assert [name for name, _ in neuron.named_parameters()] == ["theta_raw"]


@pytest.mark.parametrize("neuron", [EMPF(0.7, 2.0, steps=4), EMPF(parallel=True), LIF(0.9, 0.5, "rectangle")])
def test_config_rebuilds_the_neuron(neuron):
    again = neurons.build(neuron.config())
    assert type(again) is type(neuron)
    assert again.config() == neuron.config()
    assert torch.equal(again.lam_values(), neuron.lam_values())
    assert torch.equal(again.theta_values(), neuron.theta_values())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: EMPF(lam=1.5), "lam in"),
        (lambda: EMPF(theta=0.0), "theta > 0"),
        (lambda: EMPF(theta=float("inf")), "theta > 0"),
        (lambda: EMPF(steps=0), "steps >= 1"),
        (lambda: LIF(lam=-0.1), "lam in"),
        (lambda: LIF(lam=float("nan")), "lam in"),
        (lambda: LIF(surrogate="step"), "rectangle"),
        (lambda: neurons.build({"kind": "izhikevich"}), "izhikevich"),
        (lambda: neurons.build({"kind": "lif", "tau": 2}), "tau"),
    ],
)
def test_bad_arguments_are_one_line(make, words):
    with pytest.raises(ConfigError, match=words) as error:
        make()
    assert "\n" not in str(error.value)
