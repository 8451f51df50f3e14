"""`edgesnn pull` and `edgesnn merge`, on what two devices learned from two people."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import Command
from tiny_run import exported, movements, run_folder, write_stream

from edgesnn import runtime
from edgesnn.runtime import state, stream
from edgesnn.runtime.model import Model
from edgesnn.runtime.stream import Row

SCOPES = ("means", "readout")


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], Path]:
    """By scope and person, the state file of a device that learned from a person."""
    root, paths = tmp_path_factory.mktemp("devices"), {}
    for scope in SCOPES:
        for person in (3, 4):
            paths[scope, person] = root / f"{scope}{person}.state"
            with runtime.open(exported(scope).path) as session:
                rows = [Row(row, part.label) for part in movements(person, 2) for row in part.rows]
                list(stream.adapt(session, rows, paths[scope, person]))
    return paths


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_stream(tmp_path_factory.mktemp("held") / "out.csv", movements(4, 2))


def tensors(model: Model, path: Path) -> dict[str, np.ndarray]:
    return model.unpack(state.load(path, model.model_id, model.snapshot_bytes).payload)


def decisions(edgesnn: Command, *arguments: object) -> list[list[int]]:
    outcome = edgesnn("run", *arguments)
    assert outcome.status == 0
    return [json.loads(line)["logits"] for line in outcome.out.splitlines()]


# -- pull -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
def test_a_pulled_run_is_exported_with_the_integers_that_were_learned(
    edgesnn: Command, devices: dict[tuple[str, int], Path], held_out: Path, tmp_path: Path, scope: str
) -> None:
    folder = tmp_path / "model"
    edgesnn("export", run_folder(0), "-o", folder, "--learn", scope, "--window", 2)
    path = devices[scope, 4]
    pulled = edgesnn("pull", folder, "--state", path, "-o", tmp_path / "pulled")  # the folder knows its run
    assert (pulled.status, pulled.err) == (0, "")
    assert pulled.out.endswith(f"-o out/pulled --learn {scope}\n")
    assert ("the learned model decides" in pulled.out) == (scope == "means")
    edgesnn("export", tmp_path / "pulled", "-o", tmp_path / "again", "--learn", scope, "--window", 2)
    before, after = Model.load(folder), Model.load(tmp_path / "again")
    learned = tensors(before, path)
    names = [tensor.name for tensor in before.tensors if tensor.kind == "param"]
    for name in names:
        np.testing.assert_array_equal(after.factory[name], learned[name])
        assert (after.factory[name] != before.factory[name]).any()
    source = ("--source", held_out)
    assert decisions(edgesnn, tmp_path / "again", *source) == decisions(edgesnn, folder, "--state", path, *source)


def test_a_folder_that_was_moved_knows_its_run_no_more(
    edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    run = shutil.copytree(run_folder(0), tmp_path / "run")
    folder = tmp_path / "model"
    edgesnn("export", run, "-o", folder, "--learn", "means", "--window", 2)
    arguments = ("pull", folder, "--state", devices["means", 4], "-o", tmp_path / "pulled")
    run.rename(tmp_path / "moved")
    outcome = edgesnn(*arguments)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "name it with --run" in outcome.err
    assert not (tmp_path / "pulled").exists()
    (folder / "origin.json").write_text("[]")
    assert "found none in origin.json; name it with --run" in edgesnn(*arguments).err
    assert edgesnn(*arguments, "--run", tmp_path / "moved").status == 0


def test_a_run_that_the_model_is_not_of_is_refused(
    edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    outcome = edgesnn(
        "pull", exported("means").path, "--state", devices["means", 4], "-o", tmp_path / "p", "--run", run_folder(1)
    )
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "exported from this network" in outcome.err
    assert not (tmp_path / "p").exists()


def test_a_run_is_not_written_over(edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path) -> None:
    run = run_folder(0)
    before = (run / "model.safetensors").read_bytes()
    outcome = edgesnn("pull", exported("means").path, "--state", devices["means", 4], "-o", run / ".", "--run", run)
    assert (outcome.status, "choose another -o" in outcome.err) == (2, True)
    assert (run / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("command", ["pull", "merge"])
def test_a_model_that_does_not_learn_has_nothing_to_give(edgesnn: Command, tmp_path: Path, command: str) -> None:
    edgesnn("export", run_folder(0), "-o", tmp_path / "model", "--learn", "none")
    model = Model.load(tmp_path / "model")
    state.save(tmp_path / "s", model.model_id, model.pack(model.factory))
    given = ("--state", tmp_path / "s") if command == "pull" else (tmp_path / "s",)
    outcome = edgesnn(command, tmp_path / "model", *given, "-o", tmp_path / "out")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "expected a model that learns" in outcome.err


# -- merge ------------------------------------------------------------------------------------------------------------


def test_two_devices_means_are_one_state_whose_guard_is_closed(
    edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    model = exported("means")
    paths = [devices["means", person] for person in (3, 4)]
    outcome = edgesnn("merge", model.path, *paths, "-o", tmp_path / "merged.state")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("guard: no steps compared, the factory model decides\n")
    merged, parts = tensors(model, tmp_path / "merged.state"), [tensors(model, path) for path in paths]
    for name in ("means.sum", "means.count"):
        np.testing.assert_array_equal(merged[name], sum(part[name] for part in parts))
    assert not any(merged[name].any() for name in merged if not name.startswith("means."))
    edgesnn("merge", model.path, *reversed(paths), "-o", tmp_path / "reversed.state")
    assert (tmp_path / "reversed.state").read_bytes() == (tmp_path / "merged.state").read_bytes()


def test_a_check_on_held_out_data_opens_the_guard(
    edgesnn: Command, devices: dict[tuple[str, int], Path], held_out: Path, tmp_path: Path
) -> None:
    model = exported("means")
    arguments = (model.path, devices["means", 3], devices["means", 4], "-o", tmp_path / "m")
    outcome = edgesnn("merge", *arguments, "--check", held_out)
    said = re.match(r"guard: factory (0\.\d+), learned (0\.\d+) of 407 steps compared, the learned model", outcome.out)
    assert said is not None
    assert float(said[1]) < float(said[2])
    merged = tensors(model, tmp_path / "m")
    assert merged["guard.use"].item() == 1
    edgesnn("merge", *arguments[:-1], tmp_path / "closed")
    closed = tensors(model, tmp_path / "closed")
    assert [name for name in merged if (merged[name] != closed[name]).any() and not name.startswith("guard.")] == []


def test_a_check_of_readouts_says_both_accuracies(
    edgesnn: Command, devices: dict[tuple[str, int], Path], held_out: Path, tmp_path: Path
) -> None:
    model = exported("readout")
    paths = [devices["readout", person] for person in (3, 4)]
    outcome = edgesnn("merge", model.path, *paths, "-o", tmp_path / "m", "--check", held_out)
    said = re.match(r"held out: factory (0\.\d+), merged (0\.\d+) of 479 labelled steps\n", outcome.out)
    assert said is not None
    for accuracy, flags in zip(said.groups(), ((), ("--state", tmp_path / "m")), strict=True):
        last = json.loads(edgesnn("run", model.path, "--source", held_out, *flags).out.splitlines()[-1])
        assert f"{last['accuracy']:.3f}" == accuracy


@pytest.mark.parametrize("scope", SCOPES)
def test_a_check_without_labels_is_refused_and_nothing_is_written(
    edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path, scope: str
) -> None:
    write_stream(tmp_path / "no.csv", movements(4), names=("", "", ""))
    outcome = edgesnn(
        "merge", exported(scope).path, devices[scope, 3], "-o", tmp_path / "m", "--check", tmp_path / "no.csv"
    )
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "column `label`" in outcome.err
    assert not (tmp_path / "m").exists()


def test_states_of_other_models_are_refused_in_a_line_each(
    edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").touch()
    outcome = edgesnn(
        "merge", exported("means").path, devices["readout", 3], devices["means", 3], tmp_path / "empty",
        tmp_path / "nowhere", "-o", tmp_path / "m",
    )  # fmt: skip
    assert outcome.status == 2
    lines = outcome.err.splitlines()
    assert [name in line for name, line in zip(("readout3", "empty", "nowhere"), lines, strict=True)] == [True] * 3
    assert all(line.startswith("edgesnn: ") for line in lines)
    assert not (tmp_path / "m").exists()


def test_a_state_counts_once(edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path) -> None:
    path = devices["means", 3]
    outcome = edgesnn("merge", exported("means").path, path, path.parent / "." / path.name, "-o", tmp_path / "m")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "got it twice" in outcome.err
    twin = Path(shutil.copy(path, tmp_path / "twin"))
    outcome = edgesnn("merge", exported("means").path, path, twin, "-o", tmp_path / "m")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert f"got the content of {path} again" in outcome.err


def test_what_is_merged_is_not_written_over(
    edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    mine = Path(shutil.copy(devices["means", 3], tmp_path / "mine"))
    before = mine.read_bytes()
    outcome = edgesnn("merge", exported("means").path, mine, devices["means", 4], "-o", mine)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "expected another file than the states that are merged" in outcome.err
    assert mine.read_bytes() == before


def test_a_run_is_not_pulled_into_an_exported_model(
    edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    edgesnn("export", run_folder(0), "-o", folder, "--learn", "means", "--window", 2)
    before = {path.name for path in folder.iterdir()}
    outcome = edgesnn("pull", folder, "--state", devices["means", 4], "-o", folder)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert "got one with an exported model" in outcome.err
    assert {path.name for path in folder.iterdir()} == before


def test_a_damaged_slot_is_told_and_the_other_taken(
    edgesnn: Command, devices: dict[tuple[str, int], Path], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    model = exported("means")
    raw = bytearray(devices["means", 3].read_bytes())
    slot = len(raw) // 2
    raw[slot:] = raw[:slot]
    raw[-1] ^= 1
    damaged.write_bytes(raw)
    outcome = edgesnn("merge", model.path, damaged, "-o", tmp_path / "m")
    assert outcome.status == 0
    assert "slot 1 is damaged" in outcome.err
