"""What a report holds. Keys are stable; units are in their names; accuracies and rates are fractions of one.

A report is written in whole sections: a section may be absent from the report of a model that was never run, but a
section that is there is complete. Further keys are kept, so that later work can add to a section.
"""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgesnn.bench.result import Machine
from edgesnn.errors import ModelError

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class Accuracy(_Section):
    """Fraction of right decisions on unseen data, from the float network to the device that has learned.

    `majority` is the baseline: the best that one and the same decision, always, gets on the steps scored on the device.
    """

    float_: Fraction = Field(alias="float")
    quantized: Fraction
    integer: Fraction
    device_before: Fraction
    device_after: Fraction
    majority: Fraction | None = None


class Person(_Section):
    """One user of the device: right decisions fixed, learned, and with what the guard kept of the two.

    `check_fixed` and `check_learned` are what the guard saw: accuracies on labelled steps (None where it saw none).
    """

    person: int | str
    before: Fraction
    learned: Fraction
    after: Fraction
    check_fixed: Fraction | None = None
    check_learned: Fraction | None = None
    kept: bool


class Compared(_Section):
    """One backend running one graph: how many steps were compared with the steps of the reference."""

    backend: str
    graph: str
    compared: Count
    equal: bool


class BitExact(_Section):
    """Whether all backends gave the same integers, over how many steps that was looked at, and what differed.

    `steps` and `learn_steps` are of the shortest comparison; `checks` are the comparisons one by one.
    """

    backends: list[str]
    steps: Count
    learn_steps: Count
    equal: bool
    differences: list[str] = []
    checks: list[Compared] = []


class BoardUse(_Section):
    """What the model takes of a board: firmware image, static and peak memory, executed instructions."""

    id: str
    flash_bytes: Count
    ram_bytes: Count
    arena_bytes: Count
    stack_bytes: Count
    instructions_per_step: Count
    instructions_per_learn: Count


class Prediction(_Section):
    """What a board will be asked for, known before anything is linked.

    `stack_bytes` bounds the whole program; `call_stack_bytes` each public call, without functions of the application.
    `board_flash_bytes` and `board_ram_bytes` are what the board has.
    """

    id: str
    flash_bytes: Count
    ram_bytes: Count
    stack_bytes: Count
    call_stack_bytes: dict[str, Count]
    board_flash_bytes: Count | None = None
    board_ram_bytes: Count | None = None

    @property
    def overflow(self) -> str | None:
        """What does not fit the board, in words; None if all does, or nothing is known of the board."""
        needs = (
            ("flash", self.flash_bytes, self.board_flash_bytes),
            ("RAM and stack", self.ram_bytes + self.stack_bytes, self.board_ram_bytes),
        )
        parts = [f"{what} {need:,} of {has:,} bytes" for what, need, has in needs if has is not None and need > has]
        return f"does not fit {self.id}: {', '.join(parts)}" if parts else None


class LayerWork(_Section):
    """Work of a layer, mean of a step: instructions, by kernel too; operations and bytes as edgesnn.report.work says.

    `macs` are as if every input were active; `synaptic_operations` count active inputs alone. Energies are estimates.
    """

    name: str
    instructions: Count
    kernels: dict[str, Count]
    macs: Count | None = None
    synaptic_operations: Count | None = None
    bytes_moved: Count | None = None
    input_rate: Fraction | None = None
    spike_rate: Fraction | None = None
    operations_nj: float | None = None
    core_nj: float | None = None


class LearningWork(_Section):
    """Instructions of a learning step, by kernel too."""

    instructions: Count
    kernels: dict[str, Count]


class Work(_Section):
    """Where the work of a step goes on a board: over `steps` frames of `source`."""

    id: str
    steps: Count
    source: str
    energy_model: str
    layers: list[LayerWork]
    learning: LearningWork | None = None


class Size(_Section):
    """Synaptic weights as float32; and all constants as they are packed for the device, scales and offsets included."""

    float32_bytes: Count
    packed_bytes: Count


