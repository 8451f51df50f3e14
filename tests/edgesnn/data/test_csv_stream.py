"""A user's CSV stream: what is read, how it is split, and one line with the row number for everything that is wrong."""

import numpy as np
import pytest

import edgesnn as es
from edgesnn.data import from_csv, read_csv
from edgesnn.errors import DataError


def written(tmp_path, text):
    path = tmp_path / "stream.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_reads_channels_labels_and_blank_lines(tmp_path):
    stream = read_csv(written(tmp_path, "ax,label,ay\n1,run,-2.5\n\n3e-1,,4\n5, walk ,6\n"))
    assert stream.channels == ("ax", "ay")
    assert stream.classes == ("run", "walk")
    np.testing.assert_array_equal(stream.rows, np.array([[1, -2.5], [0.3, 4], [5, 6]], np.float32))
    assert stream.labels.tolist() == [0, -1, 1]


def test_numbers_as_labels_are_sorted_as_numbers(tmp_path):
    assert read_csv(written(tmp_path, "ax,label\n1,10\n2,9\n")).classes == ("9", "10")


def test_the_label_column_may_be_missing(tmp_path):
    stream = read_csv(written(tmp_path, "ax\n1\n2\n"))
    assert stream.labels.tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: expected a header"),
        ("1,2\n3,4\n", "line 1: expected a header"),
        ("ax,ax\n3,4\n", "line 1: expected distinct column names"),
        ("label\nrun\n", "line 1: expected a header"),
        ("ax,ay,label\n", "expected rows after the header"),
        ("ax,ay,label\n1,2,run\n1,2\n", "line 3: expected 3 columns, as in the header, got 2"),
        ("ax,ay,label\n1,2,run,4\n", "line 2: expected 3 columns, as in the header, got 4"),
        ("ax,ay,label\n1,2,run\n1,nan,run\n", "line 3: expected a finite number in column 'ay', got nan"),
        ("ax,ay,label\ninf,2,run\n", "line 2: expected a finite number in column 'ax'"),
        ("ax,ay,label\n1e39,2,run\n", "line 2: expected a value within float32 in column 'ax', got 1e39"),
        ("ax,ay,label\n1,fast,run\n", "line 2: expected a number in column 'ay', got 'fast'"),
        ("ax,ay,label\n1,,run\n", "line 2: expected a number in column 'ay'"),
        (b"ax,ay\n\xff\xfe,2\n", "line 2: expected a number in column 'ax'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, words):
    path = written(tmp_path, text)
    with pytest.raises(DataError) as error:
        read_csv(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_csv(tmp_path / "none.csv")


def labelled(lengths):
    rows = [f"{i},{i % 7},{name}" for name, length in lengths for i in range(length)]
    return "ax,ay,label\n" + "\n".join(rows) + "\n"


def test_a_stream_becomes_recordings_split_in_time(tmp_path):
    data = from_csv(written(tmp_path, labelled([("run", 100), ("walk", 200), ("", 50), ("run", 100)])))
    assert [(len(r.rows), r.label) for r in data.train] == [(60, 0), (120, 1), (60, 0)]
    assert [len(r.rows) for r in data.validation] == [20, 40, 20]
    assert [r.rows[0, 0] for r in data.test] == [80, 160, 80]
    assert data.input_shape == (32,)
    np.testing.assert_allclose(data.mean, np.concatenate([r.rows for r in data.train]).mean(axis=0))
    assert es.data.load(tmp_path / "stream.csv").classes == ("run", "walk")


@pytest.mark.parametrize(
    ("lengths", "words"),
    [
        ([("run", 100)], "at least 2 classes"),
        ([("run", 60), ("walk", 70), ("", 99)], "needs 80 rows of one label in a row, got at most 70"),
        ([("run", 100), ("walk", 26)], "class 'walk': training needs 27 rows of it in a row, got at most 26"),
    ],
)
def test_a_stream_that_cannot_train_is_refused(tmp_path, lengths, words):
    with pytest.raises(DataError, match=words):
        from_csv(written(tmp_path, labelled(lengths)))
