# mypy: ignore-errors
"""Scheduled kernels of neurons and pooling for TVM: one pass over memory, T time steps in it.

v [n], I [T, n], or [1, n] for all steps, lam and theta [1] -> s [T, n], v' [n], with n values of a sample. The formulas
are those of the function library, in integers.
"""

from __future__ import annotations

from typing import Any

from tvm.script import tirx as T

_LANES = 16
_LOW, _HIGH = -(2**23), 2**23 - 1


def neuron(kind: str, size: int, steps: int, attributes: dict[str, int], *, held: bool = False) -> Any:
    """`kind` is EMPF, LIF or LeakyIntegrate, which takes the leak twice and gives int32; `held`: I is [1, n]."""
    currents, next_current = (1, 0) if held else (steps, 1)
    lanes = _LANES if size >= _LANES else 1
    result = "int32" if kind == "LeakyIntegrate" else "uint8"
    k, top = attributes.get("k", 0), 2 ** attributes.get("bits", 1) - 1

    @T.prim_func(private=True)
    def kernel(
        v: T.Buffer((size,), "int32"),
        current: T.Buffer((currents, size), "int32"),
        lam: T.Buffer((1,), "int32"),
        theta: T.Buffer((1,), "int32"),
        s: T.Buffer((steps, size), result),
        left: T.Buffer((size,), "int32"),
    ):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        state = T.alloc_buffer((lanes,), "int32", scope="local")
        m = T.alloc_buffer((lanes,), "int32", scope="local")
        fired = T.alloc_buffer((lanes,), "int32", scope="local")
        for i in T.serial(-(-size // lanes)):
            state[_span(0, lanes)] = v[_span(T.min(i * lanes, size - lanes), lanes)]
            for t in T.unroll(steps):
                m[_span(0, lanes)] = _integrated(
                    state[_span(0, lanes)],
                    current[t * next_current, _span(T.min(i * lanes, size - lanes), lanes)],
                    lam[0],
                    lanes,
                )
                if kind == "LeakyIntegrate":
                    fired[_span(0, lanes)] = m[_span(0, lanes)]
                    state[_span(0, lanes)] = m[_span(0, lanes)]
                elif kind == "LIF":
                    fired[_span(0, lanes)] = T.Select(
                        m[_span(0, lanes)] >= _all(theta[0], lanes),
                        _all(T.int32(1), lanes),
                        _all(T.int32(0), lanes),
                    )
                    state[_span(0, lanes)] = m[_span(0, lanes)] - fired[_span(0, lanes)] * _all(theta[0], lanes)
                else:
                    fired[_span(0, lanes)] = _graded(m[_span(0, lanes)], theta[0], k, top, lanes)
                    state[_span(0, lanes)] = m[_span(0, lanes)] - fired[_span(0, lanes)] * _all(T.int32(1 << k), lanes)
                s[t, _span(T.min(i * lanes, size - lanes), lanes)] = T.cast(
                    fired[_span(0, lanes)], _type(result, lanes)
                )
            left[_span(T.min(i * lanes, size - lanes), lanes)] = state[_span(0, lanes)]

    return kernel


def parallel_empf(size: int, attributes: dict[str, int]) -> Any:
    """I [n], theta [1] -> s [n]: s = Grade(sat24(I))."""
    lanes = _LANES if size >= _LANES else 1
    k, top = attributes["k"], 2 ** attributes["bits"] - 1

    @T.prim_func(private=True)
    def kernel(current: T.Buffer((size,), "int32"), theta: T.Buffer((1,), "int32"), s: T.Buffer((size,), "uint8")):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        for i in T.serial(-(-size // lanes)):
            s[_span(T.min(i * lanes, size - lanes), lanes)] = T.cast(
                _graded(
                    _saturated(current[_span(T.min(i * lanes, size - lanes), lanes)], lanes), theta[0], k, top, lanes
                ),
                _type("uint8", lanes),
            )

    return kernel


def max_pool2d(planes: int, size: tuple[int, int], kernel_shape: tuple[int, int], strides: tuple[int, int]) -> Any:
    """x u8 [planes, H, W] -> [planes, H', W'], no padding."""
    (height, width), (kh, kw), (sy, sx) = size, kernel_shape, strides
    rows, columns = (height - kh) // sy + 1, (width - kw) // sx + 1

    # A block, because TVM looks for reshapes in kernels of one input, and expects blocks in them.
    @T.prim_func(private=True, s_tir=True)
    def kernel(x: T.Buffer((planes, height, width), "uint8"), y: T.Buffer((planes, rows, columns), "uint8")):
        T.func_attr({"tirx.noalias": True, "tirx.is_scheduled": True})
        with T.sblock("pool"):
            T.reads(x[0:planes, 0:height, 0:width])
            T.writes(y[0:planes, 0:rows, 0:columns])
            tallest = T.alloc_buffer((width,), "uint8")
            for c in T.serial(planes):
                for r in T.serial(rows):
                    for j in T.serial(width):
                        tallest[j] = x[c, r * sy, j]
                    for a in T.serial(kh - 1):
                        for j in T.serial(width):
                            tallest[j] = T.max(tallest[j], x[c, r * sy + a + 1, j])
                    for j in T.serial(columns):
                        y[c, r, j] = tallest[j * sx]
                    for a in T.serial(kw - 1):
                        for j in T.serial(columns):
                            y[c, r, j] = T.max(y[c, r, j], tallest[j * sx + a + 1])

    return kernel


def _span(start, lanes):
    """The indices of a vector; the last one of an array goes back over values that are done, to the same results."""
    return start if lanes == 1 else T.ramp(start, 1, lanes)


def _all(value, lanes):
    return value if lanes == 1 else T.broadcast(value, lanes)


def _type(base, lanes):
    return base if lanes == 1 else f"{base}x{lanes}"


def _saturated(value, lanes):
    return T.max(T.min(value, _all(T.int32(_HIGH), lanes)), _all(T.int32(_LOW), lanes))


def _integrated(v, current, lam, lanes):
    """sat24(((lam*v + 2^14) >> 15) + I)."""
    product = T.cast(v, _type("int64", lanes)) * T.cast(_all(lam, lanes), _type("int64", lanes)) + _all(
        T.int64(2**14), lanes
    )
    leaked = T.cast(product >> _all(T.int64(15), lanes), _type("int32", lanes))
    return _saturated(leaked + current, lanes)


def _graded(m, theta, k, top, lanes):
    """clamp((m - theta + 2^(k-1)) >> k, 0, 2^bits - 1)."""
    moved = m - _all(theta, lanes) + _all(T.int32((1 << k) >> 1), lanes)
    level = moved >> _all(T.int32(k), lanes)
    return T.max(T.min(level, _all(T.int32(top), lanes)), _all(T.int32(0), lanes))
