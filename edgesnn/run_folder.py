"""The files of a run folder, and how one run takes the place of another: whole, or not at all."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgesnn import folders

CONFIG, MODEL, HISTORY, CHECKPOINT = "config.toml", "model.safetensors", "history.json", "checkpoint.safetensors"
LOGS = "tensorboard"
EARLIER = ".earlier"  # folder of what is about to be replaced
#: The order in which files go aside; they come back in the other. While config.toml is aside, all of them are.
_FILES = (CHECKPOINT, MODEL, HISTORY, CONFIG)


@contextmanager
def replaced(folder: Path) -> Iterator[None]:
    """Within it, the files of an earlier run are set aside, and another one is written. If it ends with a checkpoint or
    a model, that run has taken the place; if not, its files go and the earlier ones come back (if it is killed, with
    the next run that is written there).
    """
    settle(folder)
    aside = folders.make(folder / EARLIER)
    for name in _FILES:
        if (folder / name).exists():
            (folder / name).replace(aside / name)
    try:
        yield
    finally:
        if (folder / CHECKPOINT).exists() or (folder / MODEL).exists():
            _forget(aside)
        else:
            for name in _FILES:
                (folder / name).unlink(missing_ok=True)
            settle(folder)


def settle(folder: Path) -> None:
    """Ends what `replaced` began and was killed in: by the files of the later run, if it got as far as a checkpoint or
    a model, else by those of the earlier one.
    """
    aside = folder / EARLIER
    if not aside.is_dir():
        return
    all_aside = (aside / CONFIG).exists()  # else a model in the folder may be the earlier one
    if not (folder / CHECKPOINT).exists() and not (all_aside and (folder / MODEL).exists()):
        for name in reversed(_FILES):
            if (aside / name).exists():
                (aside / name).replace(folder / name)
    _forget(aside)


def _forget(aside: Path) -> None:
    """Removes the earlier run, config.toml last, so that whoever is killed meanwhile leaves what `settle` can tell."""
    for name in _FILES:
        (aside / name).unlink(missing_ok=True)
    shutil.rmtree(aside)
