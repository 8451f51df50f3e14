"""Learning through windows over images: errors back through convolutions and poolings, and descent on shared weights.

Shapes: one stream; C channels of H x W pixels in G groups, windows of kh x kw at H' x W' places, O outputs. B images
are the groups of one. All sums are those of float64 products below 2^53. Equations: docs/learning-layers.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from onnxscript import script

from edgesnn.export.functions.descent import Move, PackSigns
from edgesnn.export.functions.domain import DOUBLE, INT8, INT32, INT64, edgesnn_domain, op
from edgesnn.export.functions.synapse import UnpackSigns


@script(edgesnn_domain, default_opset=op)
def SeenFrom(size, windows, kernel, stride, pad, dilation):
    """Along one axis: the window that sees pixel y at place i, or `windows` for none; s64 scalars -> [size, kernel]."""
    at = op.Unsqueeze(op.Range(0, size, 1) + pad, [1]) - op.Unsqueeze(op.Range(0, kernel, 1) * dilation, [0])
    window = at / stride
    on_grid = op.And(op.GreaterOrEqual(at, 0), op.Equal(window * stride, at))
    return op.Where(op.And(on_grid, op.Less(window, windows)), window, windows)


@script(edgesnn_domain, default_opset=op)
def PixelsUnder(size, windows, kernel, stride, pad, dilation):
    """Along one axis: the pixel at place i of a window, or `size` for padding; s64 scalars -> [windows, kernel]."""
    places = op.Unsqueeze(op.Range(0, kernel, 1) * dilation, [0])
    at = op.Unsqueeze(op.Range(0, windows, 1) * stride - pad, [1]) + places
    return op.Where(op.And(op.GreaterOrEqual(at, 0), op.Less(at, size)), at, size)


@script(edgesnn_domain, default_opset=op)
def TakePixels(x, rows, columns):
    """x [B, C, H, W], rows s64 [A, kh] to H, columns s64 [D, kw] to W -> f64 [B, C, A, kh, D, kw]; beyond x is 0."""
    edge = op.Constant(value_ints=[0, 0, 0, 0, 0, 0, 1, 1])
    padded = op.Pad(op.Cast(x, to=DOUBLE), edge)
    return op.Gather(op.Gather(padded, rows, axis=2), columns, axis=4)


@script(edgesnn_domain, default_opset=op)
def WindowsOverPixels(g, size, kernel, strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]):
    """Of g [B, O, H', W'], what each pixel is seen by; size, kernel s64 [2] -> f64 [B, O, H, kh, W, kw]."""
    windows, steps, before = op.Shape(g, start=2), op.Constant(value_ints=strides), op.Constant(value_ints=pads)
    gaps = op.Constant(value_ints=dilations)
    rows = SeenFrom(op.Gather(size, 0), op.Gather(windows, 0), op.Gather(kernel, 0), op.Gather(steps, 0),
                    op.Gather(before, 0), op.Gather(gaps, 0))  # fmt: skip
    columns = SeenFrom(op.Gather(size, 1), op.Gather(windows, 1), op.Gather(kernel, 1), op.Gather(steps, 1),
                       op.Gather(before, 1), op.Gather(gaps, 1))  # fmt: skip
    return TakePixels(g, rows, columns)


@script(edgesnn_domain, default_opset=op)
def PixelsOfWindows(x, windows, kernel, strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int]):
    """Of x [B, C, H, W], what each window [H', W'] sees; windows, kernel s64 [2] -> f64 [B, C, H', kh, W', kw]."""
    size, steps, before = op.Shape(x, start=2), op.Constant(value_ints=strides), op.Constant(value_ints=pads)
    gaps = op.Constant(value_ints=dilations)
    rows = PixelsUnder(op.Gather(size, 0), op.Gather(windows, 0), op.Gather(kernel, 0), op.Gather(steps, 0),
                       op.Gather(before, 0), op.Gather(gaps, 0))  # fmt: skip
    columns = PixelsUnder(op.Gather(size, 1), op.Gather(windows, 1), op.Gather(kernel, 1), op.Gather(steps, 1),
                          op.Gather(before, 1), op.Gather(gaps, 1))  # fmt: skip
    return TakePixels(x, rows, columns)


@script(edgesnn_domain, default_opset=op)
def ByGroup(x, group: int):
    """The channels of a group as an image of its own: x [1, C, H, W] -> [G, C / G, H, W]."""
    groups = op.Reshape(op.Constant(value_int=group), [1])
    return op.Reshape(x, op.Concat(groups, op.Constant(value_ints=[-1]), op.Shape(x, start=2), axis=0))


@script(edgesnn_domain, default_opset=op)
def BackwardConv2d(
    g, w, size: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int], group: int
):  # fmt: skip
    """g_s[c, y, x] = sum of w[o, c, i, j]*g[o, p] over all windows p whose place (i, j) is pixel (y, x), and the
    outputs o of the group of c.

    g s32 [1, O, H', W'], w s8 [O, C / G, kh, kw], `size` [H, W] -> s32 [1, C, H, W], exact below 2^31.
    """
    image, groups = op.Constant(value_ints=size), op.Reshape(op.Constant(value_int=group), [1])
    rest, pixels = op.Constant(value_ints=[-1]), op.ReduceProd(op.Constant(value_ints=size))
    seen = WindowsOverPixels(ByGroup(g, group=group), image, op.Shape(w, start=2), strides=strides, pads=pads,
                             dilations=dilations)  # fmt: skip
    by_pixel = op.Reshape(op.Transpose(seen, perm=[0, 2, 4, 1, 3, 5]), op.Concat(groups, pixels, rest, axis=0))
    matrix = op.Reshape(op.Cast(w, to=DOUBLE), op.Concat(groups, rest, op.Shape(w, start=1), axis=0))
    by_place = op.Reshape(
        op.Transpose(matrix, perm=[0, 1, 3, 4, 2]), op.Concat(groups, rest, op.Shape(w, start=1, end=2), axis=0)
    )
    sums = op.Transpose(op.MatMul(by_pixel, by_place), perm=[0, 2, 1])
    return op.Cast(op.Reshape(sums, op.Concat(op.Constant(value_ints=[1, -1]), image, axis=0)), to=INT32)


@script(edgesnn_domain, default_opset=op)
def BackwardBinaryConv2d(
    g, w, fan_in: int, kernel: Sequence[int], size: Sequence[int], strides: Sequence[int], pads: Sequence[int],
    dilations: Sequence[int], group: int,
):  # fmt: skip
    """`BackwardConv2d` of +-1; w packed u8 [O, ceil(fan_in / 8)], `kernel` [O, C / G, kh, kw]."""
    weights = op.Reshape(UnpackSigns(w, fan_in=fan_in), op.Constant(value_ints=kernel))
    return BackwardConv2d(g, weights, size=size, strides=strides, pads=pads, dilations=dilations, group=group)


@script(edgesnn_domain, default_opset=op)
def BackwardMaxPool2d(g, x, kernel_shape: Sequence[int], strides: Sequence[int], pads: Sequence[int]):
    """The gradient of each window to the largest of its pixels, of equal ones to the first, row by row.

    g s32 [1, C, H', W'], x u8/s8 [1, C, H, W] -> s32 [1, C, H, W]; padding is below every pixel.
    """
    kernel, above_zero = op.Constant(value_ints=kernel_shape), op.Cast(x, to=INT32) + 129
    pixels = PixelsOfWindows(above_zero, op.Shape(g, start=2), kernel, strides=strides, pads=pads, dilations=[1, 1])
    places = op.Transpose(pixels, perm=[0, 1, 2, 4, 3, 5])
    by_window = op.Reshape(places, op.Constant(value_ints=[0, 0, 0, 0, -1]))
    winner = op.ArgMax(by_window, axis=4, keepdims=0, select_last_index=0)
    size = op.Shape(x, start=2)
    numbers = op.Range(0, op.ReduceProd(kernel, keepdims=0), 1)
    own = op.Reshape(numbers, op.Concat([1], op.Slice(kernel, [0], [1]), [1], op.Slice(kernel, [1], [2]), axis=0))
    seen_by = WindowsOverPixels(winner, size, kernel, strides=strides, pads=pads, dilations=[1, 1])
    won = op.Cast(op.Equal(seen_by, op.Cast(own, to=DOUBLE)), to=DOUBLE)
    errors = WindowsOverPixels(g, size, kernel, strides=strides, pads=pads, dilations=[1, 1])
    return op.Cast(op.ReduceSum(errors * won, [3, 5], keepdims=0), to=INT32)


@script(edgesnn_domain, default_opset=op)
def BackwardSumPool2d(
    g, size: Sequence[int], kernel_shape: Sequence[int], strides: Sequence[int], pads: Sequence[int]
):  # fmt: skip
    """The gradient of each window to all of its pixels; g s32 [1, C, H', W'], `size` [H, W] -> s32 [1, C, H, W]."""
    image, kernel = op.Constant(value_ints=size), op.Constant(value_ints=kernel_shape)
    errors = WindowsOverPixels(g, image, kernel, strides=strides, pads=pads, dilations=[1, 1])
    return op.Cast(op.ReduceSum(errors, [3, 5], keepdims=0), to=INT32)


@script(edgesnn_domain, default_opset=op)
def ConvStep(
    x, step, kernel, limit: int, strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int], group: int
):  # fmt: skip
    """sum_p q[o, p]*x[c, i, j under p], q = clamp(step, -limit, limit), exact; -> f64 [O, C / G*kh*kw].

    x u8/s8 [1, C, H, W], step s32 [1, O, H', W'], kernel s64 [kh, kw].
    """
    most, groups = op.Constant(value_int=limit), op.Reshape(op.Constant(value_int=group), [1])
    windows = op.ReduceProd(op.Shape(step, start=2))
    q = op.Cast(op.Clip(op.Cast(step, to=INT64), -most, most), to=DOUBLE)
    by_output = op.Reshape(q, op.Concat(groups, op.Constant(value_ints=[-1]), windows, axis=0))
    pixels = PixelsOfWindows(ByGroup(x, group=group), op.Shape(step, start=2), kernel, strides=strides, pads=pads,
                             dilations=dilations)  # fmt: skip
    by_window = op.Reshape(
        op.Transpose(pixels, perm=[0, 2, 4, 1, 3, 5]),
        op.Concat(groups, windows, op.Constant(value_ints=[-1]), axis=0),
    )
    outputs = op.Concat(op.Shape(step, start=1, end=2), op.Constant(value_ints=[-1]), axis=0)
    return op.Reshape(op.MatMul(by_output, by_window), outputs)


@script(edgesnn_domain, default_opset=op)
def LearnConv2d(
    weight, x, step, count, limit: int, shift: int, seed: int, strides: Sequence[int], pads: Sequence[int],
    dilations: Sequence[int], group: int,
):  # fmt: skip
    """One step of descent on weights s8 [O, C / G, kh, kw], by the sum over all windows; operands as in `ConvStep`.

    limit*max|x| + 2^shift <= 2^31; the random numbers are those of a matrix [O, C / G*kh*kw].
    """
    total = ConvStep(x, step, op.Shape(weight, start=2), limit=limit, strides=strides, pads=pads,
                     dilations=dilations, group=group)  # fmt: skip
    moved = Move(op.Flatten(weight, axis=1), total, count, shift=shift, seed=seed)
    return op.Cast(op.Reshape(moved, op.Shape(weight)), to=INT8)


@script(edgesnn_domain, default_opset=op)
def LearnBinaryConv2d(
    weight, latent, x, step, count, limit: int, shift: int, seed: int, strides: Sequence[int], pads: Sequence[int],
    dilations: Sequence[int], group: int, fill: Sequence[int],
):  # fmt: skip
    """The same on latents s8 [O, C / G, kh, kw], whose signs are the weights, packed u8; `fill` as in `PackSigns`."""
    total = ConvStep(x, step, op.Shape(latent, start=2), limit=limit, strides=strides, pads=pads,
                     dilations=dilations, group=group)  # fmt: skip
    moved = Move(op.Flatten(latent, axis=1), total, count, shift=shift, seed=seed)
    return PackSigns(moved, pads=fill), op.Cast(op.Reshape(moved, op.Shape(latent)), to=INT8)
