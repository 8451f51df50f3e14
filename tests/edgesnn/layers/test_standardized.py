"""Standardized synapses and channel attention."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesnn.errors import ConfigError
from edgesnn.layers import (
    SECA,
    BinaryConv2d,
    Conv2d,
    Linear,
    Scale,
    StandardizedConv2d,
    StandardizedLinear,
    binarize,
    is_binary,
    standardize,
)


@given(inputs=st.integers(2, 200), gamma=st.floats(0.5, 4), seed=st.integers(0, 99))
def test_standardized_weights_have_mean_zero_and_the_variance_asked_for(inputs, gamma, seed):
    weight = 3 * torch.randn(4, inputs, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 1
    gain = torch.tensor([[1.0], [2.0], [0.5], [-1.0]], dtype=torch.float64)
    result = standardize(weight, gamma, gain)
    torch.testing.assert_close(result.mean(1), torch.zeros(4, dtype=torch.float64))
    power = result.square().sum(1) / (gamma * gain[:, 0]) ** 2  # 1, up to the small constant below the root
    assert ((power <= 1) & (power > 0.99)).all() or weight.var(1).min() < 0.01


def test_untrained_layers_keep_the_variance_of_their_input():
    torch.manual_seed(0)
    x = torch.randn(512, 256)
    assert StandardizedLinear(256, 400, bias=False)(x).var().item() == pytest.approx(1, rel=0.03)
    image = torch.randn(8, 16, 12, 12)
    assert StandardizedConv2d(16, 64, 3, bias=False)(image).var().item() == pytest.approx(1, rel=0.06)


def test_binary_after_standardization():
    layer = StandardizedLinear(6, 4, gamma=1.5, binary=True)
    weight = standardize(layer.weight, 1.5, layer.gain)
    torch.testing.assert_close(layer(torch.eye(6)), binarize(weight).T + layer.bias)
    assert all(len(row.abs().unique()) == 1 for row in binarize(weight))


@pytest.mark.parametrize("binary", [True, False])
def test_weights_and_gains_learn(binary):
    layer = StandardizedConv2d(2, 3, 3, padding=1, binary=binary)
    layer(torch.randn(2, 2, 5, 5, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    assert layer.weight.grad.abs().sum() > 0
    assert layer.gain.grad is not None


def test_is_binary():
    assert is_binary(BinaryConv2d(1, 1, 1))
    assert is_binary(StandardizedLinear(2, 2, binary=True))
    assert not any(is_binary(layer) for layer in (Linear(2, 2), Conv2d(1, 1, 1), StandardizedConv2d(1, 1, 1)))


@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 4, 3)])
def test_seca_scores_channels_by_their_neighbours(shape):
    seca, current = SECA(3), torch.randn(shape, generator=torch.Generator().manual_seed(0))
    means = torch.nn.functional.pad(current.flatten(2).mean(2) if len(shape) > 2 else current, (1, 1))
    kernel = seca.conv.weight.flatten()
    score = torch.sigmoid(sum(kernel[i] * means[:, i : i + 7] for i in range(3)))
    expected = current * score.reshape(2, 7, *[1] * (len(shape) - 2))
    torch.testing.assert_close(seca(current), expected)
    assert sum(p.numel() for p in seca.parameters()) == 3


def test_seca_variant_2_scores_both_currents_and_scales_one():
    seca = SECA(5)
    before, behind = torch.randn(2, 3, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    score = seca.score(before + behind)[:, :, None, None]
    torch.testing.assert_close(seca(behind, before), score * behind)


def test_scale():
    x = torch.ones(2, 2)
    assert Scale(0.5)(x).tolist() == [[0.5, 0.5]] * 2
    skip = Scale(0.2, trained=True)
    assert skip(x).abs().sum() == 0
    skip.gain.data.fill_(2.0)
    torch.testing.assert_close(skip(x), 0.4 * x)


@pytest.mark.parametrize("kernel", [0, 2, -1])
def test_seca_refuses_even_kernels(kernel):
    with pytest.raises(ConfigError, match="odd kernel"):
        SECA(kernel)
