"""Data sets of arrays and recordings that the caller holds, and of a file of arrays: what they become, and bad ones."""

import numpy as np
import pytest
import torch

import edgesnn as es
from edgesnn.data import Clips, Frame, Images, Recording, from_images, from_npz, from_recordings
from edgesnn.errors import DataError


def images(count, shape=(1, 4, 4), classes=3, kind=Images, seed=0):
    random = np.random.default_rng(seed)
    values = random.integers(0, 256, (count, *shape)).astype(np.uint8)
    return kind(values, np.arange(count) % classes)


def recordings(count, channels=2, label=0):
    return [Recording(i, np.full((9, channels), float(i), np.float32), label) for i in range(count)]


def arrays(**changes):
    parts = {"train": images(9), "validation": images(3), "test": images(3)}
    entries = {f"{name}_x": part.values for name, part in parts.items()}
    return entries | {f"{name}_y": part.labels for name, part in parts.items()} | changes


def all_batches(data):
    """Those of an epoch, then those of the test split."""
    return [*data.training_batches(2, 4, torch.Generator().manual_seed(0)), *data.evaluation_batches("test")]


def test_images_are_normalized_by_the_training_split_alone():
    train = images(9)
    data = from_images(train, images(3, seed=1), images(3, seed=2), ["a", "b", "c"], name="mine", shift=1)
    assert (data.name, data.classes, data.input_shape) == ("mine", ("a", "b", "c"), (1, 4, 4))
    assert (data.steps, data.shift) == (4, 1)
    np.testing.assert_allclose(data.mean, [train.values.mean()])
    np.testing.assert_allclose(data.std, [train.values.std()])


def test_without_classes_and_validation_labels_name_themselves():
    data = from_images(images(9), None, images(3))
    assert data.classes == ("0", "1", "2")
    assert len(data.validation) == 0


def test_features_are_normalized_one_by_one():
    data = from_images(images(9, (5,)), None, images(3, (5,)))
    np.testing.assert_allclose(data.mean, data.train.values.mean(0))
    assert data.normalize(data.train.values).std(0) == pytest.approx(np.ones(5), rel=1e-5)


def test_clips_have_as_many_steps_as_frames():
    data = from_images(images(9, (6, 2, 4, 4), kind=Clips), None, images(3, (6, 2, 4, 4), kind=Clips))
    assert (data.steps, data.input_shape, len(data.mean)) == (6, (2, 4, 4), 2)


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        (images(0), images(3), "expected images to train with"),
        (images(9), images(3, (1, 4, 5)), "test: expected samples of shape (1, 4, 4), got (1, 4, 5)"),
        (images(9), images(4, classes=4), "test: expected labels 0 to 2, got 0 to 3; name every class"),
        (Images(np.full((2, 3), np.nan, np.float32), np.array([0, 1])), images(0, (3,)), "train: expected finite"),
        ((np.zeros((2, 3)), np.array([0, 1])), images(3), "or Clips(values, labels), got a tuple"),
        (images(9), images(3, (2, 1, 4, 4), kind=Clips), "test: expected images, as the training split has, got clips"),
    ],
)  # fmt: skip
def test_bad_images_are_named(train, test, said):
    with pytest.raises(DataError) as error:
        from_images(train, None, test)
    assert said in str(error.value)


@pytest.mark.parametrize("shape", [(5,), (2, 7)])
def test_only_images_are_shifted(shape):
    with pytest.raises(DataError, match=r"shift: expected pixels to move samples \[C, H, W\] by, got 1 for samples of"):
        from_images(images(9, shape), None, images(3, shape), shift=1)
    with pytest.raises(DataError, match="got -1"):
        from_images(images(9), None, images(3), shift=-1)


def test_steps_are_at_least_one():
    with pytest.raises(DataError, match="steps: expected at least 1, got 0"):
        from_images(images(9), None, images(3), steps=0)


@pytest.mark.parametrize("still", [0.0, 0.1, 3e7])
def test_what_never_changes_keeps_its_units(still):
    changing = np.arange(40) % 7 * np.float32(1e-9)
    rows = np.stack([np.full(40, still), changing], axis=1).astype(np.float32)
    stream = from_recordings([Recording(0, rows, 0)], [], [], ["a", "b"], Frame(4, 2, 2))
    features = from_images(Images(rows, np.arange(40) % 2), None, Images(rows, np.arange(40) % 2))
    for data in (stream, features):
        assert data.std[0] == 1
        assert data.std[1] == pytest.approx(changing.std())
        np.testing.assert_allclose(data.normalize(np.array([[still + 1, 0.0]]))[0, 0], 1, rtol=1e-6)