class Training(_Section):
    """How the network was trained."""

    seconds: Annotated[float, Field(ge=0)]
    rule: str
    time_steps: Annotated[int, Field(ge=1)]


class Timeline(_Section):
    """Running accuracy over the test stream: fixed model (`before`) and learning model (`after`) at the same times."""

    seconds: list[float]
    before: list[Fraction]
    after: list[Fraction]

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        lengths = {len(self.seconds), len(self.before), len(self.after)}
        if len(lengths) != 1:
            raise ValueError(f"expected series of one length, got {sorted(lengths)}")
        return self


class Confusion(_Section):
    """Counts on the device: row is the true class, column the decision."""

    labels: list[str]
    matrix: list[list[Count]]

    @model_validator(mode="after")
    def _square(self) -> Self:
        size = len(self.labels)
        if len(self.matrix) != size or any(len(row) != size for row in self.matrix):
            raise ValueError(f"expected a matrix of {size} x {size}, one row a label")
        return self


class Layer(_Section):
    """One layer: its constants, its state, the work of a step.

    `instructions` is None where no board was run; `spike_rate` is None where a layer does not spike, or saw no data.
    """

    name: str
    flash_bytes: Count
    ram_bytes: Count
    instructions: Count | None = None
    macs: Count
    spike_rate: Fraction | None = None


class LayerWeights(_Section):
    """One synapse: relative error of the deployed weights, by Frobenius norms."""

    name: str
    bits: Annotated[int, Field(ge=1)]
    relative_error: Annotated[float, Field(ge=0)]


class LayerSpikes(_Section):
    """One layer of neurons: the integer model beside Brevitas' network; see `edgesnn.quant.error.SpikeError`."""

    name: str
    rate: Fraction
    rate_brevitas: Fraction
    saturated: Fraction
    different: Fraction
    mean_difference: float
    sqnr_db: float | None = None


class QuantizationError(_Section):
    """What quantization changes, layer by layer, over `frames` frames of training data."""

    frames: Count
    weights: list[LayerWeights]
    spikes: list[LayerSpikes]


class Proven(_Section):
    """What interval arithmetic shows of one node: its values lie in [low, high], within +-limit.

    `used_bits` of `allowed_bits` hold the larger of the two.
    """

    node: str
    function: str
    low: int
    high: int
    limit: Count

    @property
    def used_bits(self) -> int:
        return max(-self.low, self.high).bit_length()

    @property
    def allowed_bits(self) -> int:
        return self.limit.bit_length()


class Provenance(_Section):
    """What gave the measured figures; `date` (UTC) is when. No generated file holds any of it.

    `source_hash` names the exported model; `quick` figures are of a training that was cut short.
    """

    command: str
    version: str
    packages: dict[str, str]
    machine: Machine
    seed: int | None = None
    source_hash: str
    quick: bool
    date: str
    board: str | None = None


class Report(_Section):
    """What is known about a model."""

    name: str = "model"
    provenance: Provenance | None = None
    accuracy: Accuracy | None = None
    people: list[Person] | None = None
    bit_exact: BitExact | None = None
    prediction: Prediction | None = None
    board: BoardUse | None = None
    work: Work | None = None
    size: Size | None = None
    training: Training | None = None
    timeline: Timeline | None = None
    confusion: Confusion | None = None
    layers: list[Layer] | None = None
    quantization: QuantizationError | None = None
    proof: list[Proven] | None = None

    @classmethod
    def parse(cls, data: Any, place: str = "report") -> Self:
        """Check a report.

        Raises:
            ModelError: naming the first key that is missing or wrong.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            key = ".".join(str(part) for part in first["loc"]) or "report"
            message = first["msg"].removeprefix("Value error, ")
            raise ModelError(f"{place}: {key}: {message[0].lower()}{message[1:]}; write the report again") from None


class DemoReport(Report):
    """The report of the whole road: every section is there."""

    provenance: Provenance
    accuracy: Accuracy
    bit_exact: BitExact
    board: BoardUse
    size: Size
    training: Training
    timeline: Timeline
    confusion: Confusion
    layers: list[Layer]
