"""EM-PF and LIF against their equations, parameters, gradients."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesnn import neurons, optimizers
from edgesnn.errors import ConfigError
from edgesnn.neurons import EMPF, IF, LIF, SURROGATES, MembraneNormEMPF, empf_step, lif_step, parallel_empf_step
from edgesnn.neurons.lif import lif_step_

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


@pytest.mark.parametrize("lam", [0.0, 1.0, 1 - 1e-12])
@pytest.mark.parametrize(
    "make", [EMPF, partial(EMPF, steps=2), partial(EMPF, per_channel=True), MembraneNormEMPF], ids=range(4)
)
@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_a_leak_of_exactly_zero_or_one_is_not_trained_and_stays(lam, make, kind):
    """Also where weights decay: its parameter is infinite, under the same name in checkpoints."""
    neuron, current = make(lam=lam).sized(3), torch.full((4, 3), 2.0) + torch.arange(4.0)[:, None]
    optimizer = optimizers.build({"kind": kind, "weight_decay": 0.5}, neuron.parameters(), 0.1)
    s, _ = neuron(current, torch.full((4, 3), 0.5), 0)
    s.square().sum().backward()
    optimizer.step()
    assert torch.equal(neuron.lam_values(), torch.full_like(neuron.lam_values(), round(lam)))
    assert neuron.lam_raw.grad is None
    assert "lam_raw" in neuron.state_dict()
    assert neuron.theta_raw.requires_grad


def test_other_leaks_are_trained_by_channel_too():
    assert all(p.requires_grad for make in (EMPF, MembraneNormEMPF) for p in make(lam=0.9).parameters())
    assert all(p.requires_grad for p in EMPF(per_channel=True).sized(3).parameters())


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


@given(current=VALUES, v=VALUES, theta=st.floats(0.125, 4), alpha=st.floats(0.1, 1))
def test_alpha_lowers_the_firing_point_alone(current, v, theta, alpha):
    i, u = torch.tensor(current).double(), torch.tensor(v).double()
    s, v_new = lif_step(i, u, 1.0, theta, alpha=alpha)
    assert torch.equal(s, (u + i >= alpha * theta).double())
    torch.testing.assert_close(v_new, u + i - theta * s)


@given(current=VALUES, v=VALUES, lam=st.floats(0, 1), theta=st.floats(0.125, 4))
def test_a_reset_to_zero_forgets_the_rest(current, v, lam, theta):
    i, u = torch.tensor(current).double(), torch.tensor(v).double()
    s, v_new = lif_step(i, u, lam, theta, reset="zero")
    m = lam * u + i
    assert torch.equal(s, (m >= theta).double())
    assert torch.equal(v_new, torch.where(m >= theta, 0.0, m))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("theta", [1.0, 0.3, torch.tensor(0.7)])
def test_a_strict_neuron_fires_above_the_threshold_alone(dtype, theta):
    at = torch.as_tensor(theta, dtype=dtype)
    m = torch.stack([at, torch.nextafter(at, at.new_tensor(9.0))])
    s, v = lif_step(m, torch.zeros(2, dtype=dtype), 0.5, theta, strict=True)
    assert s.tolist() == [0, 1]
    assert v[0] == m[0]


@given(
    current=VALUES, v=VALUES, lam=st.sampled_from([0.5, 1.0]), theta=st.sampled_from([0.5, 1.0]),
    alpha=st.sampled_from([0.5, 1.0]), reset=st.sampled_from(["subtract", "zero"]), strict=st.booleans(),
)  # fmt: skip
def test_the_step_in_place_is_the_same_one(current, v, lam, theta, alpha, reset, strict):
    i, u = torch.tensor(current), torch.tensor(v)
    s, v_new = lif_step(i, u, lam, theta, alpha=alpha, reset=reset, strict=strict)
    spikes = torch.empty(4)
    lif_step_(i, u, spikes, lam, theta, alpha, reset, strict)
    assert torch.equal(spikes, s)
    assert torch.equal(u, v_new)


def test_an_unknown_reset_is_refused():
    with pytest.raises(ConfigError, match="IF: expected reset to be one of"):
        IF(reset="hard")


def test_if_counts_and_forgets_nothing():
    neuron, v, fired = IF(theta=1.0), None, 0
    for t in range(10):
        s, v = neuron(torch.full((1, 1), 0.34), v, t)
        fired += s.item()
    assert fired == 3
    assert v.item() == pytest.approx(10 * 0.34 - fired)


@pytest.mark.parametrize("neuron", [IF(alpha=0.5), IF(), LIF(1.0, alpha=0.25)])
def test_firing_rate_rounds_as_alpha_says(neuron):
    """DSR eq. 18 and 21: N steps of a constant current I give floor(N I / theta + 1 - alpha) spikes."""
    for drive in (0.111, 0.34, 0.77):
        v, fired = None, 0
        for t in range(8):
            s, v = neuron(torch.full((1, 1), drive, dtype=torch.float64), v, t)
            fired += s.item()
        assert fired == int(8 * drive + 1 - neuron.alpha)


def test_lif_trains_its_threshold():
    neuron = LIF(theta=0.7, train_theta=True)
    torch.testing.assert_close(neuron.theta_values(), torch.tensor([0.7]))
    s, v = neuron(torch.tensor([[0.1, 0.9]]), torch.ones(1, 2), 0)
    (s.sum() + v.sum()).backward()
    assert neuron.theta_raw.grad.abs().item() > 0
    with torch.no_grad():
        neuron.theta_raw.sub_(50)
    assert neuron.theta_values().item() > 0


def test_a_given_width_replaces_theta_in_the_surrogate():
    current = torch.tensor([[0.9, 1.4]], requires_grad=True)
    LIF(theta=1.0, surrogate="rectangle", width=0.5)(current, None, 0)[0].sum().backward()
    assert current.grad.tolist() == [[2, 0]]


@pytest.mark.parametrize("steps", [None, 3])
@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 4, 3)])
def test_per_channel_empf_is_one_neuron_a_channel(steps, shape):
    neuron = EMPF(0.6, 1.2, steps=steps, per_channel=True).sized(5).double()
    generator = torch.Generator().manual_seed(0)
    for parameter in neuron.parameters():
        parameter.data.add_(torch.randn(parameter.shape, generator=generator))
    current, v = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    s, v_new = neuron(current, v, 2)
    lam, theta = neuron.lam_values(), neuron.theta_values()
    assert lam.shape == theta.shape == ((steps or 1), 5)
    for c in range(5):
        expected = empf_step(current[:, c], v[:, c], lam[-1, c], theta[-1, c])
        torch.testing.assert_close((s[:, c], v_new[:, c]), expected)


def test_prototypes_are_copied_and_unsized_ones_have_one_value():
    prototype = EMPF(per_channel=True)
    assert prototype.theta_values().shape == (1, 1)
    assert prototype.sized(4).theta_values().shape == (1, 4)
    assert prototype.sized(4).config() == prototype.config()
    shared = EMPF().sized(4)
    assert shared.theta_values().shape == (1,)


def test_temporal_gradient_is_constant_where_the_neuron_always_or_never_fires():
    """Theorem 4.2: what a step passes back in time does not depend on the membrane: 0 where it fires, lam where not."""
    v = torch.tensor([[0.3, 0.9, 0.1]], requires_grad=True)
    lam, theta = torch.tensor(0.5), torch.tensor(1.0)
    for current, factor in (([2.0, 5.0, 9.0], 0.0), ([-2.0, -5.0, 0.1], 0.5)):
        (grad,) = torch.autograd.grad(empf_step(torch.tensor([current]), v, lam, theta)[1].sum(), v)
        assert grad.tolist() == [[factor] * 3]


@pytest.mark.parametrize("neuron", [LIF(theta=0.8), IF(alpha=0.5), EMPF(theta=0.6), EMPF(parallel=True)])
def test_emission_variance_is_that_of_normal_currents(neuron):
    current = torch.randn(1, 200_000, generator=torch.Generator().manual_seed(0))
    spikes, _ = neuron(current, None, 0)
    assert neuron.emission_variance() == pytest.approx(spikes.var().item(), rel=0.02)


@pytest.mark.parametrize(
    "neuron",
    [
        EMPF(0.7, 2.0, steps=4),
        EMPF(parallel=True),
        EMPF(per_channel=True),
        LIF(0.9, 0.5, "rectangle"),
        LIF(width=0.5, alpha=0.5, train_theta=True),
        IF(0.5, "arctan", train_theta=True),
        neurons.MembraneNormEMPF(0.7, 2.0, steps=3, w1=0.5, w2=0.5),
        neurons.FoldedEMPF(steps=2),
    ],
)
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
        (lambda: EMPF(theta=1e300), r"theta > 0, 1.18e-38 to 3.4e\+38 as float32 has them, got 1e\+300"),
        (lambda: EMPF(theta=1e-300), "theta > 0, .*, got 1e-300"),
        (lambda: LIF(theta=float("nan")), "LIF: expected a threshold theta > 0, .*, got nan"),
        (lambda: neurons.MembraneNormEMPF(w1=float("nan")), "expected a finite w1, as float32 has them, got nan"),
        (lambda: neurons.MembraneNormEMPF(w2=-1e39), r"expected a finite w2, .*, got -1e\+39"),
        (lambda: EMPF(steps=0), "steps >= 1"),
        (lambda: LIF(lam=-0.1), "lam in"),
        (lambda: LIF(lam=float("nan")), "lam in"),
        (lambda: LIF(surrogate="step"), "rectangle"),
        (lambda: LIF(width=0.0), "width > 0"),
        (lambda: LIF(alpha=0.0), "alpha in"),
        (lambda: IF(alpha=1.5), "IF: expected alpha in"),
        (lambda: neurons.MembraneNormEMPF(steps=0), "steps >= 1"),
        (lambda: neurons.MembraneNormEMPF().sized(3)(torch.zeros(2, 4), None, 0), "3 channels, got 4"),
        (lambda: neurons.build({"kind": "if", "lam": 0.5}), "lam"),
        (lambda: neurons.build({"kind": "izhikevich"}), "izhikevich"),
        (lambda: neurons.build({"kind": "lif", "tau": 2}), "tau"),
    ],
)
def test_bad_arguments_are_one_line(make, words):
    with pytest.raises(ConfigError, match=words) as error:
        make()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("theta", [torch.finfo(torch.float32).tiny, 1.0, torch.finfo(torch.float32).max])
@pytest.mark.parametrize("make", [EMPF, LIF, lambda theta: LIF(theta=theta, train_theta=True)])
def test_the_least_and_the_largest_threshold_are_what_they_are_given_as(make, theta):
    assert make(theta=theta).theta_values().item() == pytest.approx(theta, rel=1e-5)
