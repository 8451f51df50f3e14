"""SpikingJelly's SLTT on the network of `small_vgg`, in a process and an environment of its own.

Reads a line of JSON {"steps": T, "channels_last": bool, "drawn": t or null}, trains one batch, and writes a line with
the seconds of processor time. drawn: the only step with a gradient (SLTT-1); null: all have one.
"""

import json
import sys
import time
import types
from importlib.util import find_spec

import torch
from torch import nn
from torch.nn.functional import cross_entropy

CHANNELS, CLASSES, BATCH = (32, 32, 64, 64), 10, 32


def network() -> nn.Sequential:
    from spikingjelly.activation_based import neuron, surrogate

    layers: list[nn.Module] = []
    width = 1
    for i, channels in enumerate(CHANNELS):
        layers.append(nn.Conv2d(width, channels, 3, padding=1))
        layers.append(neuron.SLTTLIFNode(2.0, decay_input=False, v_reset=None, surrogate_function=surrogate.ATan()))
        if i % 2:
            layers.append(nn.MaxPool2d(2))
        width = channels
    return nn.Sequential(*layers, nn.Flatten(1), nn.Linear(width * 49, CLASSES))


def train(net: nn.Module, x: torch.Tensor, y: torch.Tensor, steps: int, drawn: int | None) -> None:
    """One window of SLTT (its Algorithm 1): every step, or only the drawn one, which is also the last that is run."""
    from spikingjelly.activation_based import functional

    functional.reset_net(net)
    for t in range(steps if drawn is None else drawn + 1):
        with torch.set_grad_enabled(drawn is None or t == drawn):
            logits = net(x)
            if torch.is_grad_enabled():
                (cross_entropy(logits, y) / (steps if drawn is None else 1)).backward()


def main() -> None:
    torch.set_num_threads(1)
    if find_spec("tensorboard") is None:  # SpikingJelly imports it for logs that nobody writes here
        sys.modules["torch.utils.tensorboard"] = types.SimpleNamespace(SummaryWriter=None)  # type: ignore[assignment]
    formats = {True: torch.channels_last, False: torch.contiguous_format}
    nets = {last: network().to(memory_format=layout) for last, layout in formats.items()}  # type: ignore[call-overload]
    generator = torch.Generator().manual_seed(0)
    x, y = torch.rand(BATCH, 1, 28, 28, generator=generator), torch.randint(CLASSES, (BATCH,), generator=generator)
    print("ready", flush=True)  # noqa: T201  (the answer is read by another process)
    for line in sys.stdin:
        request = json.loads(line)
        start = time.process_time()
        train(nets[request["channels_last"]], x, y, request["steps"], request["drawn"])
        print(time.process_time() - start, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
