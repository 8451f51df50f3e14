"""Event data sets: simulated from digits and kept, or from a folder of recordings."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import edgesnn as es
from edgesnn.data import Clips, clips
from edgesnn.data.images import mnist5k
from edgesnn.errors import DataError


def few():
    """mnist5k with a handful of digits in each split."""
    source = mnist5k()
    parts = {name: source.split(name) for name in clips.SPLITS}
    return replace(source, **{name: type(p)(p.values[:8], p.labels[:8]) for name, p in parts.items()})


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(clips, "mnist5k", few)
    return es.data.simulated_events(steps=3)


def test_simulated_events_are_kept(data, monkeypatch):
    monkeypatch.setattr(clips, "simulate", None)  # what is kept is not simulated again
    again = es.data.simulated_events(steps=3)
    np.testing.assert_array_equal(again.train.values, data.train.values)
    with pytest.raises(TypeError):
        es.data.simulated_events(steps=4)


def test_clips_are_batched_frame_by_frame(data):
    assert isinstance(data.train, Clips)
    assert data.train.values.shape == (8, 3, *data.input_shape) == (8, 3, 2, 34, 34)
    x, y = next(data.evaluation_batches("test"))
    assert (x.shape, y.tolist()[:2]) == ((3, 8, 2, 34, 34), [[-1] * 8] * 2)
    expected = (data.test.values - data.mean[:, None, None]) / data.std[:, None, None]
    np.testing.assert_allclose(x.transpose(0, 1), expected, rtol=1e-5, atol=1e-6)
    shifted = replace(data, shift=1)
    x, y = next(shifted.training_batches(3, 8, torch.Generator().manual_seed(0)))
    assert x.shape == (3, 8, 2, 34, 34)
    assert data.merged().train.values.shape == (16, 3, 2, 34, 34)


def test_another_number_of_steps_is_one_line(data):
    for batches in (data.training_batches(4, 8, torch.Generator()), data.evaluation_batches("test", steps=4)):
        with pytest.raises(DataError, match="expected the 3 time steps of its clips, got 4") as error:
            next(batches)
        assert "\n" not in str(error.value)


def test_a_network_learns_from_clips(data):
    net = es.models.convnet(data.input_shape, [4, 4], 10)
    history = es.fit(net, data, es.rules.SLTT(1), epochs=1, batch_size=4, progress=False)
    assert history.epochs[0].loss > 0


def recordings(folder, counts=(5, 5)):
    for label, count in enumerate(counts):
        (folder / f"class{label}").mkdir(parents=True)
        for i in range(count):
            t = np.arange(10) * 100
            np.savez(folder / f"class{label}" / f"{i}.npz", t=t, x=t * 0 + label, y=t * 0 + i, p=t * 0 + 1)
    return folder


def test_a_folder_of_recordings_is_a_data_set(tmp_path):
    data = es.data.load(recordings(tmp_path / "mine"))
    assert (data.name, data.classes, data.input_shape) == ("mine", ("class0", "class1"), (2, 5, 2))
    assert [len(data.split(name)) for name in clips.SPLITS] == [6, 2, 2]
    assert (data.train.values.sum(axis=(1, 2, 3, 4)) == 10).all()
    assert (data.train.values[:, :, 1].sum(axis=(1, 2)).argmax(axis=1) == data.train.labels).all()


def test_a_folder_of_too_few_is_one_line(tmp_path):
    with pytest.raises(DataError, match="at least 2 classes"):
        es.data.load(recordings(tmp_path / "one", (5,)))
    with pytest.raises(DataError, match="at least 4 recordings, got 2"):
        es.data.load(recordings(tmp_path / "few", (5, 2)))
    with pytest.raises(DataError, match="none: expected a folder of recordings, found none there"):
        es.data.from_events(str(tmp_path / "none"))


def test_counts_end_at_255(tmp_path):
    """As bytes do, which are the inputs of devices: 256 and 3000 events of a pixel and frame look alike."""
    for name, count in (("dense", 3000), ("sparse", 256)):
        (tmp_path / name).mkdir()
        for i in range(4):
            t = np.arange(count)
            np.savez(tmp_path / name / f"{i}.npz", t=t, x=t * 0, y=t * 0, p=t * 0 + 1)
    data = es.data.from_events(str(tmp_path), steps=1)
    assert data.train.values.dtype == np.uint8
    assert data.train.values[:, 0, 1, 0, 0].tolist() == [255] * len(data.train)
    finer = es.data.from_events(tmp_path, steps=2)  # a way out
    assert finer.train.values[:, 0, 1, 0, 0].tolist() == [255 if label == 0 else 128 for label in finer.train.labels]
