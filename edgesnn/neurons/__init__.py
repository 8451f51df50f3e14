"""Spiking neurons: pure step functions, and thin modules that hold their parameters.

Every module has `forward(current, v, t) -> (spikes, v_new)`: current and v are [N, C, ...], v None means zero, t counts
time steps from 0. `config()` is JSON; `build(config)` makes an equal neuron.
"""

from typing import Any

from edgesnn.arguments import checked, described
from edgesnn.errors import ConfigError
from edgesnn.neurons.base import Neuron
from edgesnn.neurons.empf import EMPF, empf_step, parallel_empf_step
from edgesnn.neurons.empf_norm import FoldedEMPF, MembraneNormEMPF
from edgesnn.neurons.lif import IF, LIF, lif_step
from edgesnn.neurons.multi_lif import MultiLIF, multi_lif_step
from edgesnn.neurons.surrogates import SURROGATES

__all__ = [
    "EMPF",
    "IF",
    "LIF",
    "SURROGATES",
    "FoldedEMPF",
    "MembraneNormEMPF",
    "MultiLIF",
    "Neuron",
    "build",
    "empf_step",
    "lif_step",
    "multi_lif_step",
    "parallel_empf_step",
]

_KINDS: dict[str, type[Neuron]] = {
    neuron.kind: neuron for neuron in (EMPF, FoldedEMPF, IF, LIF, MembraneNormEMPF, MultiLIF)
}


def build(config: dict[str, Any]) -> Neuron:
    """The neuron that `config()` described. Raises ConfigError for an unknown kind or argument."""
    arguments = described("neuron", config, "lif")
    kind = arguments.pop("kind", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise ConfigError(f"neuron kind: expected one of {sorted(_KINDS)}, got {kind!r}")
    make, see = _KINDS[kind], f"edgesnn.neurons.{_KINDS[kind].__name__}"
    return make(**checked(f"neuron '{kind}'", make, arguments, see))
