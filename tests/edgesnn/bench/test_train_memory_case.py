"""What autograd keeps, counted: flat in T for online rules, growing for BPTT."""

import pytest
import torch

from edgesnn.bench import small_vgg
from edgesnn.bench.cases import train_memory


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(small_vgg, "CHANNELS", (4, 4, 4, 4))
    monkeypatch.setattr(
        small_vgg,
        "batch",
        lambda steps: (torch.rand(1, 2, 1, 28, 28).expand(steps, -1, -1, -1, -1), torch.tensor([0, 1])),
    )
    monkeypatch.setattr(train_memory, "batch", small_vgg.batch)


def test_online_rules_are_flat_and_bptt_is_not():
    for method in ("sltt", "sltt1", "empf"):
        assert train_memory.saved_bytes(method, 1) == train_memory.saved_bytes(method, 3) > 0
    one, three = train_memory.saved_bytes("bptt", 1), train_memory.saved_bytes("bptt", 3)
    assert 2.9 * one < three < 3.1 * one
    assert train_memory.saved_bytes("empf", 1) < 0.7 * train_memory.saved_bytes("sltt", 1)


def test_a_tensor_that_is_kept_twice_counts_once():
    x = torch.rand(100, requires_grad=True)
    meter = train_memory._Meter(set())
    with torch.autograd.graph.saved_tensors_hooks(meter.pack, lambda kept: kept.tensor):
        y = x * x
        assert meter.now == 400
        (y.exp() * y).sum().backward()
    assert (meter.now, meter.most) == (0, 1200)  # x, y and exp(y)


def test_peak_of_a_process():
    result = train_memory.peak("sltt1", 1)
    assert 0 <= result["peak_growth_bytes"] < result["peak_bytes"]
