"""Binary weights with their straight-through gradient, and the leaky readout."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgesnn.errors import ConfigError
from edgesnn.layers import BinaryConv2d, BinaryLinear, Readout, binarize, leaky_integrate


@given(st.lists(st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_binarize_is_sign_times_mean_magnitude_of_the_channel(rows):
    weight = torch.tensor(rows)
    result = binarize(weight)
    for w, b in zip(weight, result, strict=True):
        scale = w.abs().mean()
        assert torch.equal(b, torch.where(w < 0, -scale, scale))


def test_sign_of_zero_is_plus_one():
    assert binarize(torch.tensor([[0.0, -0.0, -3.0]])).tolist() == [[1, 1, -1]]


def test_gradient_passes_where_the_weight_is_at_most_one():
    weight = torch.tensor([[-1.5, -1.0, 0.0, 0.5, 1.0, 1.01]], requires_grad=True)
    (binarize(weight) * torch.arange(1.0, 7.0)).sum().backward()
    assert weight.grad.tolist() == [[0, 2, 3, 4, 5, 0]]


def test_linear_and_conv_use_the_same_weights():
    torch.manual_seed(0)
    linear = BinaryLinear(6, 5, bias=False)
    conv = BinaryConv2d(6, 5, 1, bias=False)
    with torch.no_grad():
        conv.weight.copy_(linear.weight[:, :, None, None])
    x = torch.rand(3, 6)
    torch.testing.assert_close(linear(x), conv(x[:, :, None, None])[:, :, 0, 0])
    torch.testing.assert_close(linear(x), x @ binarize(linear.weight).T)


def test_conv_keeps_padding_and_one_scale_per_output_channel():
    conv = BinaryConv2d(2, 3, 3, padding=1, bias=False)
    x = torch.rand(1, 2, 5, 5)
    expected = torch.nn.functional.conv2d(x, binarize(conv.weight), padding=1)
    assert torch.equal(conv(x), expected)
    assert conv(x).shape == (1, 3, 5, 5)
    assert all(len(w.abs().unique()) == 1 for w in binarize(conv.weight))


def test_readout_accumulates_with_its_leak():
    readout = Readout(4, 2, leak=0.5)
    logits = torch.tensor([[[1.0, 0.0]], [[2.0, 4.0]], [[0.0, 0.0]]])
    assert leaky_integrate(readout, logits).tolist() == [[[1, 0]], [[2.5, 4]], [[1.25, 2]]]


@pytest.mark.parametrize("leak", [-0.1, 1.1, float("nan")])
def test_readout_refuses_a_leak_out_of_range(leak):
    with pytest.raises(ConfigError, match=r"leak in \[0, 1\]"):
        Readout(4, 2, leak)
