"""The guard's own rule on a stream that nobody learned from."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from tiny_run import exported, movements

from edgesnn import runtime
from edgesnn.errors import DataError
from edgesnn.runtime import stream
from edgesnn.runtime.class_means import learned_means, means_readout, read_learner
from edgesnn.runtime.held_out import check
from edgesnn.runtime.model import Array
from edgesnn.runtime.stream import Row


def user(person: int, rounds: int = 2) -> Iterator[Row]:
    return (Row(row, part.label) for part in movements(person, rounds) for row in part.rows)


def taught(person: int) -> dict[str, Array]:
    """What a device learned from a person, with its guard as after a reset of the counters."""
    model = exported("means")
    with runtime.open(model.path) as session:
        list(stream.adapt(session, user(person)))
        found = session.tensors()
    return {name: value if name.startswith("means.") else np.zeros_like(value) for name, value in found.items()}


def test_the_counts_are_those_of_two_models_side_by_side() -> None:
    """Against the definition: decide by each alone, and compare where a label has lasted long enough."""
    model, state = exported("means"), taught(3)
    found = check(model, model.pack(state), lambda: user(4))
    wrong = []
    for use in (0, 1):
        with runtime.open(model.path) as session:
            session.restore(model.pack(state | {"guard.use": np.array([use], np.int32)}))
            decisions = list(stream.run(session, user(4)))
        lasted, errors = 0, []
        for before, now in zip([None, *decisions], decisions, strict=False):
            lasted = lasted + 1 if before is not None and before.label == now.label else 1
            errors += [now.decision != now.label] if lasted >= model.learn.numbers["check"] else []
        wrong.append(errors)
    assert found.steps == len(wrong[0])
    assert found.factory_accuracy == 1 - sum(wrong[0]) / found.steps
    assert found.learned_accuracy == 1 - sum(wrong[1]) / found.steps
    after = model.unpack(found.snapshot)
    assert (found.used, after["guard.use"].item()) == (True, 1)
    for name, value in state.items():
        if not name.startswith("guard."):
            np.testing.assert_array_equal(after[name], value)


def test_a_person_whom_the_factory_knows_keeps_it() -> None:
    model = exported("means")
    found = check(model, model.pack(taught(4)), lambda: user(5))
    assert found.factory_accuracy > found.learned_accuracy
    assert found.used is False


def test_a_class_that_nobody_labelled_keeps_the_factory() -> None:
    """Also if the held-out stream has it: looking is not learning."""
    model, state = exported("means"), taught(3)
    learner = read_learner(model)
    state["means.count"][:2], state["means.sum"][:2] = 0, 0
    mean = learned_means(learner.factory_mean, state["means.sum"], state["means.count"], learner.prior)
    weight, bias = means_readout(mean, learner.metric, learner.shift, learner.bias_limit)
    found = check(model, model.pack(state | {"means.weight": weight, "means.bias": bias}), lambda: user(4))
    assert found.used is False
    assert found.steps > 64


@pytest.mark.parametrize(("scope", "words"), [("means", "stays for 13 steps"), ("readout", "rows with labels")])
def test_a_stream_without_labels_is_refused(scope: str, words: str) -> None:
    model = exported(scope)
    with pytest.raises(DataError, match=words):
        check(model, model.pack(model.factory), lambda: (Row(row.values) for row in user(4)))
