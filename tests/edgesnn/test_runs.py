"""Run folders: configuration in TOML, training, loading again, presets, and what is wrong in one line."""

import json
import resource
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

import edgesnn as es
from edgesnn import runs
from edgesnn.errors import ConfigError, DataError, EdgesnnError, TrainingError
from edgesnn.run_folder import settle
from edgesnn.runs import ModelConfig, RunConfig

CONFIG = RunConfig(
    data="digits",
    model=ModelConfig(kind="mlp", sizes=[16], neuron={"kind": "lif", "lam": 0.5}, weights="float", leak=0.9),
    rule={"kind": "sltt", "k": 1},
    epochs=2,
    lr=1e-2,
)


def test_config_survives_toml(tmp_path):
    for config in (CONFIG, CONFIG.model_copy(update={"quantization": {"weights": 1, "spikes": 4}, "steps": 3})):
        runs.write_config(tmp_path / "c.toml", config)
        assert runs.read_config(tmp_path / "c.toml") == config


def test_train_writes_a_run_that_loads_again(tmp_path):
    run = runs.train(CONFIG, tmp_path / "run", progress=False)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "config.toml",
        "model.safetensors",
        "history.json",
        "checkpoint.safetensors",
    }
    again = runs.load_run(tmp_path / "run")
    assert again.config == CONFIG
    assert again.history == run.history
    assert again.net.config == run.net.config
    assert all(torch.equal(again.net.state_dict()[name], tensor) for name, tensor in run.net.state_dict().items())
    assert es.evaluate(again.net, again.data).accuracy == es.evaluate(run.net, run.data).accuracy
    assert len(json.loads((tmp_path / "run" / "history.json").read_text())["epochs"]) == 2


def test_train_resumes(tmp_path):
    run = runs.train(CONFIG, tmp_path, progress=False)
    (tmp_path / "model.safetensors").unlink()
    again = runs.train(CONFIG, tmp_path, resume=True, progress=False)
    assert again.history == run.history


def test_a_run_is_reproduced_from_its_own_configuration(tmp_path):
    changes = {"optimizer": {"kind": "sgd", "momentum": 0.9}, "precision": "bfloat16", "accumulate": 2, "patience": 1}
    first = runs.train(CONFIG.model_copy(update=changes), tmp_path / "a", progress=False)
    again = runs.train(runs.read_config(tmp_path / "a" / "config.toml"), tmp_path / "b", progress=False)
    assert [epoch.loss for epoch in again.history.epochs] == [epoch.loss for epoch in first.history.epochs]
    assert [epoch.validation for epoch in again.history.epochs] == [e.validation for e in first.history.epochs]
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()
    assert (tmp_path / "a" / "config.toml").read_bytes() == (tmp_path / "b" / "config.toml").read_bytes()


def test_input_and_classes_come_from_the_data():
    data = es.data.digits()
    assert runs.build_network(CONFIG, data).config["inputs"] == 64
    conv = CONFIG.model_copy(update={"model": ModelConfig(kind="convnet", sizes=[4])})
    net = runs.build_network(conv, data)
    assert (net.input_shape, net.classes) == ((1, 8, 8), 10)


def labelled_csv(path, rows=100):
    lines = (f"{i % 7},{label},{label}" for label in (0, 1, 0, 1) for i in range(rows))
    path.write_text("\n".join(["ax,ay,label", *lines]) + "\n")
    return path


def test_by_default_a_stream_is_forgotten_and_an_image_is_not(tmp_path):
    def leak(data, given):
        model = ModelConfig(kind="mlp", sizes=[4], leak=given)
        config = CONFIG.model_copy(update={"data": str(data), "model": model})
        return runs.build_network(config, runs.load_data(config)).config["leak"]

    stream = labelled_csv(tmp_path / "s.csv")
    assert [leak(stream, None), leak("digits", None)] == [0.93, 1.0]
    assert [leak(stream, 1.0), leak("digits", 0.5)] == [1.0, 0.5]


def test_a_csv_run_loads_from_another_folder_with_its_rate_and_frames(tmp_path, monkeypatch):
    labelled_csv(tmp_path / "s.csv")
    (tmp_path / "elsewhere").mkdir()
    stream = runs.StreamConfig(rate_hz=25.0, frame=8, hop=2)
    monkeypatch.chdir(tmp_path)
    changes = {"data": "s.csv", "stream": stream, "epochs": 1, "steps": 4}
    runs.train(CONFIG.model_copy(update=changes), tmp_path / "run", progress=False)
    monkeypatch.chdir(tmp_path / "elsewhere")
    data = runs.load_run("../run").data
    assert (data.rate_hz, data.frame.length, data.frame.hop) == (25.0, 8, 2)


