"""An exported folder: its metadata, its persistent tensors, and the integer frame it expects.

The formats are fixed in docs/architecture.md ("An exported folder").
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from edgesnn.errors import DataError, ModelError, StateError
from edgesnn.runtime.content import CONTENT_HASH, SOURCE_HASH, content_hash
from edgesnn.runtime.model_check import check_graph, check_interface, check_metadata

FORMAT = "1"
Array = NDArray[Any]


@dataclass(frozen=True)
class PersistentTensor:
    """One tensor a session keeps between calls; `offset` is its place in the snapshot, in bytes."""

    name: str
    kind: str  # "state" | "param" | "learner"
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        return int(np.dtype(self.dtype).itemsize * np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class InputSpec:
    """The integer frame of one time step: `q = clip(round(((value - mean) / std) / scale))`, zero point 0."""

    shape: tuple[int, ...]
    dtype: str
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class FrameSpec:
    """How sensor rows become frames: the last `length` rows of `channels` values, a new frame every `hop` rows."""

    length: int
    hop: int
    channels: int


@dataclass(frozen=True)
class LearnSpec:
    """What `learn` trains, and the numbers of its learner by name (docs/architecture.md, "Learning")."""

    scope: str
    numbers: dict[str, int]

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> LearnSpec:
        return cls(str(entry["scope"]), {name: int(value) for name, value in entry.items() if name != "scope"})

    def to_json(self) -> dict[str, Any]:
        return {"scope": self.scope, **self.numbers}


@dataclass(frozen=True)
class WindowSpec:
    """What `window.onnx` takes: `steps` frames [T, N, ...], or any number of them (None); or, where x is `held`, one
    frame [N, ...] that stands still for all steps.
    """

    steps: int | None
    held: bool

    def takes(self, steps: int) -> bool:
        """Whether it runs this many steps at once."""
        return steps >= 1 and self.steps in (None, steps)


def read_graph(path: Path) -> onnx.ModelProto:
    """Read one ONNX file and check that it is whole: it parses, has our format, and its content hash agrees.

    Raises:
        ModelError: naming the file and what to do.
    """
    if not path.is_file():
        raise ModelError(
            f"{path}: expected an exported graph, found no file; run `edgesnn export RUN -o {path.parent}`"
        )
    try:
        proto = onnx.load_model(path, load_external_data=False)  # an export is one file; a damaged one may name others
    except (DecodeError, OSError, ValueError) as error:
        raise ModelError(
            f"{path}: expected an ONNX file, got one that does not parse ({error}); export again"
        ) from None
    if not proto.HasField("graph"):  # of no bytes, an empty model is parsed
        got = "a file without a model" if path.stat().st_size else "an empty file"
        raise ModelError(f"{path}: expected an ONNX model, got {got}; export again")
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    if metadata.get("edgesnn.format") != FORMAT:
        got = metadata.get("edgesnn.format", "none")
        raise ModelError(f"{path}: expected edgesnn format {FORMAT}, got {got}; export again with this version")
    if metadata.get(CONTENT_HASH) != content_hash(proto):
        raise ModelError(
            f"{path}: expected content with hash {metadata.get(CONTENT_HASH, 'none')[:16]}, got a file "
            "that was changed after export; export again"
        )
    check_graph(proto, path)
    return proto


def _initializers(proto: onnx.ModelProto) -> dict[str, Array]:
    return {init.name: onnx.numpy_helper.to_array(init) for init in proto.graph.initializer}


class Model:
    """The metadata of an exported folder. Graphs are read when a backend asks for them."""

    def __init__(self, path: Path, step: onnx.ModelProto) -> None:
        self.path = path
        self.step = step
        self.metadata = {entry.key: entry.value for entry in step.metadata_props}
        try:
            self._parse()
            check_metadata(self)
        except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
            raise ModelError(
                f"{path / 'step.onnx'}: metadata is incomplete or malformed ({error}); export again"
            ) from None

    def _parse(self) -> None:
        meta = {key.removeprefix("edgesnn."): value for key, value in self.metadata.items()}
        self.name = meta["name"]
        self.rule = meta["rule"]
        self.time_steps = int(meta["time_steps"])
        self.source_hash = self.metadata[SOURCE_HASH]
        self.classes = [str(name) for name in json.loads(meta["classes"])]
        #: Names of a row's values, in order; empty where the data has none.
        self.channels = tuple(str(name) for name in json.loads(meta.get("channels", "[]")))
        self.rate_hz = float(meta["rate_hz"])
        entry = json.loads(meta["input"])
        self.input = InputSpec(
            tuple(entry["shape"]), np.dtype(entry["dtype"]).name, float(entry["scale"]),
            tuple(entry["mean"]), tuple(entry["std"]),
        )  # fmt: skip
        frame, learn = json.loads(meta["frame"]), json.loads(meta["learn"])
        self.frame = FrameSpec(**frame) if frame else None
        self.learn = LearnSpec.from_json(learn) if learn else None
        offset = 0
        tensors = []
        for spec in json.loads(meta["tensors"]):
            tensor = PersistentTensor(spec["name"], spec["kind"], spec["dtype"], tuple(spec["shape"]), offset)
            tensors.append(tensor)
            offset += -(-tensor.nbytes // 4) * 4
        self.tensors: tuple[PersistentTensor, ...] = tuple(tensors)
        self.snapshot_bytes = offset

    @classmethod
    def load(cls, directory: str | Path) -> Model:
        """Read `directory/step.onnx`.

        Raises:
            ModelError: folder or file missing, corrupted, or of another format.
        """
        path = Path(directory)
        if not path.is_dir():
            raise ModelError(f"{path}: expected a folder written by `edgesnn export`, found none; check the path")
        model = cls(path, read_graph(path / "step.onnx"))
        if model.source_hash != model.metadata[CONTENT_HASH]:
            raise ModelError(
                f"{path / 'step.onnx'}: expected source hash {model.metadata[CONTENT_HASH][:16]}, got "
                f"{model.source_hash[:16]}: a file that was changed after export; export again"
            )
        check_interface(model.step, model, path / "step.onnx")
        return model

    def graph(self, name: str) -> onnx.ModelProto:
        """The graph `step`, `window` or `learn` of this folder, checked to belong to the same model."""
        if name == "step":
            return self.step
        path = self.path / f"{name}.onnx"
        proto = read_graph(path)
        source = {entry.key: entry.value for entry in proto.metadata_props}.get(SOURCE_HASH)
        if source != self.source_hash:
            raise ModelError(
                f"{path}: expected a graph of model {self.source_hash[:16]}, got one of {str(source)[:16]}; "
                "export all graphs together"
            )
        check_interface(proto, self, path)
        return proto

    @cached_property
    def window(self) -> WindowSpec:
        """What `window.onnx` takes.

        Raises:
            ModelError: there is none, or it is damaged.
        """
        graph = self.graph("window").graph
        x, y = (
            next(entry for entry in part if entry.name == name)
            for part, name in ((graph.input, "x"), (graph.output, "y"))
        )
        held = len(x.type.tensor_type.shape.dim) == 1 + len(self.input.shape)
        return WindowSpec(y.type.tensor_type.shape.dim[0].dim_value or None, held)

    @property
    def model_id(self) -> int:
        """The first 64 bits of the source hash, which saved states and generated C carry."""
        return int(self.source_hash[:16], 16)

    @cached_property
    def factory(self) -> dict[str, Array]:
        """Persistent tensors as they leave the factory: zeros, and the initializers of the trainable parameters."""
        initial = _initializers(self.step)
        if any(tensor.kind == "param" and tensor.name not in initial for tensor in self.tensors):
            initial |= _initializers(self.graph("learn"))  # what only learning reads
        return {
            tensor.name: initial[tensor.name] if tensor.kind == "param" else np.zeros(tensor.shape, tensor.dtype)
            for tensor in self.tensors
        }

    def pack(self, tensors: dict[str, Array]) -> bytes:
        """The snapshot bytes of a set of persistent tensors: little-endian, each padded to 4 bytes."""
        blob = bytearray(self.snapshot_bytes)
        for tensor in self.tensors:
            raw = np.ascontiguousarray(tensors[tensor.name], np.dtype(tensor.dtype).newbyteorder("<")).tobytes()
            blob[tensor.offset : tensor.offset + len(raw)] = raw
        return bytes(blob)

    def unpack(self, snapshot: bytes) -> dict[str, Array]:
        """The persistent tensors held in snapshot bytes.

        Raises:
            StateError: the snapshot has another length than this model's.
        """
        if len(snapshot) != self.snapshot_bytes:
            raise StateError(
                f"snapshot of {self.name}: expected {self.snapshot_bytes} bytes, got {len(snapshot)}; "
                "it belongs to another model"
            )
        return {
            tensor.name: np.frombuffer(
                snapshot,
                np.dtype(tensor.dtype).newbyteorder("<"),
                offset=tensor.offset,
                count=int(np.prod(tensor.shape)),
            )
            .reshape(tensor.shape)
            .astype(tensor.dtype)
            for tensor in self.tensors
        }

    def quantize(self, values: Array) -> Array:
        """Sensor units -> the integer frame, `clip(round_half_even(((value - mean) / std) / scale))`.

        Args:
            values: one frame, or any number of frames, in sensor units; trailing axes as `input.shape`.

        Raises:
            DataError: a wrong shape, or values that are not finite.
        """
        spec = self.input
        values = np.asarray(values, np.float64)
        depth = len(spec.shape)
        if values.ndim < depth or values.shape[values.ndim - depth :] != spec.shape:
            raise DataError(f"frame: expected shape {spec.shape}, got {values.shape}; see input.shape in the metadata")
        if not np.isfinite(values).all():
            raise DataError("frame: expected finite numbers, got NaN or infinity; drop or repair the row")
        if self.frame is not None:  # rows flattened: channel is the fastest axis
            mean, std = (np.tile(part, self.frame.length) for part in (spec.mean, spec.std))
        else:
            mean, std = (np.asarray(part).reshape(-1, *[1] * (depth - 1)) for part in (spec.mean, spec.std))
        limits = np.iinfo(spec.dtype)
        scaled = np.rint((values - mean) / std / spec.scale)
        return np.clip(scaled, limits.min, limits.max).astype(spec.dtype)
