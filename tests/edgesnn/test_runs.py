"""Run folders: configuration in TOML, training, loading again, presets, and what is wrong in one line."""

import json

import pytest
import torch

import edgesnn as es
from edgesnn import runs
from edgesnn.errors import ConfigError, DataError, TrainingError
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


def test_frames_of_data_that_is_no_csv_are_refused():
    with pytest.raises(ConfigError, match="those of a CSV file"):
        runs.load_data(CONFIG.model_copy(update={"stream": runs.StreamConfig(hop=2)}))


def test_a_refused_resume_leaves_the_run_as_it_was(tmp_path):
    runs.train(CONFIG, tmp_path, progress=False)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(TrainingError, match="setting 'lr'"):
        runs.train(CONFIG.model_copy(update={"lr": 0.5}), tmp_path, resume=True, progress=False)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


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