def test_an_npz_run_loads_from_another_folder(tmp_path, monkeypatch):
    data = es.data.digits()
    splits = {name: data.split(name) for name in ("train", "validation", "test")}
    arrays = {f"{name}_x": split.values[:20] for name, split in splits.items()}
    np.savez(tmp_path / "few.npz", **arrays, **{f"{name}_y": np.arange(20) % 10 for name in splits})
    monkeypatch.chdir(tmp_path)
    runs.train(CONFIG.model_copy(update={"data": "few.npz", "epochs": 1}), "run", progress=False)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(runs.load_run("../run").data.train) == 20


def test_a_folder_called_as_a_data_set_does_not_take_its_place(tmp_path, monkeypatch):
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    run = runs.train(CONFIG.model_copy(update={"epochs": 1}), "run", progress=False)
    assert (run.config.data, len(run.data.train)) == ("digits", 1197)


def test_frames_of_data_that_is_no_csv_are_refused():
    with pytest.raises(ConfigError, match="those of a CSV file"):
        runs.load_data(CONFIG.model_copy(update={"stream": runs.StreamConfig(hop=2)}))


def test_a_refused_resume_leaves_the_run_as_it_was(tmp_path):
    runs.train(CONFIG, tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TrainingError, match="setting 'lr'"):
        runs.train(CONFIG.model_copy(update={"lr": 0.5}), tmp_path, resume=True, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    "wrong",
    [
        {"rule": {"kind": "sltt", "k": 9}},
        {"optimizer": {"kind": "adamw"}},
        {"steps": 0},
        {"accumulate": 33},
        {"model": ModelConfig(kind="mlp", sizes=[16], options={"seed": 3})},
    ],
)
def test_refused_settings_leave_the_run_as_it_was(tmp_path, wrong):
    runs.train(CONFIG.model_copy(update={"epochs": 1}), tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(EdgesnnError):
        runs.train(CONFIG.model_copy(update=wrong), tmp_path, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_refused_settings_leave_a_new_folder_empty(tmp_path):
    with pytest.raises(TrainingError):
        runs.train(CONFIG.model_copy(update={"rule": {"kind": "sltt", "k": 9}}), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("moved", range(1, 5))
def test_a_run_is_whole_after_a_training_over_it_was_killed(tmp_path, moved):
    """Killed while the earlier files went aside (the first `moved` of them), or after that, in its first epoch."""
    runs.train(CONFIG.model_copy(update={"epochs": 1}), tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / ".earlier").mkdir()
    for name in ("checkpoint.safetensors", "model.safetensors", "history.json", "config.toml")[:moved]:
        (tmp_path / name).rename(tmp_path / ".earlier" / name)
    if moved == 4:
        runs.write_config(tmp_path / "config.toml", CONFIG.model_copy(update={"lr": 0.1}))
    with pytest.raises(TrainingError):
        runs.train(CONFIG.model_copy(update={"rule": {"kind": "sltt", "k": 9}}), tmp_path, progress=False)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert files == before


def test_a_training_takes_the_place_of_an_earlier_one_with_its_first_checkpoint(tmp_path, monkeypatch):
    runs.train(CONFIG.model_copy(update={"epochs": 1}), tmp_path, progress=False)
    config = CONFIG.model_copy(update={"lr": 0.1})
    fit = runs.fit

    def killed_after_an_epoch(*given, epochs, **options):
        fit(*given, epochs=1, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "fit", killed_after_an_epoch)
    with pytest.raises(KeyboardInterrupt):
        runs.train(config, tmp_path, progress=False)
    assert {path.name for path in tmp_path.iterdir()} == {"config.toml", "checkpoint.safetensors"}
    assert runs.read_config(tmp_path / "config.toml") == config


def test_a_training_that_was_killed_in_its_first_epoch_says_where_the_earlier_run_is(tmp_path):
    earlier = tmp_path / ".earlier"
    run = runs.train(CONFIG.model_copy(update={"epochs": 1}), earlier, progress=False)
    runs.write_config(tmp_path / "config.toml", CONFIG)
    with pytest.raises(TrainingError, match=r"got one killed before its first checkpoint; .* from .*\.earlier$"):
        runs.load_run(tmp_path)
    assert runs.load_run(earlier).history == run.history


def test_a_finished_resume_removes_the_earlier_run(tmp_path):
    runs.train(CONFIG, tmp_path, progress=False)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / ".earlier").mkdir()
    (tmp_path / ".earlier" / "model.safetensors").write_bytes(b"older")
    runs.train(CONFIG, tmp_path, resume=True, progress=False)
    assert not (tmp_path / ".earlier").exists()
    assert runs.load_run(tmp_path).config == CONFIG


def test_a_run_without_its_history_is_resumed(tmp_path):
    run = runs.train(CONFIG, tmp_path, progress=False)
    (tmp_path / "history.json").unlink()
    with pytest.raises(ConfigError, match=r"history\.json: missing or damaged; run `edgesnn train --resume -o"):
        runs.load_run(tmp_path)
    runs.train(CONFIG, tmp_path, resume=True, progress=False)
    assert runs.load_run(tmp_path).history == run.history


def test_a_run_that_could_not_be_written_whole_keeps_what_was_there(tmp_path, monkeypatch):
    run = runs.train(CONFIG, tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def cut(self, text, **_):
        self.write_bytes(text[: len(text) // 2].encode())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_text", cut)
    with pytest.raises(ConfigError, match=r"config\.toml: expected a file .* got 'No space left on device'; make room"):
        runs.save_run(run, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@contextmanager
def files_of_at_most(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("earlier", [True, False])
def test_a_training_that_cannot_write_its_checkpoint_is_one_line_and_leaves_what_was_there(tmp_path, earlier):
    config = CONFIG.model_copy(update={"epochs": 1})
    if earlier:
        runs.train(config, tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with files_of_at_most(4000), pytest.raises(ConfigError, match=r"checkpoint\.safetensors: expected a file") as error:
        runs.train(config.model_copy(update={"lr": 0.1}), tmp_path, progress=False)
    assert "File too large" in str(error.value)
    assert "\n" not in str(error.value)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_saved_run_takes_the_place_of_a_training_with_all_its_files(tmp_path):
    runs.train(CONFIG, tmp_path / "run", progress=False)
    net = es.models.mlp(64, [8], 10, es.EMPF())
    other = runs.Run(net, es.data.digits(), CONFIG.model_copy(update={"lr": 0.5}), es.training.History())
    for folder in ("run", "new"):
        runs.save_run(other, tmp_path / folder)
    assert contents(tmp_path / "run") == contents(tmp_path / "new")
    assert set(contents(tmp_path / "new")) == {"config.toml", "model.safetensors", "history.json"}
    assert runs.load_run(tmp_path / "run").net.config == net.config
    with pytest.raises(TrainingError, match="none found"):
        runs.train(CONFIG, tmp_path / "run", resume=True, progress=False)


@pytest.mark.parametrize("model", [True, False])
def test_a_run_is_whole_after_saving_one_over_it_was_killed(tmp_path, monkeypatch, model):
    """Killed before its model was written, or after that, before the earlier files were removed."""
    run = runs.train(CONFIG, tmp_path / "run", progress=False)
    earlier = contents(tmp_path / "run")
    later = replace(run, config=CONFIG.model_copy(update={"lr": 0.5}))
    runs.save_run(later, tmp_path / "saved")
    aside = tmp_path / "run" / ".earlier"
    aside.mkdir()
    for name in earlier:
        (tmp_path / "run" / name).rename(aside / name)
    for name, content in contents(tmp_path / "saved").items():
        if model or name != "model.safetensors":
            (tmp_path / "run" / name).write_bytes(content)
    settle(tmp_path / "run")
    assert contents(tmp_path / "run") == (contents(tmp_path / "saved") if model else earlier)


def exchanged(neuron):
    net = runs.build_network(CONFIG, es.data.digits())
    net.layers["neuron1"] = neuron
    return net


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: exchanged(es.LIF(lam=0.99)), r"layers\.neuron1\.lam is 0\.99, made again 0\.5;"),
        (lambda: exchanged(es.LIF(reset="zero")), r"layers\.neuron1\.reset is 'zero', made again 'subtract'"),
        (lambda: exchanged(es.EMPF()), r"weights of another network: 'layers\.neuron1\.lam_raw'"),
        (lambda: es.models.Network({"readout": es.layers.Readout(64, 10)}, {}, (64,), 10), "expected one of .* None"),
    ],
)
def test_a_network_that_would_come_back_as_another_one_is_not_saved(tmp_path, make, words):
    run = runs.train(CONFIG, tmp_path, progress=False)
    before, other = contents(tmp_path), replace(run, net=make())
    drawn = torch.get_rng_state()
    with pytest.raises(ConfigError, match=f"that its config makes again, got another one: .*{words}") as error:
        runs.save_run(other, tmp_path)
    assert "\n" not in str(error.value)
    assert contents(tmp_path) == before
    assert torch.equal(torch.get_rng_state(), drawn)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 99}, "'seed' is not read here but from 'seed' of the configuration"),
        ({"leak": 0.1}, "'leak' is not read here but from 'leak' of [model]"),
        ({"weights": "float"}, "'weights' is not"),
        ({"neuron": {"kind": "lif"}}, "'neuron' is not"),
        ({"classes": 77}, "'classes' is not read here but from the data"),
        ({"inputs": 5}, "'inputs' is not"),
        ({"model": "convnet"}, "'model' is not read here but from 'kind' of [model]"),
        ({"hidden": [999]}, "'hidden' is not read here but from 'sizes' of [model]"),
    ],
)
def test_options_that_are_set_elsewhere_are_named(options, said):
    config = CONFIG.model_copy(update={"model": ModelConfig(kind="mlp", sizes=[8], options=options)})
    with pytest.raises(ConfigError) as error:
        runs.build_network(config, es.data.digits())
    assert said in str(error.value)


def test_sizes_may_be_among_the_options():
    config = CONFIG.model_copy(update={"model": ModelConfig(kind="mlp", options={"hidden": [9]})})
    assert runs.build_network(config, es.data.digits()).config["hidden"] == [9]


def test_resume_without_a_checkpoint_says_so(tmp_path):
    with pytest.raises(TrainingError, match="none found; leave out --resume"):
        runs.train(CONFIG, tmp_path, resume=True, progress=False)


def test_an_interrupted_run_is_not_that_of_an_earlier_training(tmp_path, monkeypatch):
    runs.train(CONFIG, tmp_path, progress=False)
    (tmp_path / "checkpoint.safetensors").rename(tmp_path / "kept")

    def interrupted(*_, checkpoint, **__):
        (tmp_path / "kept").rename(checkpoint)
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runs.train(CONFIG, tmp_path, progress=False)
    with pytest.raises(TrainingError, match=r"interrupted; run `edgesnn train --resume -o"):
        runs.load_run(tmp_path)


def test_the_steps_of_a_configuration_are_those_of_its_data():
    assert runs.load_data(CONFIG.model_copy(update={"steps": 7})).steps == 7
    assert runs.load_data(CONFIG).steps == es.data.digits().steps


def test_merged_validation():
    config = CONFIG.model_copy(update={"merge_validation": True})
    assert len(runs.load_data(config).train) == 1397


@pytest.mark.parametrize("name", ["watch-empf", "watch-sltt", "mnist-empf"])
def test_presets_build_networks(name):
    config = runs.preset(name)
    data = runs.load_data(config)
    net = runs.build_network(config, data)
    x, y = next(data.training_batches(config.steps or data.steps, 4, torch.Generator().manual_seed(0)))
    assert es.rules.build(config.rule).backward(net, x, y, torch.Generator().manual_seed(0)) > 0


def test_an_unknown_preset_names_the_others():
    with pytest.raises(ConfigError, match="watch-empf"):
        runs.preset("watch")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("data = ", "not valid TOML"),
        ("data = 'digits'", "'model': Field required"),
        ("data = 'digits'\n[model]\nkind = 'rnn'\nsizes = [3]", "'model.kind'"),
        ("data = 'digits'\nepochs = 'ten'\n[model]\nkind = 'mlp'\nsizes = [3]", "'epochs'"),
        ("data = 'digits'\nepochs = 0\n[model]\nkind = 'mlp'\nsizes = [3]", "'epochs'"),
        ("data = 'digits'\n[model]\nkind = 'mlp'\nsizes = [3]\nleak = 1.5", "'model.leak'"),
        ("data = 'digits'\nsteps = 0\n[model]\nkind = 'mlp'\nsizes = [3]", "'steps'"),
        ("data = 'digits'\nseed = 5_000_000_000\n[model]\nkind = 'mlp'\nsizes = [3]", "'seed'"),
        ("data = 'digits'\nlr = inf\n[model]\nkind = 'mlp'\nsizes = [3]", "'lr'"),
        ("data = 'digits'\npatience = -3\n[model]\nkind = 'mlp'\nsizes = [3]", "'patience'"),
        ("data = 'digits'\nepoch = 3\n[model]\nkind = 'mlp'\nsizes = [3]", "'epoch': Extra inputs"),
    ],
)
def test_a_wrong_config_is_one_line(tmp_path, text, words):
    path = tmp_path / "run.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        runs.read_config(path)
    assert words in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match="expected a run folder written by edgesnn train"):
        runs.load_run(tmp_path)
    runs.write_config(tmp_path / "config.toml", CONFIG)
    with pytest.raises(TrainingError, match=r"model\.safetensors"):
        runs.load_run(tmp_path)
    runs.train(CONFIG.model_copy(update={"epochs": 1}), tmp_path, progress=False)
    (tmp_path / "history.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"history\.json"):
        runs.load_run(tmp_path)


def test_unknown_data_and_rule_are_one_line(tmp_path):
    with pytest.raises(DataError, match="wrist"):
        runs.train(CONFIG.model_copy(update={"data": "wrist"}), tmp_path)
    with pytest.raises(ConfigError, match="hebb"):
        runs.train(CONFIG.model_copy(update={"rule": {"kind": "hebb"}}), tmp_path)
