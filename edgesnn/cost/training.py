"""TT-LBP's analytic models of training (Guo et al., 2023, section 4), for every rule and network.

Letters: W weights and U neurons of a unit, W_c and U_c those of the classifier of its local block (for the last block
the readout), N the batch, M the multiplications of a dense evaluation, alpha the density of spikes.

The paper has chains of LIF layers trained by TT-LBP or BPTT. Beyond it: a block of a residual network is one unit;
SLTT, OTTT and DSR are schedules with intervals of one step; traces and rates are read, written and added to once a
step; and where spikes are real numbers, products with them are multiply-accumulates instead of additions, unless the
other factor is a binary weight.
"""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from edgesnn.cost.activations import Saved, saved_by_unit, saved_size
from edgesnn.cost.parameters import FLOAT_BYTES
from edgesnn.cost.schedule import Schedule, schedule
from edgesnn.cost.shapes import Unit, graded, units
from edgesnn.errors import ConfigError
from edgesnn.models import Network
from edgesnn.models.units import in_blocks
from edgesnn.rules import Rule


@dataclass(frozen=True)
class TrainingCost:
    """One window of T time steps of one batch.

    reads, writes: values between memory and processor (eq. 11-14). additions, macs: additions, and
    multiply-accumulates (eq. 15-17). memory_bytes: parameters, and what is kept for the backward pass (eq. 8-10,
    without the constant of the GPU; gradients of parameters and the optimizer's state come on top).
    """

    reads: float
    writes: float
    additions: float
    macs: float
    memory_bytes: int


@dataclass(frozen=True)
class LocalBlock:
    """Units that learn from one classifier. classifier: |W_c|, of which `trained` are trained and stored."""

    units: tuple[Unit, ...]
    classifier: int
    trained: int
    classes: int

    @property
    def weights(self) -> int:
        return sum(unit.weights for unit in self.units)

    @property
    def neurons(self) -> int:
        return sum(unit.neurons for unit in self.units)

    @property
    def hidden_neurons(self) -> int:
        """Those of all units but the last."""
        return sum(unit.neurons for unit in self.units[:-1])

    def passed(self, what: str, joined: bool) -> int:
        """Sum of "weights" or "macs" of the synapses that errors go back through: not those that read the block's
        input; recurrent ones where time steps are joined.
        """
        return sum(
            getattr(synapse, what)
            for i, unit in enumerate(self.units)
            for synapse in unit.synapses
            if (joined if synapse.recurrent else i > 0 or synapse.error_passes)
        )


def local_blocks(found: list[Unit], classes: int, plan: Schedule) -> list[LocalBlock]:
    """`units` cut into blocks of `plan.block` units. The readout is the classifier of the last one."""
    *hidden, readout = found
    groups = [tuple(group) for group in in_blocks(hidden, plan.block)]
    blocks = []
    for group in groups[:-1]:
        weights = group[-1].features * classes
        blocks.append(LocalBlock(group, weights, 0 if plan.random_classifiers else weights, classes))
    return [*blocks, LocalBlock(groups[-1], readout.weights, readout.weights, classes)]


def training(
    net: Network, rule: Rule | Mapping[str, Any], steps: int, batch: int = 64, density: float = 1.0
) -> TrainingCost:
    """The cost of `Rule.backward` for x [steps, batch, ...].

    Args:
        net: any network of `edgesnn.models`, with weights or on the meta device.
        rule: a rule or its `config()`.
        steps: T, time steps of the window.
        batch: N, by default that of `es.fit`; memory is that of training mode, in which norms need more than 1.
        density: alpha, the fraction of presynaptic values that are not zero; 1 is an upper bound.

    Raises:
        ConfigError: a rule that is not known or doesn't fit, a batch too small for norms, or a density that is no
            fraction.
    """
    if not 0.0 <= density <= 1.0:
        raise ConfigError(f"cost: expected a density in [0, 1], got {density}")
    plan, found = schedule(rule, steps), units(net)
    blocks = local_blocks(found, net.classes, plan)
    reads, writes = memory_access(blocks, plan, batch)
    additions, macs = operations(blocks, plan, batch, density, graded(net))
    extra = extra_state(found, plan) * batch
    return TrainingCost(
        reads + plan.forward * extra,
        writes + plan.forward * extra,
        additions + plan.forward * extra,
        macs,
        memory(net, blocks, plan, batch) + FLOAT_BYTES * extra,
    )


