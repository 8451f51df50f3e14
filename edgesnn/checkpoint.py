"""Weights and training states as safetensors files: tensors and JSON, no pickle."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgesnn import folders
from edgesnn.errors import ConfigError, TrainingError

METADATA_KEY = "edgesnn"
Tensors = dict[str, Tensor]


def plain(value: Any, place: str) -> Any:
    """The value as it comes back from JSON: lists for tuples, Python's numbers for NumPy's. ConfigError, naming the
    place, for one that JSON does not have.
    """
    try:
        return json.loads(json.dumps(value, default=_plain))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{place}: expected numbers, text, lists and dicts, as files hold them: {error}") from None


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic | np.ndarray | Tensor):
        return value.tolist()
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"got {type(value).__name__}")


def target(path: str | Path) -> Path:
    """The path of a file to write, in a folder that is made; ConfigError where there can be none."""
    file = Path(path)
    if file.is_dir():
        raise ConfigError(f"{file}: expected a file to write, got a folder; name a file in it")
    folders.make(file.parent)
    return file


def write(path: Path, tensors: Tensors, metadata: dict[str, Any]) -> None:
    """Writes a file as `folders.whole` does."""
    copies = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    described = {METADATA_KEY: json.dumps(metadata, sort_keys=True)}
    with folders.whole(path) as temporary:
        try:
            save_file(copies, temporary, described)
        except SafetensorError as error:  # the operating system's, in its words
            raise OSError(str(error)) from None


def read(path: Path) -> tuple[Tensors, dict[str, Any]]:
    """Tensors and metadata of a file that `write` made; TrainingError if it is missing, damaged or not one of ours."""
    try:
        with safe_open(path, "pt") as file:
            metadata = json.loads((file.metadata() or {})[METADATA_KEY])
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except OSError:
        raise TrainingError(f"{path}: cannot be read; expected a safetensors file written by edgesnn") from None
    except (SafetensorError, KeyError, ValueError):
        raise TrainingError(f"{path}: damaged, or not a safetensors file written by edgesnn") from None


def with_prefix(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def without_prefix(prefix: str, tensors: Tensors) -> Tensors:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def load_weights(module: nn.Module, tensors: Tensors, place: str) -> None:
    """Copies tensors into a module of exactly these names and shapes, else TrainingError naming the first mismatch."""
    own = module.state_dict()
    for name in sorted(own.keys() | tensors.keys()):
        expected = tuple(own[name].shape) if name in own else None
        got = tuple(tensors[name].shape) if name in tensors else None
        if expected != got:
            raise TrainingError(f"{place}: weights of another network: '{name}' expected {expected}, got {got}")
    module.load_state_dict(tensors)


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> Tensors:
    """State of an optimizer by parameter index and name: {"0.exp_avg": ..., "0.step": ...}."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{name}": torch.as_tensor(value) for index, slot in state.items() for name, value in slot.items()}


def load_optimizer(optimizer: torch.optim.Optimizer, tensors: Tensors) -> None:
    """Restores what `optimizer_tensors` gave, for an optimizer over the same parameters."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
