"""Training with several processes, started by torchrun: every one has a share of each batch and the same weights.

    torchrun --nproc-per-node 2 --no-python edgesnn train CONFIG.toml -o RUN

Gradients are averaged once an update, weighted by the share's samples: those of one process with the joined batch. A
last batch of fewer than two samples a process is left out, as one of one sample is with one process.
DistributedDataParallel would do so behind every backward call, of which an online rule has one a time step. Batch norm
has the statistics of its own share while training (as in DistributedDataParallel); the running ones are averaged before
they are used.

`edgesnn train` trains on the CPU. On accelerators it is `fit` of one's own program, in which every process moves its
network to a device of its own: `net.to(f"cuda:{os.environ['LOCAL_RANK']}")`.
"""

import os
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn

from edgesnn.errors import TrainingError

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Processes:
    """How many processes train together, which one this is, and where its network is."""

    rank: int = 0
    count: int = 1
    device: torch.device = CPU

    @classmethod
    def of_this_run(cls, device: torch.device = CPU) -> "Processes":
        """Those that torchrun started (its variables RANK and WORLD_SIZE) to train on this device; one, where it
        started none. They talk by NCCL where they train on CUDA, by gloo elsewhere.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls(device=device)
        if device.type == "cuda":
            torch.cuda.set_device(device)  # what NCCL allocates for itself goes there too
        if not dist.is_initialized():
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
        return cls(dist.get_rank(), dist.get_world_size(), device)

    @property
    def first(self) -> bool:
        """Whether this one writes the files."""
        return self.rank == 0

    def share(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """This process's samples of a batch x [T, N, ...], y [N]: every count-th."""
        return x[:, self.rank :: self.count], y[self.rank :: self.count]

    def average_gradients(self, parameters: list[nn.Parameter], samples: int, batch: int) -> None:
        """`.grad` of the mean over the whole batch, from that over this process's share of it. None where no process
        has one: an optimizer leaves that alone, but moves a parameter with a gradient of zeros by momentum and decay.
        """
        if self.count == 1:
            return
        graded = [parameter for parameter in parameters if parameter.requires_grad]
        flat = torch.cat([_gradient(parameter).flatten() for parameter in graded]) * (samples / batch)
        has = flat.new_tensor([parameter.grad is not None for parameter in graded])
        joined = torch.cat([flat, has])
        dist.all_reduce(joined)
        *parts, counts = joined.split([*(parameter.numel() for parameter in graded), len(graded)])
        for parameter, part, count in zip(graded, parts, counts.tolist(), strict=True):
            parameter.grad = part.view_as(parameter).clone() if count else None

    def average(self, value: float) -> float:
        if self.count == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total) / self.count

    def average_buffers(self, net: nn.Module) -> None:
        """Running statistics of all processes' batches."""
        if self.count == 1:
            return
        for buffer in net.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.count

    def check_equal(self, net: nn.Module) -> None:
        """TrainingError if the processes start from different weights."""
        if self.count == 1:
            return
        own = torch.cat([parameter.detach().flatten().double() for parameter in net.parameters()])
        firsts = own.clone()
        dist.broadcast(firsts, 0)
        if not torch.equal(own, firsts):
            raise TrainingError(f"fit: process {self.rank} starts from other weights than process 0; use one seed")


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
