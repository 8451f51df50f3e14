"""Layers that draw by themselves: their draws follow from the seed of the training."""

import pytest
import torch

import edgesnn as es

SETTINGS = {"epochs": 2, "lr": 1e-2, "batch_size": 64, "progress": False}


def trained(seed, **options):
    net = es.models.recurrent(64, 16, 10, es.LIF(), weights="float", dropout=0.5)
    es.fit(net, es.data.digits(), es.rules.OTTT("online"), seed=seed, **{**SETTINGS, **options})
    return torch.cat([parameter.detach().flatten() for parameter in net.parameters()])


def test_dropout_repeats_with_the_seed_and_leaves_the_callers_draws_alone():
    torch.manual_seed(1)
    first, drawn = trained(0), torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(drawn, torch.rand(3))
    assert torch.equal(first, trained(0))
    assert not torch.equal(first, trained(1))


def test_dropout_goes_on_as_if_never_interrupted(tmp_path):
    class Interrupted(es.rules.OTTT):
        calls = 0

        def learn(self, *args):
            self.calls += 1
            if self.calls == 25:
                raise KeyboardInterrupt
            return super().learn(*args)

    net = es.models.recurrent(64, 16, 10, es.LIF(), weights="float", dropout=0.5)
    with pytest.raises(KeyboardInterrupt):
        es.fit(net, es.data.digits(), Interrupted("online"), checkpoint=tmp_path / "c.safetensors", **SETTINGS)
    torch.rand(7)
    assert torch.equal(trained(0, checkpoint=tmp_path / "c.safetensors", resume=True), trained(0))
