"""What a device can learn, by the name users type: each scope adds to the step graph and makes a learning graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import onnx

from edgesnn.errors import ExportError
from edgesnn.export.class_means import PRIOR, add_means, factory_means, means_graph, means_spec
from edgesnn.export.class_means import trace_limit as means_trace_limit
from edgesnn.export.error_path import error_path
from edgesnn.export.fixed_point import Q15
from edgesnn.export.layer_learning import LARGEST_SHIFT, add_states, layers_graph, layers_spec
from edgesnn.export.layer_learning import trace_limit as layers_trace_limit
from edgesnn.export.learn import COUNT, learn_graph, learn_spec, usable_rate
from edgesnn.export.learn import trace_limit as readout_trace_limit
from edgesnn.export.lower import Lowered
from edgesnn.export.scopes import parse
from edgesnn.export.trace import add_trace, trace_scale
from edgesnn.quant import QuantReadout
from edgesnn.runtime.model import LearnSpec


@dataclass(frozen=True)
class LearnerSettings:
    """learning_rate of the real-valued weights, and seed of the stochastic rounding, where learning is gradient
    descent (rate None: `usable_rate` chooses); prior: labels that a class mean of the factory is worth.
    """

    learning_rate: float | None = None
    seed: int = 1
    prior: int = PRIOR


@dataclass(frozen=True)
class LearningStep:
    """What the metadata says of learning, and the learning graph for given metadata."""

    spec: LearnSpec
    graph: Callable[[dict[str, str]], onnx.ModelProto]


@dataclass(frozen=True)
class Learner:
    """The value of one unit of the trace that every step keeps, and how it learns from it with given settings."""

    trace_unit: float
    step: Callable[[LearnerSettings], LearningStep]


def add_learner(scope: str, lowered: Lowered, layer: QuantReadout, steps: int) -> Learner:
    """Add what the scope keeps at every step to the step graph, which is the same for all settings.

    Raises:
        ExportError: the readout has no trace that fits, or what the scope needs is missing, or nothing learns.
    """
    builder, readout = lowered.builder, lowered.readout
    limits = {"means": means_trace_limit, "readout": readout_trace_limit}
    limit = limits.get(scope, layers_trace_limit)(readout.spikes.shape[0])
    scale = trace_scale(readout.spikes, readout.leak, lowered.steps if lowered.steps > 1 else steps, limit)
    unit = readout.spikes.unit * 2.0**-scale.bits
    add_trace(builder, readout, scale)
    if scope == "means":
        factory = factory_means(layer, unit, limit)
        add_means(builder, readout, factory)

        def means(settings: LearnerSettings) -> LearningStep:
            spec = means_spec(readout.leak / Q15, settings.prior)
            return LearningStep(spec, lambda metadata: means_graph(readout, factory, spec, metadata))

        return Learner(unit, means)
    builder.persistent(COUNT, "learner", "int32", (1,))
    if scope != "readout":
        path = error_path(builder, lowered.hidden, parse(scope, len(lowered.hidden)))
        if not path.nodes:
            raise ExportError(
                f"learn: expected hidden layers with weights or thresholds that learn, got none in scope {scope}; "
                "export it with learn='means' or 'readout'"
            )
        add_states(builder, path)

        def layers(settings: LearnerSettings) -> LearningStep:
            rate = usable_rate(readout, scale, settings.learning_rate, LARGEST_SHIFT)
            spec = layers_spec(scope, readout, scale, rate, settings.seed)
            return LearningStep(
                spec, lambda metadata: layers_graph(builder, readout, path, scale, rate, spec, metadata)
            )

        return Learner(unit, layers)

    def only_readout(settings: LearnerSettings) -> LearningStep:
        rate = usable_rate(readout, scale, settings.learning_rate)
        spec = learn_spec(readout, scale, rate, settings.seed)
        return LearningStep(spec, lambda metadata: learn_graph(readout, scale, spec, metadata))

    return Learner(unit, only_readout)
