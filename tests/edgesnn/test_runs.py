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


def test_input_and_classes_come_from_the_data():
    data = es.data.digits()
    assert runs.build_network(CONFIG, data).config["inputs"] == 64
    conv = CONFIG.model_copy(update={"model": ModelConfig(kind="convnet", sizes=[4])})
    net = runs.build_network(conv, data)
    assert (net.input_shape, net.classes) == ((1, 8, 8), 10)


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
    with pytest.raises(ConfigError, match="cannot be read"):
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
