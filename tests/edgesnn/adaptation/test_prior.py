"""The prior is chosen by the training people alone, each as the user of a model made from the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import tiny_data

import edgesnn as es
from edgesnn.adaptation import prior as subject
from edgesnn.adaptation.prior import PRIORS, choose_prior
from edgesnn.errors import DataError, ExportError


@pytest.fixture(scope="module")
def stream():
    data = tiny_data.stream()
    return es.models.mlp(data.input_shape[0], [12], len(data.classes), es.EMPF(), "float", leak=0.9).eval(), data


def people_in_a_plane(shift):
    """Traces [S, 2] of three people and two classes: where a class lies differs by `shift` between people, a trace by 1
    around that.
    """
    generator = np.random.default_rng(0)
    recordings, who = [], []
    for person in range(3):
        for label, centre in enumerate(((20.0, 40.0), (40.0, 20.0))):
            middle = np.array(centre) + generator.normal(0, shift, 2)
            recordings += [(middle + generator.normal(0, 1, (200, 2)), label) for _ in range(2)]
            who += [person] * 2
    return recordings, who


@pytest.fixture
def planted(monkeypatch, stream):
    """`choose_prior` on traces that are given; the data set only says who and which classes."""

    def choose(recordings, who):
        net, data = stream
        template = data.train[0]
        train = tuple(replace(template, label=label, person=person) for (_, label), person in
                      zip(recordings, who, strict=True))  # fmt: skip
        monkeypatch.setattr(subject, "traces", lambda *_: iter(recordings))
        return choose_prior(net, replace(data, classes=("a", "b"), train=train, validation=(), test=()))

    return choose


def test_people_who_differ_want_a_small_prior_and_people_who_do_not_any(planted):
    different, alike = planted(*people_in_a_plane(12.0)), planted(*people_in_a_plane(0.1))
    assert different.people == (0, 1, 2)
    assert different.gains.shape == (len(PRIORS), 3)
    means = different.gains.mean(axis=1)
    assert different.prior == PRIORS[means.argmax()] <= 64
    assert means[0] > means[-1] + 0.02
    assert np.abs(alike.gains).max() < 0.01


def test_who_is_tested_has_no_say(stream):
    net, data = stream
    strangers = replace(data, test=tiny_data.positive(data).test, validation=())
    np.testing.assert_array_equal(choose_prior(net, data).gains, choose_prior(net, strangers).gains)


def test_of_equals_the_largest_is_taken(planted):
    """The one that stays nearest to the factory."""
    found = planted(*people_in_a_plane(0.0))
    assert not found.gains.any()
    assert found.prior == PRIORS[-1]


def test_who_has_too_little_is_never_the_user(planted):
    recordings, who = people_in_a_plane(2.0)
    short = [(rows[:20] if person == 1 else rows, label) for (rows, label), person in zip(recordings, who, strict=True)]
    assert planted(short, who).people == (0, 2)
    with pytest.raises(DataError, match=r"two people or more with recordings long enough.*, got 0"):
        planted([(rows[:20], label) for rows, label in recordings], who)


@pytest.mark.parametrize(("priors", "got"), [((0,), "0"), ((100,), "100"), ((64, 4096), "4096"), ((64.0,), "64.0")])
def test_priors_that_no_device_takes(stream, priors, got):
    with pytest.raises(ExportError, match=f"expected a whole power of two from 1 to 2048 labels, got {got};"):
        choose_prior(*stream, priors)


def test_bad_data(planted, stream):
    net, data = stream
    recordings, who = people_in_a_plane(1.0)
    with pytest.raises(DataError, match=r"expected training recordings of two people or more.*got 1 people"):
        planted(recordings, [0] * len(who))
    with pytest.raises(DataError, match="priors: expected one or more to choose from, got none"):
        choose_prior(*stream, ())
    short = replace(data.train[0], rows=data.train[0].rows[:3])
    with pytest.raises(DataError, match="tiny, recording 0: expected at least 4 rows for a frame, got 3; leave it out"):
        choose_prior(net, replace(data, train=(short, *data.train[1:])))
    with pytest.raises(DataError, match="got 0 people"):
        choose_prior(net, es.data.digits())
    with pytest.raises(DataError, match="expected every class from somebody beside person 0, got none of 'b'"):
        planted([r for r, person in zip(recordings, who, strict=True) if person == 0 or r[1] == 0],
                [p for r, p in zip(recordings, who, strict=True) if p == 0 or r[1] == 0])  # fmt: skip
    with pytest.raises(DataError, match="expected traces that vary, got the same in all recordings"):
        planted([(np.full_like(rows, 20.0), label) for rows, label in recordings], who)
    with pytest.raises(DataError, match="expected spikes in front of the readout, got none"):
        planted([(0 * rows, label) for rows, label in recordings], who)
