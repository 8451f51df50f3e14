"""The stages of the demo in order, each timed and told on the console."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edgesnn import export, quantize, rules, runs
from edgesnn.adaptation.prior import choose_prior
from edgesnn.adaptation.protocol import Outcome, meet, users
from edgesnn.data import Dataset
from edgesnn.demo import figures, needs
from edgesnn.errors import ConfigError
from edgesnn.evaluation import evaluate
from edgesnn.export.c_plan import Program, c_plan
from edgesnn.quant.integer import evaluate_integer
from edgesnn.quant.quantize import QuantizedNetwork
from edgesnn.report import DemoReport, collect, write
from edgesnn.report.provenance import provenance
from edgesnn.report.schema import Provenance
from edgesnn.runs import Run, RunConfig
from edgesnn.runtime import Model
from edgesnn.runtime.board import BoardSession
from edgesnn.runtime.profile import Profile
from edgesnn.runtime.verify import Check, verify

#: Preset of each `--model`; its bit widths are in the preset.
PRESETS = {"empf": "watch-empf", "sltt": "watch-sltt"}
#: Epochs of `--quick`: training, and fine-tuning with quantization.
QUICK_EPOCHS = (4, 1)


@dataclass(frozen=True)
class Network:
    """The trained network in its three forms, with their accuracies on the test people."""

    run: Run
    qnet: QuantizedNetwork
    model: Model
    accuracy: dict[str, float]


def run(
    board: str = "mps2-an386", quick: bool = False, out: str | Path = "out/demo", model: str = "empf"
) -> DemoReport:
    """Train on people 1 to 8, deploy on an emulated board, stream people 9 and 10 through it, and report.

    Args:
        board: an emulated board.
        quick: fewer epochs.
        out: folder for `model/`, `report.json` and `report.html`.
        model: `empf` (binary weights, graded spikes) or `sltt` (LIF neurons, int8 weights, 1-bit spikes).

    Raises:
        EdgesnnError: something that the demo needs is missing, in one line.
    """
    if model not in PRESETS:
        raise ConfigError(f"model: expected one of {', '.join(PRESETS)}, got {model!r}; choose one of them")
    needs.check(board, Path(out))
    console, folder, started = Console(), Path(out), time.monotonic()
    config = runs.preset(PRESETS[model])
    if quick:
        fine_tuning = {**(config.quantization or {}), "epochs": QUICK_EPOCHS[1]}
        config = config.model_copy(update={"epochs": QUICK_EPOCHS[0], "quantization": fine_tuning})
    network = _make(console, config, folder)
    with _stage(console, f"compile for the host, TVM and {board}"):
        export.tvm(network.model.path)
        export.c(network.model.path, board=board)
        program = c_plan(network.model.path)
    with _stage(console, "compare all backends with the reference, bit for bit"):
        checks = verify(network.model.path, board=board)
    with _stage(console, "count instructions"):
        work = collect.measure(program, board)
    outcomes, use = _device(console, network, board)
    command = f"edgesnn demo --model {model} --board {board}{' --quick' if quick else ''}"
    origin = provenance(command, network.model, board, config.seed, quick)
    report = _report(network, program, checks, work, outcomes, use | {"id": board}, origin)
    page = write(report, folder)
    _tell(console, report, outcomes)
    console.print(f"wrote {page} and {folder / 'model'} in {time.monotonic() - started:.0f} s")
    return report


def _make(console: Console, config: RunConfig, folder: Path) -> Network:
    """Train, quantize, export; measure each form on the test people."""
    with _stage(console, f"train {config.model.kind} {config.model.sizes} on people 1 to 8"):
        trained = runs.train(config, folder / "run")
    with _stage(console, "quantize, with the quantization in the loop"):
        qnet = quantize(
            trained.net,
            calibrate=trained.data,
            rule=rules.build(config.rule),
            progress=True,
            **(config.quantization or {}),
        )
    with _stage(console, "ask the training people how many labels a class mean of the factory is worth"):
        prior = choose_prior(qnet, trained.data).prior
        console.print(f"  {prior}")
    with _stage(console, "export"):
        model = export.onnx(qnet, folder / "model", window=4, learn="means", rule=config.rule["kind"], prior=prior)
    with _stage(console, "measure on people 9 and 10"):
        accuracy = _accuracies(trained, qnet)
    return Network(trained, qnet, model, accuracy)


def _accuracies(trained: Run, qnet: QuantizedNetwork) -> dict[str, float]:
    """Of the same readout in all three forms: the trained one, which class means replace on the device."""
    data: Dataset = trained.data
    with TemporaryDirectory(prefix="edgesnn-") as folder:
        integer = evaluate_integer(export.onnx(qnet, folder), data, "test", continuous=True).accuracy
    return {
        "float": evaluate(trained.net, data, "test", continuous=True).accuracy,
        "quantized": evaluate(qnet, data, "test", continuous=True).accuracy,
        "integer": integer,
    }


def _device(console: Console, network: Network, board: str) -> tuple[list[Outcome], dict[str, int]]:
    """The protocol for each unseen person on the emulated board, and what the firmware took."""
    found = users(network.model, network.run.data, network.run.data.test)  # type: ignore[arg-type]  # a stream's recordings
    with BoardSession(network.model, board=board) as session, Progress(console=console) as bar:
        task = bar.add_task(f"stream {len(found)} people through {board}", total=sum(user.steps for user in found))
        outcomes = [meet(session, user, lambda steps: bar.advance(task, steps)) for user in found]
        bar.update(task, completed=sum(user.steps for user in found))  # a pass is left out where the guard agrees
        return outcomes, collect.use(session)


def _report(
    network: Network,
    program: Program,
    checks: list[Check],
    work: Profile,
    outcomes: list[Outcome],
    use: dict[str, object],
    origin: Provenance,
) -> DemoReport:
    model = network.model
    health = network.qnet.report.layers if network.qnet.report else []
    content = {
        "name": model.name,
        "provenance": origin.model_dump(),
        "accuracy": network.accuracy
        | {"majority": figures.majority(outcomes)}
        | {f"device_{which}": figures.device_accuracy(outcomes, which) for which in ("before", "learned", "after")},
        "people": figures.people(outcomes),
        "bit_exact": figures.bit_exact(checks),
        "board": use | {
            "instructions_per_step": round(work.instructions_per_step),
            "instructions_per_learn": round(work.instructions_per_learn),
        },
        "size": {"float32_bytes": 4 * program.weights, "packed_bytes": program.flash_bytes},
        "training": {
            "seconds": network.run.history.seconds,
            "rule": model.rule,
            "time_steps": network.run.data.steps,
            "epochs": len(network.run.history.epochs),
        },
        "timeline": figures.timeline(outcomes, figures.step_seconds(model)),
        "confusion": figures.confusion(outcomes, model.classes),
        "layers": figures.layers(program, work, health),
    }  # fmt: skip
    return DemoReport.parse(content, "demo")


@contextmanager
def _stage(console: Console, title: str) -> Iterator[None]:
    console.print(f"[bold]{title}[/bold]")
    started = time.monotonic()
    yield
    console.print(f"  {time.monotonic() - started:.1f} s")


def _tell(console: Console, report: DemoReport, outcomes: list[Outcome]) -> None:
    table = Table("figure", "value", title="What came out", title_justify="left", box=None, pad_edge=False)
    accuracy, board, exact = report.accuracy, report.board, report.bit_exact
    stages = {"float": accuracy.float_, "quantized": accuracy.quantized, "integer": accuracy.integer}
    rows = {f"accuracy on people 9 and 10, {name}": f"{value:.4f}" for name, value in stages.items()}
    rows |= {
        "baseline: always the most frequent class": f"{accuracy.majority:.4f}",
        "device, fixed (last 75 % of each recording)": f"{accuracy.device_before:.4f}",
        "device, after learning and guard": f"{accuracy.device_after:.4f}",
    }
    for outcome in outcomes:
        rows[f"  person {outcome.user.person}"] = (
            f"{outcome.accuracy(outcome.before):.4f} -> {outcome.accuracy(outcome.learned):.4f}, "
            f"{'kept' if outcome.kept else 'rolled back'} "
            f"(the guard saw {figures.seen(outcome.guard)})"
        )
    rows |= {
        "bit-exact backends": f"{', '.join(exact.backends)}: {'equal' if exact.equal else 'DIFFERENT'} "
        f"({exact.steps} steps, {exact.learn_steps} learning steps)",
        "flash, RAM": f"{board.flash_bytes:,} and {board.ram_bytes:,} bytes (arena {board.arena_bytes:,}), "
        f"stack {board.stack_bytes:,}",
        "instructions": f"{board.instructions_per_step:,} a step, {board.instructions_per_learn:,} a learning step",
        "parameters": f"{report.size.packed_bytes:,} bytes packed, {report.size.float32_bytes:,} as float32",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(table)
