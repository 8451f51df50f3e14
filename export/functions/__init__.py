"""The function library: every node of an exported model is one of these, and each body defines its arithmetic."""

from __future__ import annotations

import onnx
from onnxscript import OnnxFunction

from edgesnn.export.functions.attention import AttentionGradient, ChannelAttention, ChannelScore
from edgesnn.export.functions.backward import (
    BackwardBinaryLinear,
    BackwardDelay,
    BackwardLinear,
    BackwardUpsample2d,
    ClampGradient,
    EMPFGradient,
    LIFClearGradient,
    LIFDropGradient,
    LIFGradient,
    ParallelEMPFGradient,
    ReadoutError,
    Retain,
    Triangle,
)
from edgesnn.export.functions.convolution import (
    BackwardBinaryConv2d,
    BackwardConv2d,
    BackwardMaxPool2d,
    BackwardSumPool2d,
    ByGroup,
    ConvStep,
    LearnBinaryConv2d,
    LearnConv2d,
    PixelsOfWindows,
    PixelsUnder,
    SeenFrom,
    TakePixels,
    WindowsOverPixels,
)
from edgesnn.export.functions.delay import Delay
from edgesnn.export.functions.descent import (
    Descend,
    LearnBias,
    LearnBinaryLinear,
    LearningKey,
    LearnLinear,
    LearnThreshold,
    LearnThresholdAt,
    Move,
    PackSigns,
    PairwiseRandom,
)
from edgesnn.export.functions.domain import DOMAIN, IR_VERSION, OPSET, VERSION
from edgesnn.export.functions.learning import LearnReadout, Mix, SoftmaxError, StochasticShift
from edgesnn.export.functions.means import (
    GuardCheck,
    GuardDecide,
    GuardedMeans,
    LearnMeans,
    MeanScores,
    NearestClass,
)
from edgesnn.export.functions.neuron import (
    EMPF,
    LIF,
    Grade,
    Integrate,
    LastStep,
    LeakyIntegrate,
    LIFClear,
    LIFDrop,
    NextStep,
    ParallelEMPF,
    Trace,
)
from edgesnn.export.functions.pooling import AveragePool2d, MaxPool2d, PaddedMaxPool2d, SumPool2d, Upsample2d
from edgesnn.export.functions.rescale import Add, Requantize, Rescale, Widen
from edgesnn.export.functions.synapse import (
    BinaryConv2d,
    BinaryLinear,
    Conv2d,
    GroupedBinaryConv2d,
    GroupedConv2d,
    Linear,
    PackedConv2d,
    PackedLinear,
    UnpackFields,
    UnpackSigns,
)

#: Every function by name, callees before callers.
FUNCTIONS: dict[str, OnnxFunction] = {
    function.name: function
    for function in (
        UnpackSigns, Linear, BinaryLinear, Conv2d, BinaryConv2d, MaxPool2d, Rescale, Integrate, Grade, EMPF,
        ParallelEMPF, LIF, LIFDrop, LIFClear, LeakyIntegrate, Trace, NextStep, LastStep, Mix, StochasticShift,
        SoftmaxError, LearnReadout, MeanScores, NearestClass, GuardedMeans, GuardCheck, GuardDecide, LearnMeans, Retain,
        ReadoutError, BackwardLinear, BackwardBinaryLinear, BackwardDelay, BackwardUpsample2d, ClampGradient,
        EMPFGradient, ParallelEMPFGradient, Triangle, LIFDropGradient, LIFGradient, LIFClearGradient, LearningKey,
        PairwiseRandom, Move, Descend, LearnLinear, PackSigns,
        LearnBinaryLinear, LearnThreshold, LearnThresholdAt, LearnBias, SeenFrom, PixelsUnder, TakePixels,
        WindowsOverPixels, PixelsOfWindows, ByGroup, BackwardConv2d, BackwardBinaryConv2d, BackwardMaxPool2d,
        BackwardSumPool2d, ConvStep, LearnConv2d, LearnBinaryConv2d, PaddedMaxPool2d, SumPool2d,
        AveragePool2d, Upsample2d, Requantize, Widen, Add, GroupedConv2d, GroupedBinaryConv2d, UnpackFields,
        PackedLinear, PackedConv2d, ChannelScore, ChannelAttention,
        AttentionGradient, Delay,
    )
}  # fmt: skip


def protos(names: set[str]) -> list[onnx.FunctionProto]:
    """The function definitions a graph with these node types needs, their callees included, callees first."""
    library = {name: function.to_function_proto() for name, function in FUNCTIONS.items()}
    needed: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in needed:
            needed.add(name)
            pending += [node.op_type for node in library[name].node if node.domain == DOMAIN]
    return [proto for name, proto in library.items() if name in needed]


__all__ = ["DOMAIN", "FUNCTIONS", "IR_VERSION", "OPSET", "VERSION", "protos"]
