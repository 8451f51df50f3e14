"""Where results go is checked before the work: one line for what can be no folder."""

import pytest

from edgesnn import folders
from edgesnn.errors import ConfigError


def test_makes_the_folder_and_those_above_and_takes_one_that_is_there(tmp_path):
    for _ in range(2):
        assert folders.make(str(tmp_path / "a" / "b")).is_dir()


@pytest.mark.parametrize(("path", "words"), [("file", "got a file"), ("file/below", "can be created")])
def test_what_can_be_no_folder_is_one_line(tmp_path, path, words):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=words) as error:
        folders.make(tmp_path / path)
    assert "\n" not in str(error.value)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    with pytest.raises(ConfigError, match="can be written"):
        folders.make(tmp_path)
