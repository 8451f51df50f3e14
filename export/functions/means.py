"""Nearest class means with a guard, in integers: decisions, learning, and whether the learned means are used.

Shapes: C inputs, K classes, Q means a class, G = K*Q groups; group g is of class g // Q. `trace` is the running mean of
the readout's input spikes, 0 to 2^15 - 1. The equations are in docs/architecture.md ("Learning").
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
from onnxscript import script

from edgesnn.export.functions.domain import DOUBLE, INT8, INT32, INT64, TWO, edgesnn_domain, op
from edgesnn.export.functions.rescale import Rescale

BOOL = onnx.TensorProto.BOOL


@script(edgesnn_domain, default_opset=op)
def MeanScores(trace, weight, bias):
    """score[n, g] = sum_i weight[g, i]*trace[n, i] + bias[g], exact in float64; trace s32 [N, C], bias s32 [G]."""
    columns = op.Transpose(op.Cast(weight, to=DOUBLE), perm=[1, 0])
    return op.MatMul(op.Cast(trace, to=DOUBLE), columns) + op.Cast(bias, to=DOUBLE)


@script(edgesnn_domain, default_opset=op)
def NearestClass(trace, weight, bias, groups: Sequence[int]):
    """The class of the highest score, lowest index on ties; trace s32 [1, C] -> s64 [1]. `groups` is [K, Q]."""
    score = op.Reshape(MeanScores(trace, weight, bias), op.Constant(value_ints=groups))
    return op.ArgMax(op.ReduceMax(score, op.Constant(value_ints=[1]), keepdims=0), axis=0, keepdims=1)


@script(edgesnn_domain, default_opset=op)
def GuardedMeans(trace, weight, bias, factory_weight, factory_bias, use, M, shift: int, groups: Sequence[int]):
    """y[n, k] = Rescale of the best score of class k, by the learned means where `use` is set, else by the factory's.

    trace s32 [N, C]; weight s8 [G, C], bias s32 [G]; use s32 [1]; M s32 [1], one unit of a score being M / 2^shift of
    2^-10 nat -> y s32 [N, K].
    """
    learned = op.Cast(use, to=BOOL)
    chosen_weight = op.Where(learned, op.Cast(weight, to=DOUBLE), op.Cast(factory_weight, to=DOUBLE))
    chosen_bias = op.Where(learned, op.Cast(bias, to=DOUBLE), op.Cast(factory_bias, to=DOUBLE))
    score = MeanScores(trace, chosen_weight, chosen_bias)
    shape = op.Concat(op.Constant(value_ints=[-1]), op.Constant(value_ints=groups), axis=0)
    best = op.ReduceMax(op.Reshape(score, shape), op.Constant(value_ints=[2]), keepdims=0)
    return Rescale(op.Cast(best, to=INT32), M, op.Cast(op.Constant(value_ints=[0]), to=INT32), shift=shift)


@script(edgesnn_domain, default_opset=op)
def GuardCheck(
    trace, weight, bias, factory_weight, factory_bias, label, last, run, seen, factory_errors, learned_errors,
    check: int, groups: Sequence[int],
):  # fmt: skip
    """Count the errors of both models on a labelled step, before it is learned.

    run' = run + 1 while the label stays the same, else 1; a step counts from run' >= check on. All counts are halved
    when `seen` reaches 2^12: the past fades. All s32 [1] -> last', run', seen', factory_errors', learned_errors'.
    """
    same = op.Cast(op.Equal(label, last), to=INT64)
    new_run = op.Clip(op.Cast(run, to=INT64) * same + 1, 1, 1073741824)
    checked = op.Cast(op.GreaterOrEqual(new_run, op.Constant(value_int=check)), to=INT64)
    target = op.Cast(label, to=INT64)
    factory_wrong = 1 - op.Cast(
        op.Equal(NearestClass(trace, factory_weight, factory_bias, groups=groups), target), to=INT64
    )
    learned_wrong = 1 - op.Cast(op.Equal(NearestClass(trace, weight, bias, groups=groups), target), to=INT64)
    new_seen = op.Cast(seen, to=INT64) + checked
    divisor = 1 + op.Cast(op.GreaterOrEqual(new_seen, op.Constant(value_int=4096)), to=INT64)
    new_factory = (op.Cast(factory_errors, to=INT64) + checked * factory_wrong) / divisor
    new_learned = (op.Cast(learned_errors, to=INT64) + checked * learned_wrong) / divisor
    return (
        op.Identity(label), op.Cast(new_run, to=INT32), op.Cast(new_seen / divisor, to=INT32),
        op.Cast(new_factory, to=INT32), op.Cast(new_learned, to=INT32),
    )  # fmt: skip


@script(edgesnn_domain, default_opset=op)
def GuardDecide(count, seen, factory_errors, learned_errors, groups: Sequence[int]):
    """Whether the learned means are used: s32 [1], 0 or 1.

    Every class was labelled, at least 2^6 steps were checked, the factory's means erred on more than 1/32 of them, the
    learned ones on at most 4/5 as many, and on at most 1/4 of all. count s32 [G]; the others s32 [1].
    """
    labelled = op.ReduceMax(op.Reshape(count, op.Constant(value_ints=groups)), op.Constant(value_ints=[1]), keepdims=0)
    covered = op.GreaterOrEqual(op.ReduceMin(labelled, keepdims=1), op.Cast(op.Constant(value_ints=[1]), to=INT32))
    checks = op.Cast(seen, to=INT64)
    factory, learned = op.Cast(factory_errors, to=INT64), op.Cast(learned_errors, to=INT64)
    enough = op.And(covered, op.GreaterOrEqual(checks, op.Constant(value_int=64)))
    worth = op.And(op.Greater(factory * 32, checks), op.GreaterOrEqual(factory * 4, learned * 5))
    return op.Cast(op.And(op.And(enough, worth), op.GreaterOrEqual(checks, learned * 4)), to=INT32)


@script(edgesnn_domain, default_opset=op)
def LearnMeans(
    weight, bias, total, count, factory_mean, metric, trace, label, run,
    settle: int, prior: int, most: int, shift: int, bias_limit: int, groups: Sequence[int],
):  # fmt: skip
    """Add the trace to the nearest mean of its class; nothing changes while run < settle.

    With g that group: S[g] += trace, n[g] += 1, both halved when n[g] reaches `most`;
    m = ((prior*F[g] + S[g]) * (2^30 / (prior + n[g]))) / 2^30, u = P m,
    weight[g] = clamp((u + 2^(shift-1)) >> shift, -127, 127), bias[g] = max(u m, 0) / 2^(shift+1) - weight[g] m, clamped
    to +-bias_limit: the score at the mean itself is exact. Divisions round down. weight s8 [G, C], bias s32 [G], total
    (S) s32 [G, C], count (n) s32 [G], factory_mean (F) s16 [G, C], metric (P) s16 [C, C] symmetric, trace s32 [1, C],
    label and run s32 [1] -> weight', bias', total', count'.
    """
    shape = op.Constant(value_ints=groups)
    own = op.Gather(op.Reshape(MeanScores(trace, weight, bias), shape), op.Cast(label, to=INT64), axis=0)
    means = op.Gather(shape, op.Constant(value_ints=[1]))
    group = op.Cast(label, to=INT64) * means + op.ArgMax(own, axis=1, keepdims=0)

    wide_prior = op.Constant(value_int=prior)
    moved = op.Cast(op.Gather(total, group, axis=0), to=INT64) + op.Cast(trace, to=INT64)
    labels = op.Clip(op.Cast(op.Gather(count, group), to=INT64), 0, 1073741824) + 1
    divisor = 1 + op.Cast(op.GreaterOrEqual(labels, op.Constant(value_int=most)), to=INT64)
    moved, labels = moved / divisor, labels / divisor
    factory = op.Cast(op.Gather(factory_mean, group, axis=0), to=INT64) * wide_prior
    mean = (factory + moved) * (1073741824 / (labels + wide_prior)) / 1073741824

    exact = op.MatMul(op.Cast(mean, to=DOUBLE), op.Cast(metric, to=DOUBLE))
    unit = op.Pow(op.Constant(value=TWO), op.Constant(value_int=shift))
    row = op.Clip(op.Floor(exact / unit + 0.5), -127.0, 127.0)
    energy = op.ReduceSum(op.Cast(exact, to=INT64) * mean, op.Constant(value_ints=[1]), keepdims=0)
    at_mean = op.Clip(energy, 0) / op.Cast(unit * 2.0, to=INT64)
    limit = op.Constant(value_int=bias_limit)
    offset = at_mean - op.ReduceSum(op.Cast(row, to=INT64) * mean, op.Constant(value_ints=[1]), keepdims=0)

    settled = op.GreaterOrEqual(op.Cast(run, to=INT64), op.Constant(value_int=settle))
    hit = op.And(op.Equal(op.Range(0, op.Size(count), 1), group), settled)
    rows = op.Unsqueeze(hit, [1])
    new_weight = op.Where(rows, row, op.Cast(weight, to=DOUBLE))
    new_bias = op.Where(hit, op.Clip(offset, -limit, limit), op.Cast(bias, to=INT64))
    new_total = op.Where(rows, moved, op.Cast(total, to=INT64))
    new_count = op.Where(hit, labels, op.Cast(count, to=INT64))
    return (
        op.Cast(new_weight, to=INT8), op.Cast(new_bias, to=INT32), op.Cast(new_total, to=INT32),
        op.Cast(new_count, to=INT32),
    )  # fmt: skip
