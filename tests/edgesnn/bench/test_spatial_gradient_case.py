import pytest
import torch

import edgesnn as es
from edgesnn import bench
from edgesnn.bench.cases import spatial_gradient as case
from edgesnn.bench.registry import Benchmark


def batch():
    g = torch.Generator().manual_seed(0)
    return torch.randn(5, 6, 4, generator=g), torch.randint(3, (6,), generator=g)


def test_without_a_leak_backwards_in_time_both_gradients_point_the_same_way():
    net = es.models.mlp(4, [8, 7], 3, es.EMPF(parallel=True))
    assert list(case.cosines(net, *batch()).values()) == pytest.approx([1, 1], abs=1e-6)


def test_similarity_falls_with_tau_and_the_readout_is_not_counted():
    values = {lam: case.cosines(es.models.mlp(4, [8, 7], 3, es.LIF(lam)), *batch()) for lam in (0.0, 0.9)}
    assert list(values[0.0]) == ["linear1", "linear2"]
    assert sum(values[0.9].values()) < sum(values[0.0].values()) <= 2


def test_a_small_run_has_the_published_key_a_row_each_and_a_plot(tmp_path):
    def measure():
        return case.by_tau_and_steps(es.data.digits(), (3, 2), (1.1, 2.0), (2, 3), updates=2, every=1)

    result = bench.run(Benchmark("toy", "", (), measure))
    assert [(row["tau"], row["time_steps"]) for row in result.rows] == [(1.1, 2), (2.0, 2), (1.1, 3), (2.0, 3)]
    means = {(row["tau"], row["time_steps"]): row["mean"] for row in result.rows}
    assert result.figures == {"cos_tau_1_1": min(means[1.1, 2], means[1.1, 3])}
    bench.write(result, tmp_path / "toy.json")
    plot = (tmp_path / "toy.svg").read_text()
    assert plot.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "T = 3" in plot
    assert "svg" not in (tmp_path / "toy.json").read_text()
    page = (tmp_path / "toy.html").read_text()
    assert all(part in page for part in (plot.strip(), "cos_tau_1_1", "<th>time_steps</th>", result.machine.processor))