def test_recordings_make_a_stream():
    data = from_recordings(recordings(3), recordings(1), recordings(1), ["a", "b"], Frame(4, 2, 2), rate_hz=50.0)
    assert (data.input_shape, data.steps, data.rate_hz) == ((8,), 16, 50.0)
    np.testing.assert_allclose(data.mean, [1.0, 1.0])


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ([], "expected recordings to train with"),
        (recordings(1, channels=3), "recording 0: expected rows [L, 2] as the frame says, got (9, 3)"),
        (recordings(1, label=2), "train: expected labels 0 to 1, got 2 to 2; name every class"),
        (recordings(1) + recordings(1, channels=3), "recording 0: expected rows [L, 2] as the frame says, got (9, 3)"),
        ([(np.zeros((9, 2)), 0)], "train: expected Recording(id, rows, label), got a tuple"),
    ],
)
def test_bad_recordings_are_named(train, said):
    with pytest.raises(DataError) as error:
        from_recordings(train, [], [], ["a", "b"], Frame(4, 2, 2))
    assert said in str(error.value)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_that_are_not_finite_are_named(split, value):
    parts = {name: recordings(3) for name in ("train", "validation", "test")}
    parts[split][2].rows[5, 1] = value
    with pytest.raises(DataError, match=f"{split}: recording 2: expected finite rows, got NaN or infinity in row 5"):
        from_recordings(**parts, classes=["a", "b"], frame=Frame(4, 2, 2))


def test_a_variation_is_of_six_axes():
    variation = es.data.Variation(speed=0.1, tilt_degrees=5.0, vigour=0.1)
    with pytest.raises(DataError, match="variation: expected rows of the 6 axes of an inertial sensor, got 3"):
        from_recordings(recordings(3, 3), [], [], ["a"], Frame(4, 2, 3), variation=variation)


def test_a_file_of_arrays_is_loaded_by_its_path(tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays(classes=np.array(["x", "y", "z"])))
    data = es.data.load(tmp_path / "mine.npz")
    assert (data.name, data.classes) == ("mine", ("x", "y", "z"))
    np.testing.assert_array_equal(data.train.values, images(9).values)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ({"train_x": np.zeros((2, 3))}, "expected arrays ['train_x', 'train_y', "),
        (arrays(train_y=np.zeros(9)), "train: expected x of 2 to 4 axes of numbers and y of one axis of integers"),
        (arrays(test_x=np.zeros((3, 2), complex)), "test: expected x of 2 to 4 axes of numbers"),
        (arrays(train_y=np.zeros(8, int)), "expected a label for each of 9 images, got labels of shape (8,)"),
        (arrays(train_x=np.array([{}] * 9, object)), "expected a .npz file of arrays"),
        (arrays(classes=np.array("a")), "classes: expected names [number of classes], got shape ()"),
    ],
)
def test_bad_files_of_arrays_are_named(tmp_path, entries, said):
    np.savez(tmp_path / "mine.npz", **entries)
    with pytest.raises(DataError) as error:
        from_npz(tmp_path / "mine.npz")
    assert said in str(error.value)


def test_a_cut_file_is_named(tmp_path):
    np.savez(tmp_path / "mine.npz", **arrays())
    whole = (tmp_path / "mine.npz").read_bytes()
    (tmp_path / "mine.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"expected a \.npz file of arrays"):
        from_npz(tmp_path / "mine.npz")


def test_a_damaged_compressed_file_is_named(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez_compressed(path, **arrays())
    content = bytearray(path.read_bytes())
    content[60:90] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"expected a \.npz file of arrays"):
        from_npz(path)


def test_a_file_of_an_unknown_compression_is_named(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays())
    content = path.read_bytes()
    directory = content.index(b"PK\x01\x02")
    path.write_bytes(content[:8] + b"\x63" + content[9 : directory + 10] + b"\x63" + content[directory + 11 :])
    with pytest.raises(DataError, match=r"expected a \.npz file of arrays, got .*compression"):
        from_npz(path)


def test_what_is_no_zip_is_named(tmp_path):
    (tmp_path / "mine.npz").write_text("values")
    with pytest.raises(DataError, match=r"expected a \.npz file of arrays"):
        from_npz(tmp_path / "mine.npz")


@pytest.mark.parametrize("dtype", ["f4", ">f4", ">u2", "f2"])
@pytest.mark.parametrize("shift", [0, 1])
def test_arrays_may_be_reversed_of_another_byte_order_and_read_only(dtype, shift):
    """As NumPy's own functions take them: the batches are those of a plain copy."""
    plain = images(9)
    values, labels = plain.values[::-1].astype(dtype)[::-1], plain.labels[::-1].copy()[::-1]
    values.setflags(write=False)
    odd = Images(values, labels)
    assert odd.values.strides[0] < 0
    assert odd.labels.strides[0] < 0
    found, expected = (from_images(part, None, part, shift=shift) for part in (odd, plain))
    for (x, y), (x2, y2) in zip(all_batches(found), all_batches(expected), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_recordings_may_be_reversed_and_of_another_byte_order():
    rows = np.arange(18.0).reshape(9, 2)
    odd, plain = Recording(0, rows.astype(">f8")[::-1], 0), Recording(0, rows[::-1].copy(), 0)
    found, expected = (from_recordings([part] * 2, [], [part], ["a"], Frame(2, 1, 2)) for part in (odd, plain))
    for (x, y), (x2, y2) in zip(all_batches(found), all_batches(expected), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_images_move_by_whole_pixels():
    with pytest.raises(DataError, match=r"shift: expected pixels to move samples .* by, got 1.5 for"):
        from_images(images(9), None, images(3), shift=1.5)
