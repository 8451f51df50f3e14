"""The power-cut bench on a small model: its keys, its zeros, and that it would see a state that is lost or torn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgesnn.bench.cases import power_cut
from edgesnn.runtime import state

KEYS = {"cuts", "torn", "lost_older", "stuck", "flips", "undetected", "violations", "state_bytes"}


def test_nothing_is_torn_or_lost(small_model, tmp_path, monkeypatch):
    small = {
        name: (replace(geometry, block_bytes=max(geometry.write_bytes, geometry.block_bytes // 16)), patterns)
        for name, (geometry, patterns) in power_cut._PARTITIONS.items()
    }
    monkeypatch.setattr(power_cut, "_PARTITIONS", small)
    states = power_cut.learned_states(small_model, 4)
    assert len(np.unique(states, axis=0)) == 4
    measured = power_cut.measure(small_model, states, tmp_path, thin=16)
    wear = {f"saves_per_erase.{name}" for name in power_cut._PARTITIONS}
    assert set(measured.figures) == KEYS | wear
    assert measured.figures["cuts"] > 1000
    assert measured.figures["flips"] > 1000
    assert all(measured.figures[key] == 0 for key in KEYS - {"cuts", "flips", "state_bytes"})
    assert all(measured.figures[key] >= 2 for key in wear)
    assert sum(row["cuts"] for row in measured.rows) == measured.figures["cuts"]
    assert measured.rows[-1]["cuts"] == 3 * -(-(32 + small_model.snapshot_bytes) // 16)


@pytest.mark.parametrize("mistake", ["one slot", "no checksum"])
def test_a_broken_save_would_be_seen(tmp_path, monkeypatch, mistake):
    states = np.random.default_rng(1).integers(0, 256, (3, 24), np.uint8)
    written = state._write
    if mistake == "one slot":
        monkeypatch.setattr(state, "_write", lambda file, offset, data: written(file, offset % 56, data))
    else:
        monkeypatch.setattr(state, "decode", trusting)
    row = power_cut._file(7, states, tmp_path / "cut.state", 1)
    assert row["torn"] + row["lost_older"] > 0


def trusting(index, raw):
    return state.Slot(index, 7, raw[16], raw[32:56]) if any(raw[32:56]) else None
