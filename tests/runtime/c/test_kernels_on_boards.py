"""The kernels as compiled for each emulated core, its own variants among them, against the NumPy formulas."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import golden
import numpy as np
import pytest
from emulated import EMULATED, need

import edgesnn.runtime
from edgesnn import boards
from edgesnn.export.c_kernels import (
    dsp_rows,
    event_rows,
    helium_event_packed_rows,
    helium_packed_rows,
    helium_rows,
    packed_rows,
)
from edgesnn.runtime.board import Harness
from edgesnn.runtime.firmware import build

LINEAR, BINARY_LINEAR, CONV2D, BINARY_CONV2D, EVENT_LINEAR, EVENT_CONV2D = range(6)
PACKED_LINEAR, PACKED_CONV2D, EVENT_PACKED_LINEAR, EVENT_PACKED_CONV2D = range(6, 10)
RESCALE, EMPF, PARALLEL_EMPF, LIF, LEAKY_INTEGRATE, TRACE = range(10, 16)
X_BYTES, W_BYTES, RESULTS = 4096 + 16, 6112, 1024
DSP_CORES = ("cortex_m4", "cortex_m7", "cortex_m33", "cortex_m55")
ENDS = (0, 1, 2**14, 2**15 - 1, 2**15)

Array = np.ndarray[Any, Any]
Call = Callable[..., Array]


# All but the one whose memory does not hold a request; its instruction set is that of mps2-an385-armv6m.
BOARDS = [board for board in EMULATED if (boards.load(board).ram_bytes or 2**32) >= 65536]


@pytest.fixture(scope="module", params=BOARDS)
def call(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    """Run one kernel on the board; int32 results [1024]."""
    need(request.param)
    folder = tmp_path_factory.mktemp("kernels") / "c"
    shutil.copytree(Path(__file__).parent / "kernel_server", folder / "src")
    runtime = Path(edgesnn.runtime.__file__).parent / "c"
    (folder / "src" / "esnn").mkdir()
    for path in (*runtime.glob("include/*.h"), *runtime.glob("src/*")):
        shutil.copy(path, folder / "src" / "esnn")
    harness = Harness(build(folder, boards.load(request.param)))

    def run(kernel: int, x: Array, w: Array, window: tuple[int, ...], numbers: tuple[int, ...] = (0, 0, 0, 0),
            skip: tuple[int, int] = (0, 0)) -> Array:  # fmt: skip
        head = np.array([kernel, x.dtype == np.int8, *skip, *numbers, *window], np.int64).astype("<i4").tobytes()
        at = [(bytes(n) + array.tobytes()) for n, array in zip(skip, (x, w), strict=True)]
        assert len(at[0]) <= X_BYTES
        assert len(at[1]) <= W_BYTES
        return np.frombuffer(harness.step(head + at[0].ljust(X_BYTES, b"\xa5") + at[1].ljust(W_BYTES, b"\x5a")), "<i4")

    yield run
    harness.close()


def extreme(rng: np.random.Generator, dtype: Any, shape: Any, limits: tuple[int, int] | None = None) -> Array:
    """Anything; or everything at one end of its range; or a mixture."""
    low, high = limits or (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
    values = rng.integers(low, high, shape, np.int64, endpoint=True)
    ends = rng.choice([low, high], shape) if rng.random() < 0.5 else np.full(shape, rng.choice([low, high]))
    return np.where(rng.random(shape) < rng.choice([0, 0.5, 1]), values, ends).astype(dtype)


def weights(rng: np.random.Generator, shape: tuple[int, ...], binary: bool) -> tuple[Array, Array]:
    """As numbers, and as stored."""
    w = extreme(rng, np.int8, shape)
    if not binary:
        return w, w
    signs = np.where(w > 0, 1, -1).astype(np.int8)
    return signs, golden.pack_signs(signs)


@pytest.mark.parametrize("binary", [False, True])
def test_linear(call: Call, binary: bool) -> None:
    rng = np.random.default_rng(5)
    sizes = [*range(1, 36), 63, 64, 65, 96, 127, 255, 256, 257]
    for inputs in sizes:
        outputs, dtype = int(rng.integers(1, 12)), rng.choice([np.uint8, np.int8])
        x, (w, stored) = extreme(rng, dtype, inputs), weights(rng, (outputs, inputs), binary)
        skip = tuple(map(int, rng.integers(0, 4, 2)))
        window = (inputs, 1, 1, outputs, *[1] * 8)
        got = call(BINARY_LINEAR if binary else LINEAR, x, stored, window, skip=skip)
        np.testing.assert_array_equal(got[:outputs], golden.linear(x, w), f"{inputs} -> {outputs} {dtype}")
        assert not got[outputs:].any()


def test_binary_linear_of_many_outputs(call: Call) -> None:
    rng = np.random.default_rng(12)
    for inputs in [1, 7, 8, 9, 16, 31, 32, 33, 64, 100, 256]:
        outputs, dtype = int(rng.integers(24, 150)), rng.choice([np.uint8, np.int8])
        x, (w, stored) = extreme(rng, dtype, inputs), weights(rng, (outputs, inputs), binary=True)
        skip = tuple(map(int, rng.integers(0, 4, 2)))
        got = call(BINARY_LINEAR, x, stored, (inputs, 1, 1, outputs, *[1] * 8), skip=skip)
        np.testing.assert_array_equal(got[:outputs], golden.linear(x, w), f"{inputs} -> {outputs} {dtype}")
        assert not got[outputs:].any()


def random_window(
    rng: np.random.Generator, outputs: int | None = None
) -> tuple[tuple[int, ...], tuple[int, int], tuple[int, ...]]:
    """Fields of esnn_window, strides and ONNX pads; at least one output pixel."""
    while True:
        kernel, strides = rng.integers(1, 5, 2), rng.integers(1, 3, 2)
        if rng.random() < 0.5:
            kernel, strides = np.array([3, 3]), np.array([1, 1])
        pads, (height, width) = rng.integers(0, 3, 4), rng.integers(1, 10, 2)
        rows, columns = height + pads[0] + pads[2] - kernel[0], width + pads[1] + pads[3] - kernel[1]
        channels = int(rng.integers(1, 12))
        outputs = outputs or int(rng.integers(1, 9))
        shape = (rows // strides[0] + 1, columns // strides[1] + 1)
        if rows >= 0 and columns >= 0 and outputs * shape[0] * shape[1] <= RESULTS:
            break
    fields = (channels, height, width, outputs, *shape, *kernel, *strides, pads[0], pads[1])
    return tuple(map(int, fields)), tuple(map(int, strides)), tuple(map(int, pads))


@pytest.mark.parametrize("binary", [False, True])
def test_conv2d(call: Call, binary: bool) -> None:
    rng = np.random.default_rng(6)
    for _ in range(80):
        window, strides, pads = random_window(rng)
        dtype = rng.choice([np.uint8, np.int8])
        x = extreme(rng, dtype, window[:3])
        w, stored = weights(rng, (window[3], window[0], *window[6:8]), binary)
        skip = tuple(map(int, rng.integers(0, 4, 2)))
        got = call(BINARY_CONV2D if binary else CONV2D, x, stored, window, skip=skip)
        expected = golden.conv2d(x, w, strides, pads).ravel()
        np.testing.assert_array_equal(got[: expected.size], expected, f"{window} {pads} {dtype}")
        assert not got[expected.size :].any()


def spikes(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """None, a few or all of the inputs."""
    return (rng.random(shape) < rng.choice([0, 0.1, 0.5, 1])).astype(np.uint8)


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> Callable[[Array], Array]:
    """How the board stores weights for adding."""
    helium = "mve" in boards.load(request.node.callspec.params["call"]).toolchain.cpu
    return lambda w: helium_rows(event_rows(w), len(w)) if helium else event_rows(w)


def test_event_linear(call: Call, rows: Callable[[Array], Array]) -> None:
    rng = np.random.default_rng(10)
    sizes = [*range(1, 12), 31, 64, 127]
    cases = [(n, int(rng.integers(1, 40))) for n in sizes]
    cases += [(255, 4), (256, 20), (257, 17), (700, 7), (33, 128), (40, 48), (45, 81), (62, 95), (500, 9)]
    for inputs, outputs in cases:
        x, w = spikes(rng, (inputs,)), extreme(rng, np.int8, (outputs, inputs))
        got = call(EVENT_LINEAR, x, rows(w), (inputs, 1, 1, outputs, *[1] * 8))
        np.testing.assert_array_equal(got[:outputs], golden.linear(x, w), f"{inputs} -> {outputs}")
        assert not got[outputs:].any()


def test_sums_at_their_limits(call: Call, rows: Callable[[Array], Array]) -> None:
    """256 rows and more of the least and of the greatest weight."""
    for inputs, least, greatest in [(256, -128, 127), (300, 127, -128), (512, -128, -128), (513, 127, 127)]:
        w = np.tile(np.array([least, greatest, greatest, least, greatest], np.int8)[:, None], (1, inputs))
        x = np.ones(inputs, np.uint8)
        got = call(EVENT_LINEAR, x, rows(w), (inputs, 1, 1, 5, *[1] * 8))
        np.testing.assert_array_equal(got[:5], golden.linear(x, w))


def test_event_conv2d(call: Call, rows: Callable[[Array], Array]) -> None:
    rng = np.random.default_rng(11)
    for turn in range(40):
        window, strides, pads = random_window(rng, outputs=int(rng.integers(1, 9)) if turn % 2 else 16)
        x, w = spikes(rng, window[:3]), extreme(rng, np.int8, (window[3], window[0], *window[6:8]))
        got = call(EVENT_CONV2D, x, rows(w), window)
        expected = golden.conv2d(x, w, strides, pads).ravel()
        np.testing.assert_array_equal(got[: expected.size], expected, f"{window} {pads}")
        assert not got[expected.size :].any()


def test_event_conv2d_of_many_channels(call: Call, rows: Callable[[Array], Array]) -> None:
    """More channels than a word has bits, more pixels than a vector has bytes, more rows than 16 bits can add up."""
    rng = np.random.default_rng(12)
    for channels, height, width, outputs in [(32, 3, 18, 9), (33, 3, 5, 17), (70, 4, 4, 5), (9, 2, 35, 13)]:
        x, w = spikes(rng, (channels, height, width)), extreme(rng, np.int8, (outputs, channels, 3, 3))
        got = call(EVENT_CONV2D, x, rows(w), (channels, height, width, outputs, height, width, 3, 3, 1, 1, 1, 1))
        expected = golden.conv2d(x, w, (1, 1), (1, 1, 1, 1)).ravel()
        np.testing.assert_array_equal(got[: expected.size], expected, f"{channels} {height} {width} {outputs}")


@pytest.fixture
def packed(request: pytest.FixtureRequest) -> Callable[[Array, int], Array]:
    """How the board stores weights [O, C] of 2 and 4 bits."""
    cpu = boards.load(request.node.callspec.params["call"]).toolchain.cpu
    if "mve" in cpu:
        return lambda w, bits: helium_packed_rows(packed_rows(w, bits), *w.shape, bits)
    if any(core in cpu for core in DSP_CORES):
        return lambda w, bits: dsp_rows(packed_rows(w, bits), w.shape[1])
    return packed_rows


@pytest.fixture
def packed_events(request: pytest.FixtureRequest) -> Callable[[Array, int], Array]:
    """How the board stores weights [O, C] of 2 and 4 bits for adding."""
    if "mve" in boards.load(request.node.callspec.params["call"]).toolchain.cpu:
        return lambda w, bits: helium_event_packed_rows(packed_rows(w, bits), *w.shape, bits)
    return packed_rows


def fields(rng: np.random.Generator, shape: tuple[int, ...], bits: int) -> Array:
    return extreme(rng, np.int8, shape, (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))


@pytest.mark.parametrize("bits", [2, 4])
def test_packed_linear(call: Call, packed: Callable[[Array, int], Array], bits: int) -> None:
    rng = np.random.default_rng(13)
    for inputs in [*range(1, 20), 31, 33, 64, 127, 200]:
        outputs, dtype = int(rng.integers(1, 34)), rng.choice([np.uint8, np.int8])
        x, w = extreme(rng, dtype, inputs), fields(rng, (outputs, inputs), bits)
        skip = (int(rng.integers(0, 4)), 0)
        got = call(PACKED_LINEAR, x, packed(w, bits), (inputs, 1, 1, outputs, *[1] * 8), (bits, 0, 0, 0), skip)
        np.testing.assert_array_equal(got[:outputs], golden.linear(x, w), f"{inputs} -> {outputs} {dtype}")
        assert not got[outputs:].any()


@pytest.mark.parametrize("bits", [2, 4])
def test_packed_conv2d(call: Call, packed: Callable[[Array, int], Array], bits: int) -> None:
    rng = np.random.default_rng(14)
    for _ in range(20):
        window, strides, pads = random_window(rng)
        dtype, shape = rng.choice([np.uint8, np.int8]), (window[3], window[0], *window[6:8])
        x, w = extreme(rng, dtype, window[:3]), fields(rng, shape, bits)
        got = call(PACKED_CONV2D, x, packed(w.reshape(len(w), -1), bits), window, (bits, 1, 1, 1),
                   (int(rng.integers(0, 4)), 0))  # fmt: skip
        expected = golden.conv2d(x, w, strides, pads).ravel()
        np.testing.assert_array_equal(got[: expected.size], expected, f"{window} {pads} {dtype}")
        assert not got[expected.size :].any()


@pytest.mark.parametrize("bits", [2, 4])
def test_packed_conv2d_of_many_outputs_in_groups_with_gaps(call: Call, packed: Callable[[Array, int], Array],
                                                           bits: int) -> None:  # fmt: skip
    """More pixels than a vector has lanes, outputs in more than one block, and windows wider than the image."""
    rng = np.random.default_rng(17)
    for turn in range(12):
        groups, each, per_group = int(rng.integers(1, 3)), int(rng.integers(1, 10)), int(rng.choice([5, 8, 9, 18]))
        dilation = (1, 1) if turn % 2 else tuple(map(int, rng.integers(1, 3, 2)))
        height, width, stride = int(rng.integers(2, 6)), int(rng.integers(1, 8)), tuple(map(int, rng.integers(1, 3, 2)))
        rows, columns = (height - 1) // stride[0] + 1, (width - 1) // stride[1] + 1
        pads = (dilation[0], dilation[1]) * 2
        window = (groups * each, height, width, groups * per_group, rows, columns, 3, 3, *stride, *dilation)
        dtype = rng.choice([np.uint8, np.int8])
        x, w = extreme(rng, dtype, window[:3]), fields(rng, (groups * per_group, each, 3, 3), bits)
        stored = np.concatenate([packed(part, bits) for part in np.split(w.reshape(len(w), -1), groups)])
        got = call(PACKED_CONV2D, x, stored, window, (bits, *dilation, groups), (int(rng.integers(0, 4)), 0))
        expected = golden.conv2d(x, w, stride, pads, dilation, groups).ravel()
        np.testing.assert_array_equal(got[: expected.size], expected, f"{window} {dilation} {groups} {dtype}")
        assert not got[expected.size :].any()


@pytest.mark.parametrize("bits", [2, 4])
def test_event_packed_linear(call: Call, packed_events: Callable[[Array, int], Array], bits: int) -> None:
    rng = np.random.default_rng(15)
    cases = [(1, 1), (5, 8), (16, 9), (17, 33), (64, 31), (90, 65), (200, 16), (300, 17), (33, 130), (60, 100)]
    for inputs, outputs in cases:
        x, w = spikes(rng, (inputs,)), fields(rng, (outputs, inputs), bits)
        rows = packed_events(w, bits)
        got = call(EVENT_PACKED_LINEAR, x, rows, (inputs, 1, 1, outputs, *[1] * 8), (bits, 0, 0, 0))
        np.testing.assert_array_equal(got[:outputs], golden.linear(x, w), f"{inputs} -> {outputs}")
        assert not got[outputs:].any()


@pytest.mark.parametrize("bits", [2, 4])
def test_packed_event_sums_at_their_limits(call: Call, packed_events: Callable[[Array, int], Array], bits: int) -> None:
    """More rows of the least and of the greatest weight than sums of 4 or 8 bits have room for."""
    ends = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for inputs, outputs in [(15, 5), (16, 5), (17, 40), (86, 70), (300, 3), (1500, 2)]:
        w = np.array([ends[o % 3 == 0] for o in range(outputs)], np.int8).repeat(inputs).reshape(outputs, inputs)
        got = call(EVENT_PACKED_LINEAR, np.ones(inputs, np.uint8), packed_events(w, bits),
                   (inputs, 1, 1, outputs, *[1] * 8), (bits, 0, 0, 0))  # fmt: skip
        np.testing.assert_array_equal(got[:outputs], w.sum(axis=1, dtype=np.int64))


@pytest.mark.parametrize("bits", [2, 4])
def test_event_packed_conv2d(call: Call, packed_events: Callable[[Array, int], Array], bits: int) -> None:
    rng = np.random.default_rng(16)
    for turn in range(20):
        window, strides, pads = random_window(rng, outputs=int(rng.integers(1, 9)) if turn % 2 else 16)
        x, w = spikes(rng, window[:3]), fields(rng, (window[3], window[0], *window[6:8]), bits)
        rows = packed_events(np.moveaxis(w, 1, -1).reshape(len(w), -1), bits)
        got = call(EVENT_PACKED_CONV2D, x, rows, window, (bits, 0, 0, 0))
        expected = golden.conv2d(x, w, strides, pads).ravel()
        np.testing.assert_array_equal(got[: expected.size], expected, f"{window} {pads}")
        assert not got[expected.size :].any()


def test_binary_conv2d_of_many_channels(call: Call) -> None:
    """Rows of weights of more than one vector or word, and every kind of border."""
    rng = np.random.default_rng(10)
    for _ in range(30):
        channels, height, width, outputs = map(int, rng.integers((14, 1, 2, 1), (60, 5, 13, 6)))
        pads = rng.integers(0, 2, 4)
        pads[:2] = np.maximum(pads[:2], [3 - height - pads[2], 3 - width - pads[3]])
        rows, columns = height + pads[0] + pads[2] - 2, width + pads[1] + pads[3] - 2
        window = (channels, height, width, outputs, rows, columns, 3, 3, 1, 1, pads[0], pads[1])
        dtype = rng.choice([np.uint8, np.int8])
        x = extreme(rng, dtype, window[:3])
        w, stored = weights(rng, (outputs, channels, 3, 3), binary=True)
        got = call(BINARY_CONV2D, x, stored, tuple(map(int, window)), skip=tuple(map(int, rng.integers(0, 4, 2))))
        expected = golden.conv2d(x, w, (1, 1), tuple(map(int, pads))).ravel()
        np.testing.assert_array_equal(got[: expected.size], expected, f"{window} {pads} {dtype}")
        assert not got[expected.size :].any()


@pytest.mark.parametrize("channels", [25, 32, 36])
def test_binary_conv2d_of_large_windows(call: Call, channels: int) -> None:
    """So many outputs, places and pixels that all cores but one with Helium use tables."""
    rng = np.random.default_rng(channels)
    window, pads = (channels, 6, 15, 8, 8, 16, 6, 6, 1, 1, 3, 3), (3, 3, 4, 3)
    dtype = rng.choice([np.uint8, np.int8])
    x = extreme(rng, dtype, window[:3])
    w, stored = weights(rng, (8, channels, 6, 6), binary=True)
    got = call(BINARY_CONV2D, x, stored, window, skip=tuple(map(int, rng.integers(0, 4, 2))))
    np.testing.assert_array_equal(got, golden.conv2d(x, w, (1, 1), pads).ravel())


def elements(n: int, outputs: int = 1) -> tuple[int, ...]:
    return (n, 1, 1, outputs, *[1] * 8)


def test_rescale(call: Call) -> None:
    rng = np.random.default_rng(7)
    for shift in range(1, 53):
        outputs, pixels = map(int, rng.integers(1, 10, 2))
        n = outputs * pixels
        largest = 2**30 if shift <= 22 else 2**20  # products stay below 2^53
        a = extreme(rng, np.int32, (outputs, pixels), (-largest, largest))
        limit = min(2**31 - 1, 2**shift)  # the exporter proves that products and currents fit
        multiplier = extreme(rng, np.int32, outputs, (-limit, limit))
        bias = extreme(rng, np.int32, outputs, (-(2**24), 2**24))
        constants = np.concatenate([multiplier, bias, np.zeros(n, np.int32)])
        room = 31 - int(np.abs(a).max()).bit_length()
        for lift in {0, 33 - shift} if 0 < 33 - shift <= room else {0}:
            got = call(RESCALE, a, constants, elements(n, outputs), (shift, lift, 0, 0))
            expected = golden.rescale(a, multiplier, bias, shift).ravel()
            np.testing.assert_array_equal(got[:n], expected, f"shift {shift}, lift {lift}")


def membranes(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    return extreme(rng, np.int32, n, golden.SAT24), extreme(rng, np.int32, n, (-(2**30), 2**30))


def leak(rng: np.random.Generator) -> int:
    return int(rng.choice([*ENDS, rng.integers(0, 2**15)]))


def test_neurons(call: Call) -> None:
    rng = np.random.default_rng(8)
    for _ in range(60):
        n, lam, theta = int(rng.integers(1, 200)), leak(rng), int(rng.choice([0, 2**23 - 1, rng.integers(0, 3000)]))
        k, bits = int(rng.integers(1, 16)), int(rng.integers(1, 9))
        v, current = membranes(rng, n)
        if rng.random() < 0.5:
            v, current = v % 4096, current % 4096
        numbers = (lam, theta, k, bits)
        got = call(EMPF, current, v, elements(n), numbers)
        spikes, residual = golden.empf(v, current, lam, theta, k, bits)
        np.testing.assert_array_equal(got[:n], residual, str(numbers))
        np.testing.assert_array_equal(got[n : 2 * n], spikes, str(numbers))
        got = call(PARALLEL_EMPF, current, v, elements(n), numbers)
        np.testing.assert_array_equal(got[n : 2 * n], golden.parallel_empf(current, theta, k, bits))
        got = call(LIF, current, v, elements(n), numbers)
        spikes, residual = golden.lif(v, current, lam, theta)
        np.testing.assert_array_equal(got[:n], residual)
        np.testing.assert_array_equal(got[n : 2 * n], spikes)
        got = call(LEAKY_INTEGRATE, current, v, elements(n), numbers)
        np.testing.assert_array_equal(got[:n], golden.integrate(v, current, lam))


def test_trace(call: Call) -> None:
    rng = np.random.default_rng(9)
    for _ in range(20):
        n, factor, gain, limit = int(rng.integers(1, 200)), leak(rng), *map(int, rng.integers(1, 2**20, 2))
        trace, s = extreme(rng, np.int32, n, (0, limit)), extreme(rng, np.uint8, n)
        got = call(TRACE, s, trace, elements(n), (factor, gain, limit, 0))
        np.testing.assert_array_equal(got[:n], golden.trace(trace, s, factor, gain, limit))