def memory_access(blocks: Iterable[LocalBlock], plan: Schedule, batch: int) -> tuple[float, float]:
    """Reads and writes (eq. 11-14): every k-th backward step ends an interval, which needs nothing from the future."""
    reads = writes = 0.0
    ends = plan.backward / plan.interval
    middles = plan.backward - ends
    joined = plan.interval > 1
    for block in blocks:
        W, U = block.weights, block.neurons * batch
        Wc, Uc = block.trained, block.classes * batch
        above = block.passed("weights", joined)
        reads += plan.forward * (W + U + Wc + Uc)  # eq. 11
        writes += plan.forward * (U + Uc)
        reads += middles * (W + 2 * U + above + 2 * Wc + 3 * Uc)  # eq. 12
        reads += ends * (above + block.hidden_neurons * batch + Wc)  # eq. 14
        writes += plan.backward * (W + U + Wc + Uc)  # eq. 13
    return reads, writes


def operations(
    blocks: Iterable[LocalBlock], plan: Schedule, batch: int, density: float, real_spikes: bool
) -> tuple[float, float]:
    """Additions (eq. 15-16) and multiply-accumulates (eq. 17)."""
    additions = macs = 0.0
    real_inputs = real_spikes or plan.traces or plan.rates  # of the weights' gradient
    for block in blocks:
        synapses = [synapse for unit in block.units for synapse in unit.synapses]
        multiplied = sum(s.macs for s in synapses if not s.binary) + block.classifier if real_spikes else 0
        added = sum(s.macs for s in synapses) + block.classifier - multiplied
        additions += plan.forward * batch * density * added  # eq. 15
        macs += plan.forward * batch * density * multiplied
        gradient = batch * density * (block.weights + block.trained)
        additions += plan.backward * batch * 2 * (block.neurons + block.classes)  # eq. 16
        additions += 0 if real_inputs else plan.backward * gradient
        macs += plan.backward * gradient if real_inputs else 0
        macs += plan.backward * batch * (block.passed("macs", plan.interval > 1) + block.classifier)  # eq. 17
    return additions, macs


def extra_state(found: list[Unit], plan: Schedule) -> int:
    """Values a sample that a rule keeps over time beside the network's state: traces or rates."""
    traces = sum(s.inputs for unit in found for s in unit.synapses) if plan.traces else 0
    return traces + (sum(unit.neurons for unit in found) if plan.rates else 0)


def memory(net: Network, blocks: list[LocalBlock], plan: Schedule, batch: int) -> int:
    """Eq. 8-10 in bytes: parameters, classifiers included, and the graphs of the steps that are joined; of the last of
    them only that of the largest block at a time.
    """
    classifiers = sum(block.classifier for block in blocks[:-1])
    parameters = FLOAT_BYTES * (sum(parameter.numel() for parameter in net.parameters()) + classifiers)
    by_unit = saved_by_unit(net, batch)
    sizes = [len(block.units) for block in blocks]
    ends = list(itertools.accumulate(sizes))
    ends[-1] += 1  # the readout
    starts = [0, *ends[:-1]]
    largest = max(_joined(by_unit[start:end]) for start, end in zip(starts, ends, strict=True))
    return parameters + (plan.interval - 1) * _joined(by_unit) + largest


def _joined(saved: Iterable[Saved]) -> int:
    """Bytes of all storages, each once."""
    return saved_size({address: tensor for unit in saved for address, tensor in unit.items()})
