"""Event streams: reading, encoding, and what the simulated camera sees."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesnn.data.events import Events, Saccades, event_frames, read_events, simulate, voxel_grid
from edgesnn.errors import DataError

SHAPE = (5, 7)
AEDAT4 = Path(__file__).with_name("three_events.aedat4")


@st.composite
def streams(draw):
    count = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    t = np.sort(rng.integers(0, 1000, count))
    x, y, p = (rng.integers(0, high, count) for high in (SHAPE[1], SHAPE[0], 2))
    return Events.checked(t, x, y, p, SHAPE, "test")


@given(streams(), st.integers(1, 6), st.sampled_from([None, 300, 2000]))
def test_event_frames_count_every_event_once(events, steps, duration):
    frames = event_frames(events, steps, duration)
    assert frames.shape == (steps, 2, *SHAPE)
    expected = np.zeros_like(frames)
    if len(events):
        length = int(events.t[-1] - events.t[0]) + 1 if duration is None else duration
        for t, x, y, p in zip(events.t - events.t[0], events.x, events.y, events.p, strict=True):
            if t < length:
                expected[t * steps // length, p, y, x] += 1
    np.testing.assert_array_equal(frames, expected)


@given(streams(), st.integers(1, 6))
def test_voxel_grid_is_its_equation(events, bins):
    grid = voxel_grid(events, bins)
    expected = np.zeros((bins, *SHAPE))
    if len(events):
        span = max(events.t[-1] - events.t[0], 1)
        for t, x, y, p in zip(events.t, events.x, events.y, events.p, strict=True):
            position = (bins - 1) * (t - events.t[0]) / span
            for b in range(bins):
                expected[b, y, x] += (2 * p - 1) * max(0, 1 - abs(b - position))
    np.testing.assert_allclose(grid, expected, atol=1e-5)


@given(streams())
def test_npz_and_csv_give_the_events_back(tmp_path_factory, events):
    folder = tmp_path_factory.mktemp("events")
    np.savez(folder / "e.npz", t=events.t, x=events.x, y=events.y, p=2 * events.p.astype(int) - 1, shape=SHAPE)
    rows = (f"{p},{t},{y},{x}" for t, x, y, p in zip(events.t, events.x, events.y, events.p, strict=True))
    (folder / "e.csv").write_text("\n".join(["p, t, y, x", *rows]) + "\n")
    for again in (read_events(folder / "e.npz"), read_events(folder / "e.csv", SHAPE)):
        assert again.shape == SHAPE
        for name in "txyp":
            np.testing.assert_array_equal(getattr(again, name), getattr(events, name))


def test_events_are_put_in_order_and_a_sensor_found(tmp_path):
    (tmp_path / "e.csv").write_text("t,x,y,p\n20,3,1,0\n10,6,2,1\n")
    events = read_events(tmp_path / "e.csv")
    assert (events.t.tolist(), events.x.tolist(), events.p.tolist()) == ([10, 20], [6, 3], [1, 0])
    assert events.shape == (3, 7)


def test_aedat4():
    pytest.importorskip("aedat")
    events = read_events(AEDAT4)
    assert events.shape == (34, 34)
    assert (events.t.tolist(), events.x.tolist(), events.y.tolist()) == ([10, 20, 20], [3, 5, 33], [4, 6, 0])
    assert events.p.tolist() == [1, 0, 1]


@pytest.mark.parametrize("suffix", [".dat", ".bin"])
def test_recordings_through_evio(tmp_path, suffix):
    evio = pytest.importorskip("evio")
    evio.write(tmp_path / f"e{suffix}", evio.from_arrays([3, 5], [4, 6], [10, 20], [1, 0]))
    events = read_events(tmp_path / f"e{suffix}", (10, 10))
    assert [getattr(events, name).tolist() for name in "txyp"] == [[10, 20], [3, 5], [4, 6], [1, 0]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("e.txt", b"", "ends in"),
        ("e.csv", b"", "expected a header with t, x, y and p"),
        ("e.csv", b"t,x,y\n", "got no p"),
        ("e.csv", b"t,x,y,p\n1,2,3,0\n1,2.5,3,1\n", "line 3: expected whole numbers"),
        ("e.csv", b"t,x,y,p\n1,2,3\n", "line 2"),
        ("e.csv", b"t,x,y,p\n1,2,3,7\n", "p of 0 and 1"),
        ("e.csv", b"t,x,y,p\n1,-2,3,1\n", "x=-2"),
        ("e.csv", b"\xff\xfe", "format .csv"),
        ("e.npz", b"no zip", "format .npz"),
        ("e.aedat4", b"no aedat", "format .aedat4"),
        ("e.dat", b"%\n\x00\x07", "format .dat"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, name, content, words):
    if name.endswith((".aedat4", ".dat")):
        pytest.importorskip({"e.aedat4": "aedat", "e.dat": "evio"}[name])
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words) as error:
        read_events(tmp_path / name)
    assert "\n" not in str(error.value)
    assert name in str(error.value)


def test_a_damaged_compressed_file_is_one_line(tmp_path):
    path = tmp_path / "e.npz"
    np.savez_compressed(path, **{name: np.arange(1000) % 2 for name in "txyp"})
    content = bytearray(path.read_bytes())
    content[50:70] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"expected events in the format \.npz"):
        read_events(path)


@pytest.mark.parametrize("shape", [(2,), (2, 3, 4), 5, (0, 0), (5.0, 7.0), "57"])
def test_a_shape_that_is_no_sensor_is_one_line(tmp_path, shape):
    (tmp_path / "e.csv").write_text("t,x,y,p\n10,1,0,1\n")
    with pytest.raises(DataError, match=r"e.csv: expected a sensor's shape \(height, width\) in pixels, got"):
        read_events(tmp_path / "e.csv", shape)


@pytest.mark.parametrize("times", [[], [5, 6]])
@pytest.mark.parametrize(
    ("steps", "duration", "words"),
    [
        (2, 0, "a duration of at least 1 microsecond, a whole number, got 0"),
        (2, -5, "duration .* got -5"),
        (2, 30.5, "duration .* got 30.5"),
        (2.5, None, "at least 1 time step, a whole number, got 2.5"),
    ],
)
def test_no_time_is_no_frames(times, steps, duration, words):
    zeros = [0] * len(times)
    with pytest.raises(DataError, match=words):
        event_frames(Events.checked(times, zeros, zeros, zeros, SHAPE, "here"), steps, duration)


def test_a_missing_package_and_file_are_one_line(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="found none"):
        read_events(tmp_path / "e.npz")
    monkeypatch.setitem(__import__("sys").modules, "aedat", None)
    with pytest.raises(DataError, match=r"pip install edgesnn\[events\]"):
        read_events(AEDAT4)


def test_events_outside_the_sensor_and_uneven_columns_are_refused(tmp_path):
    with pytest.raises(DataError, match="sensor of 3x4"):
        Events.checked([1], [3], [0], [1], (4, 3), "here")
    with pytest.raises(DataError, match="one length"):
        Events.checked([1, 2], [3], [0], [1], None, "here")
    with pytest.raises(DataError, match="whole numbers in 't'"):
        Events.checked([0.5], [3], [0], [1], None, "here")
    for t in (np.inf, np.nan, 1e30):
        with pytest.raises(DataError, match="whole numbers in 't'"):
            Events.checked([t], [3], [0], [1], None, "here")
    with pytest.raises(DataError, match=r"expected pixels below 65536, got {'x': 1099511627776, 'y': 0}"):
        Events.checked([1], [2**40], [0], [1], None, "here")
    with pytest.raises(DataError, match="whole numbers in 'x'"):
        Events.checked([1], ["a"], [0], [1], None, "here")
    with pytest.raises(DataError, match="at least 1 time step"):
        event_frames(Events.checked([1], [3], [0], [1], None, "here"), 0)


class TestSimulation:
    def test_a_uniform_scene_is_silent_and_an_edge_is_not(self):
        black, edge = np.zeros((1, 28, 28)), np.zeros((1, 28, 28))
        edge[:, :, 14:] = 255
        assert [len(events) for events in simulate(black)] == [0]
        (events,) = simulate(edge)
        assert len(events) > 500

    def test_the_path_is_closed_so_every_brightening_is_undone(self):
        image = np.random.default_rng(0).integers(0, 256, (2, 28, 28))
        for events in simulate(image):
            net = np.zeros((34, 34))
            np.add.at(net, (events.y, events.x), 2.0 * events.p - 1)
            assert np.abs(net).max() <= 1  # what is left is below a threshold at either end

    def test_events_of_an_image_do_not_depend_on_its_neighbours(self):
        images = np.random.default_rng(1).integers(0, 256, (3, 20, 20))
        together, alone = list(simulate(images))[2], next(simulate(images[2:]))
        assert all(np.array_equal(getattr(together, name), getattr(alone, name)) for name in "txyp")

    def test_a_lower_threshold_means_more_events_in_order_of_time(self):
        image = np.random.default_rng(2).integers(0, 256, (1, 28, 28))
        few, many = (next(simulate(image, Saccades(threshold=c))) for c in (0.6, 0.2))
        assert 2 * len(few) < len(many)
        assert (np.diff(many.t) >= 0).all()
        assert 0 <= many.t[0] <= many.t[-1] <= Saccades().duration_us

    def test_images_that_do_not_fit_are_refused(self):
        with pytest.raises(DataError, match="at most 31 pixels"):
            next(simulate(np.zeros((1, 32, 32))))
