"""Shoulder exercises seen by a smartwatch (Burns et al., 2018; package seglearn): 6 axes, 50 Hz, 10 people, 2 arms."""

from collections.abc import Sequence

import numpy as np

from edgesnn.data.arrays import from_recordings
from edgesnn.data.dataset import Dataset, Frame, Recording, check_sha256
from edgesnn.data.variation import Variation
from edgesnn.errors import DataError

SHA256 = "c4ca0c018d4d88186339ced67f8070e370b35a8fd73f19bdc609ac294640b4d1"
FRAME = Frame(length=16, hop=4, channels=6)
VARIATION = Variation(speed=0.1, tilt_degrees=4.0, vigour=0.1)  # chosen by cross-validation over people 1-8
CHANNELS = ("ax", "ay", "az", "wx", "wy", "wz")
PEOPLE = tuple(range(1, 11))
TEST_PEOPLE = (9, 10)
VALIDATION_PEOPLE = (7, 8)


def watch(test: Sequence[int] = TEST_PEOPLE, validation: Sequence[int] = VALIDATION_PEOPLE) -> Dataset:
    """140 recordings, 7 exercises, split by person: test 9 and 10 (which must never choose anything), validation 7 and
    8, train 1-6. Rows are ax, ay, az in g and wx, wy, wz in rad/s. With no validation people the training split is
    everybody but the test people, for a last training with settings that are already chosen.
    """
    unknown = sorted((set(test) | set(validation)) - set(PEOPLE))
    if unknown or set(test) & set(validation):
        raise DataError(f"data 'watch': expected disjoint people of 1-10, got test {test} and validation {validation}")
    recordings, classes = _recordings()
    return from_recordings(
        train=(r for r in recordings if r.person not in {*test, *validation}),
        validation=(r for r in recordings if r.person in validation),
        test=(r for r in recordings if r.person in test),
        classes=classes,
        frame=FRAME,
        name="watch",
        rate_hz=50.0,
        channels=CHANNELS,
        variation=VARIATION,
    )


def _recordings() -> tuple[tuple[Recording, ...], tuple[str, ...]]:
    try:
        from seglearn.datasets import load_watch
    except ImportError:
        raise DataError("data 'watch': package seglearn is missing; pip install edgesnn[data]") from None
    source = load_watch()
    check_sha256("watch", source["X"], SHA256, "seglearn==1.2.5")
    recordings = tuple(
        Recording(
            id=i,
            rows=np.asarray(rows, np.float32),
            label=int(source["y"][i]),
            person=int(source["subject"][i]),
            arm="right" if source["side"][i] == 1 else "left",
        )
        for i, rows in enumerate(source["X"])
    )
    return recordings, tuple(source["y_labels"])
