"""The programs of the documentation run as they stand, one after the other, up to an exported model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from edgesnn import export, runs
from edgesnn.runtime.verify import verify

DOCS = Path(__file__).parents[1] / "docs"


def program(page: str) -> str:
    [block] = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return block


def test_the_configuration_of_the_documentation_builds_its_network() -> None:
    text = (DOCS / "training.md").read_text(encoding="utf-8")
    [block] = re.findall(r"^```toml\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    config = runs.parse_config(block, "training.md")
    net = runs.build_network(config, runs.load_data(config))
    assert [name for name in net.layers if name.startswith("neuron")] == ["neuron1", "neuron2"]


def test_data_and_network_of_the_documentation_go_the_whole_road(tmp_path: Path) -> None:
    names: dict[str, object] = {}
    exec(program("data.md") + program("networks.md"), names)
    es, net, data = names["es"], names["net"], names["data"]
    es.fit(net, data, es.rules.SLTT(), epochs=1, progress=False)
    export.onnx(es.quantize(net, weights=1, spikes={"neuron2": 1, "rest": 4}, calibrate=data), tmp_path)
    checks = verify(tmp_path, ["reference", "ort"], steps=4)
    assert all(check.difference is None for check in checks)
    assert sum(check.compared for check in checks) > 0


def test_the_loop_of_the_documentation_trains_the_classifiers_of_ttlbp() -> None:
    names: dict[str, Any] = {}
    exec(program("rules.md"), names)
    assert all(parameter.grad.abs().max() > 0 for parameter in names["local"].parameters())
