"""Where the work of a step goes: instructions by kernel, operations that follow spikes, bytes by the stated model."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from random_models import RandomModel, Shape

from edgesnn import report as reports
from edgesnn.export.c_plan import program
from edgesnn.report import energy, work
from edgesnn.report.activity import watch
from edgesnn.report.schema import Report
from edgesnn.runtime import Model
from edgesnn.runtime.profile import Profile

# x int8 [13] -> 11 binary weights, LIF -> 9 int8 weights on binary spikes, EMPF -> readout of 3
SHAPE = Shape(hidden=(("BinaryLinear", 11), ("Linear", 9)), neurons=("LIF", "EMPF"))
COUNTED = Profile(
    "tiny", 10, 5,
    layers=(
        Counter(esnn_binary_linear=3000, esnn_lif=500),
        Counter(esnn_event_linear=2000),
        Counter(esnn_linear=700, esnn_trace=55),
    ),
    between=Counter(memcpy=70),
    learning=Counter(esnn_learn_readout=6000),
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Model:
    folder = tmp_path_factory.mktemp("work")
    RandomModel(SHAPE, seed=9).write(folder, vectors=False)
    return Model.load(folder)


@pytest.fixture(scope="module")
def planned(model):
    return program(model)


def test_counts_are_means_of_a_step_by_kernel(planned):
    entries = work.layers(planned, COUNTED, {})
    assert [entry["name"] for entry in entries] == ["fc0", "fc1", "readout", "step"]
    assert entries[0]["kernels"] == {"esnn_binary_linear": 300, "esnn_lif": 50}
    assert [entry["instructions"] for entry in entries] == [350, 200, 76, 7]
    assert work.learning(COUNTED) == {"instructions": 1200, "kernels": {"esnn_learn_readout": 1200}}


def test_operations_follow_what_is_active_and_macs_do_not(planned):
    shares = {"x": 0.5, **dict.fromkeys(work.watched(planned)[1:], 0.25)}
    dense, event, readout, _ = work.layers(planned, COUNTED, shares)
    assert (dense["macs"], dense["synaptic_operations"]) == (13 * 11, round(13 * 11 / 2))
    assert (event["macs"], event["synaptic_operations"]) == (11 * 9, round(11 * 9 / 4))
    assert (dense["input_rate"], dense["spike_rate"], event["input_rate"]) == (0.5, 0.25, 0.25)
    assert readout["spike_rate"] is None


def test_bytes_of_events_follow_the_spikes(planned):
    """x 11, sums 36 written and read, M and b 36 each, current 36 written and read, v read and written, s 9, scalars;
    weights of 11 rows of 12."""
    spikes = work.watched(planned)[1]
    quiet, loud = (work.layers(planned, COUNTED, {spikes: share})[1]["bytes_moved"] for share in (0.0, 1.0))
    assert loud - quiet == 11 * 12
    assert quiet == 11 + 36 + (36 + 36 + 36 + 36) + (36 + 36 + 4 + 4 + 9 + 36)


def test_energy_is_of_additions_where_no_weight_is_multiplied(planned):
    dense, event, readout, _ = work.layers(planned, COUNTED, {})
    assert dense["operations_nj"] == pytest.approx((143 * 0.1 + dense["bytes_moved"] * 1.25) / 1000)
    assert readout["operations_nj"] == pytest.approx((27 * 3.2 + readout["bytes_moved"] * 1.25) / 1000)
    assert event["core_nj"] == pytest.approx(200 * 0.07)


def test_activity_is_what_the_model_computes(model, planned):
    frames, shares = watch(model, work.watched(planned), 6)
    assert frames.shape == (6, 13)
    assert shares["x"] == np.count_nonzero(frames) / frames.size
    assert shares.keys() == set(work.watched(planned))
    fired = shares[work.watched(planned)[1]]
    assert 0 < fired < 1
    assert (fired * 6 * 11) == pytest.approx(round(fired * 6 * 11))


def test_rows_of_a_file_are_counted_over(model, planned, tmp_path):
    rows = tmp_path / "rows.csv"
    rows.write_text("\n".join([",".join(f"c{i}" for i in range(13)), *[",".join(["0.0"] * 13)] * 3]) + "\n")
    frames, shares = watch(model, work.watched(planned), 40, str(rows))
    assert len(frames) >= 3
    assert shares["x"] == 0.0


def test_page_and_file_hold_it(planned):
    content = {"id": "tiny", "steps": 10, "source": "noise", "energy_model": energy.MODEL,
               "layers": work.layers(planned, COUNTED, {"x": 0.5}), "learning": work.learning(COUNTED)}  # fmt: skip
    told = {
        "id": "tiny",
        "flash_bytes": 8990,
        "ram_bytes": 900,
        "stack_bytes": 200,
        "call_stack_bytes": {"esnn_step": 90},
    }
    use = {"id": "tiny", "flash_bytes": 9000, "ram_bytes": 900, "arena_bytes": 300, "stack_bytes": 188,
           "instructions_per_step": 633, "instructions_per_learn": 1200}  # fmt: skip
    text = reports.render(Report.parse({"work": content, "prediction": told, "board": use}))
    for shown in (
        "esnn_binary_linear",
        "esnn_learn_readout",
        "estimate: 45 nm",
        "50.0 %",
        "8,990",
        "9,000",
        "188",
        "esnn_step",
    ):
        assert shown in text
    small = Report.parse({"prediction": told | {"board_flash_bytes": 8989, "board_ram_bytes": 1100}})
    assert small.prediction.overflow == "does not fit tiny: flash 8,990 of 8,989 bytes"
    assert "It does not fit tiny: flash 8,990 of 8,989 bytes." in reports.render(small)
    full = Report.parse({"prediction": told | {"board_flash_bytes": 8990, "board_ram_bytes": 1099}})
    assert full.prediction.overflow == "does not fit tiny: RAM and stack 1,100 of 1,099 bytes"
    assert "does not fit" not in text
    alone = reports.render(Report.parse({"prediction": told}))
    assert "linked or seen" in text
    assert "linked or seen" not in alone
