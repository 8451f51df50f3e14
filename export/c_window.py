"""Windows over images in C: how many there are, and their constant geometry, an `esnn_window`."""

from __future__ import annotations

from collections.abc import Sequence

from edgesnn.export.c_graph import Node, Tensor
from edgesnn.export.c_op import Attributes, Refs


def image_shape(x: Tensor, channels: int, kernel: Sequence[int], attributes: Attributes) -> tuple[int, ...]:
    """[1, channels, H', W'] of the windows over x [1, C, H, W]."""
    top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
    rows, columns = (
        (size + padding - dilation * (side - 1) - 1) // stride + 1
        for size, padding, dilation, side, stride in zip(
            x.shape[2:], (top + bottom, left + right), attributes.get("dilations", (1, 1)), kernel,
            attributes["strides"], strict=True,
        )
    )  # fmt: skip
    return (1, channels, rows, columns)


def window(node: Node, kernel: Sequence[int], refs: Refs) -> tuple[str, str]:
    """Declaration of the geometry of a node's windows, and its address."""
    return window_over(node, node.inputs[0], node.outputs[0], kernel, refs)


def window_over(node: Node, image: Tensor, windows: Tensor, kernel: Sequence[int], refs: Refs) -> tuple[str, str]:
    """The same where the image is not the node's first input, or the windows are not its output."""
    name = f"{refs.identifier(node.name)}_window"
    return f"static const esnn_window {name} = {{{_fields(node, image, windows, kernel)}}};", f"&{name}"


def grouped_window(node: Node, kernel: Sequence[int], refs: Refs) -> tuple[str, str]:
    """The same with dilations and groups, an `esnn_grouped_window`."""
    return grouped_window_over(node, node.inputs[0], node.outputs[0], kernel, refs)


def grouped_window_over(
    node: Node, image: Tensor, windows: Tensor, kernel: Sequence[int], refs: Refs
) -> tuple[str, str]:  # fmt: skip
    """`grouped_window` where the image is not the node's first input, or the windows are not its output."""
    name = f"{refs.identifier(node.name)}_window"
    more = ", ".join(map(str, (*node.attributes["dilations"], node.attributes["group"])))
    fields = _fields(node, image, windows, kernel)
    return f"static const esnn_grouped_window {name} = {{{{{fields}}}, {more}}};", f"&{name}"


def _fields(node: Node, x: Tensor, y: Tensor, kernel: Sequence[int]) -> str:
    pads = node.attributes.get("pads", (0, 0))[:2]
    return ", ".join(map(str, (*x.shape[1:], *y.shape[1:], *kernel, *node.attributes["strides"], *pads)))
