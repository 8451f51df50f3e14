"""The arena plan: buffers that are alive together never overlap, and the arena is no larger than it must be."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_models import RandomModel, Shape

from edgesnn.export.c_memory import plan
from edgesnn.export.c_plan import c_plan

HIDDEN = st.lists(st.tuples(st.sampled_from(["BinaryLinear", "Linear"]), st.integers(1, 60)), min_size=1, max_size=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plans")


@given(hidden=HIDDEN, inputs=st.integers(1, 60), learn=st.booleans())
def test_living_buffers_do_not_overlap(folder, hidden, inputs, learn):
    program = c_plan_of(folder, Shape((inputs,), hidden=hidden, learn=learn))
    for arena in filter(None, (program.step_arena, program.learn_arena)):
        buffers = {id(b): b for b in arena.buffers.values()}.values()
        for a, b in combinations(buffers, 2):
            apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
            assert apart or not a.overlaps(b), (a, b)
        assert all(b.offset % 4 == 0 and b.offset >= program.model.snapshot_bytes for b in buffers)
        assert all(b.offset + b.nbytes <= program.arena_bytes for b in buffers)
        alive = [sum(b.nbytes for b in buffers if b.first <= at <= b.last) for at in range(len(program.step.nodes))]
        assert arena.end - program.model.snapshot_bytes >= max(alive)


def c_plan_of(folder, shape):
    model = RandomModel(shape, seed=1)
    model.write(folder, vectors=False)
    return c_plan(folder)


def test_a_current_takes_the_place_of_its_accumulator(folder):
    buffers = c_plan_of(folder, Shape()).step_arena.buffers
    assert buffers["fc0.I"] is buffers["fc0.a"]
    assert buffers["fc0.I"] is not buffers["n_fc0.s"]


def test_layers_and_their_bytes(folder):
    program = c_plan_of(folder, Shape((13,), hidden=(("BinaryLinear", 11), ("Linear", 9)), classes=3))
    fc0, fc1, readout = program.layers
    assert [layer.name for layer in program.layers] == ["fc0", "fc1", "readout"]
    assert fc0.flash_bytes == 11 * 2 + 2 * 4 * 11 + 4 + 4  # bits, M and b, lam and theta
    assert fc1.flash_bytes == 9 * 11 + 2 * 4 * 9 + 4 + 4
    assert (fc0.persistent_bytes, fc1.persistent_bytes) == (4 * 11, 4 * 9)
    assert readout.persistent_bytes == 3 * 9 + 4 * 3 + 4 * 3 + 4 * 9  # weight, bias, acc, trace
    assert fc0.scratch_bytes == 2 * 16 + 4 * 11 + 11  # inputs as int16, accumulator and current, spikes
    assert program.arena_bytes == max(program.step_arena.end, program.learn_arena.end)


def test_plan_is_deterministic(folder):
    program = c_plan_of(folder, Shape())
    again = plan(program.step, program.model.snapshot_bytes)
    assert again == program.step_arena
