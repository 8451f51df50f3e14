"""The library as a whole: what a graph carries of it, and that nothing in it goes untested."""

from __future__ import annotations

import re
from pathlib import Path

import onnx
import pytest

from edgesnn.export.functions import DOMAIN, FUNCTIONS, OPSET, VERSION, protos

#: Helpers inside other functions, tested through them where not by name.
INNER = {
    "Integrate", "Grade", "MeanScores", "NearestClass", "LearningKey", "PairwiseRandom", "Descend", "ChannelScore",
    "Move", "PackSigns", "SeenFrom", "PixelsUnder", "TakePixels", "WindowsOverPixels", "PixelsOfWindows", "ConvStep",
    "ByGroup", "Triangle",
}  # fmt: skip


def test_protos_bring_their_callees_first():
    names = [proto.name for proto in protos({"LearnReadout", "BinaryLinear"})]
    wanted = {"UnpackSigns", "BinaryLinear", "Rescale", "Mix", "StochasticShift", "SoftmaxError", "LearnReadout"}
    assert set(names) == wanted
    assert len(names) == len(wanted)
    for caller, callee in (("BinaryLinear", "UnpackSigns"), ("LearnReadout", "Mix"), ("LearnReadout", "Rescale")):
        assert names.index(callee) < names.index(caller)
    assert protos(set()) == []


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_bodies_are_standard_onnx_or_other_functions(name):
    proto = next(proto for proto in protos({name}) if proto.name == name)
    assert (proto.domain, proto.name) == (DOMAIN, name)
    imports = {entry.domain: entry.version for entry in proto.opset_import}
    assert imports.get("", OPSET) == OPSET
    assert imports.get(DOMAIN, VERSION) == VERSION
    for node in proto.node:
        assert node.domain in ("", "ai.onnx", DOMAIN)
        if node.domain == DOMAIN:
            assert node.op_type in FUNCTIONS
        else:
            onnx.defs.get_schema(node.op_type, OPSET)


def test_every_function_has_a_test_against_its_formula():
    folder = Path(__file__).parent
    text = "".join(path.read_text() for path in folder.glob("test_*.py"))
    missing = [
        name for name in FUNCTIONS if name not in INNER and not re.search(rf'assert_function\(\s*"{name}"', text)
    ]
    assert missing == []
