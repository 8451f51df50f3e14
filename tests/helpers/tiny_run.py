"""A run folder as the command line leaves it: a small quantized network of a labelled CSV stream, and its exports.

All of it is made once a process and shared: copy a folder before a change.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import torch
from tiny_data import recordings

import edgesnn as es
from edgesnn import export
from edgesnn.data.dataset import Recording
from edgesnn.runtime.model import Model

CHANNELS = ("sway", "surge")
CLASSES = ("0", "1", "2")  # rest, slow and fast, in an order that sorting keeps
RATE_HZ = 20.0


def write_stream(path: Path, parts: Iterable[Recording], names: Sequence[str] = CLASSES) -> Path:
    """Recordings one after the other as a CSV stream; `names` are the labels of their classes, "" for none."""
    lines = [",".join((*CHANNELS, "label"))]
    lines += [f"{row[0]:.4f},{row[1]:.4f},{names[part.label]}" for part in parts for row in part.rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@cache
def _root() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="edgesnn-tiny")


@cache
def run_folder(seed: int) -> Path:
    """A quantized run folder: three people's movements, a hidden layer of twelve neurons, trained for a moment."""
    folder = Path(_root().name) / f"run{seed}"
    folder.mkdir()
    stream = write_stream(folder / "people.csv", recordings(range(3)))
    config = es.runs.validated(
        {
            "data": str(stream),
            "stream": {"rate_hz": RATE_HZ, "frame": 4, "hop": 2},
            "model": {"kind": "mlp", "sizes": [12], "leak": 0.8},
            "epochs": 2,
            "seed": seed,
        },
        "tiny",
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = es.runs.train(config, folder, progress=False)
    qnet = es.quantize(run.net, weights=1, spikes=4, calibrate=run.data, epochs=0)
    torch.set_num_threads(threads)
    es.runs.save_run(es.runs.Run(qnet.eval(), run.data, config, run.history), folder)
    return folder


@cache
def exported(learn: str, seed: int = 0) -> Model:
    """The export of a run, as `edgesnn export --window 2` writes it."""
    folder = Path(_root().name) / f"{learn}{seed}"
    return export.onnx(es.runs.load_run(run_folder(seed)).net, folder, window=2, learn=learn, rule="sltt")


def movements(person: int, rounds: int = 1) -> list[Recording]:
    """Rest, slow and fast of one person, again and again; persons 0 to 2 are those of the training."""
    return list(recordings(range(person, person + 1))) * rounds
