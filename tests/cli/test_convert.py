"""`electra-jax convert`: arguments, the printed table, exit codes."""

import json
import sys

import pytest
from interop import networks
from interop.formats.hub_server import Hub, the_client_asks
from interop.networks import CONFIG, SMALL, saved

from electra_jax.cli.main import main
from electra_jax.config.model import PairConfig
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.save import save_pair


def test_the_table_is_printed_and_the_folder_written(tmp_path, capsys):
    folder = saved(tmp_path / "model", global_step=7)
    assert main(["convert", str(folder), str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder} → {tmp_path / 'out'}"
    assert lines[1].split()[:4] == ["network", "kind", "tensors", "parameters"]
    assert lines[2].split()[:2] == ["discriminator"] * 2 and lines[3] == "ignored: nothing"
    assert lines[4].startswith("note: no tokenizer beside the source")
    assert json.loads((tmp_path / "out/config.json").read_text())["global_step"] == 7


def test_options_reach_the_conversion(tmp_path, capsys):
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "The", "the", "##s", "a", "b"]
    (tmp_path / "words").mkdir()
    (tmp_path / "words/vocab.txt").write_text("".join(f"{word}\n" for word in words))
    config = CONFIG.replace(vocab_size=10)
    folder = saved(tmp_path / "model", "token_classification", config)
    options = ["--encoder_only", f"--tokenizer={tmp_path / 'words'}", "--cased"]
    options += ["--num_attention_heads=8"]
    assert main(["convert", str(folder), str(tmp_path / "out"), *options]) == 0
    assert "taken to be cased" in capsys.readouterr().out
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert config["architectures"] == ["ElectraModel"] and config["num_attention_heads"] == 8
    tokenizer = json.loads((tmp_path / "out/tokenizer_config.json").read_text())
    assert tokenizer["do_lower_case"] is False


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["SRC", "DST", "--to=onnx"], "--to: invalid choice: 'onnx'"),
        (["SRC"], "DST"),
        (["SRC", "SRC"], "exists and is not empty"),
        (["SRC", "DST", "--slots", "--to=tf1"], "holds no optimizer moments"),
        (["SRC", "DST", "--num_attention_heads=3"], "does not divide"),
        (["SRC", "DST", "--private"], "is no model on the Hub (hub:ORGANISATION/NAME)"),
        (["SRC", "hub:a/b/c"], "write hub:ORGANISATION/NAME"),
    ],
)
def test_what_is_wrong_is_one_message_and_exit_code_2(tmp_path, capsys, arguments, named):
    folder = saved(tmp_path / "model")
    paths = {"SRC": str(folder), "DST": str(tmp_path / "out")}
    assert main(["convert", *(paths.get(a, a) for a in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("electra-jax: ") and named in captured.err
    assert [f.name for f in tmp_path.iterdir()] == ["model"]


def test_verify_that_could_not_measure_is_exit_code_1_and_the_reason(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    folder = saved(tmp_path / "model")
    assert main(["convert", str(folder), str(tmp_path / "out"), "--verify"]) == 1
    captured = capsys.readouterr()
    reason = "transformers or torch is not installed"
    assert f"not measured ({reason})" in captured.out
    assert captured.err == (
        f"electra-jax: {tmp_path / 'out'} is written but not verified: discriminator: {reason}\n"
    )
    assert (tmp_path / "out/model.safetensors").is_file()
    assert main(["convert", str(folder), str(tmp_path / "other")]) == 0


def test_a_pair_goes_to_the_hub_with_cards_and_comes_back_as_it_was(tmp_path, monkeypatch, capsys):
    pair = PairConfig(CONFIG, SMALL)
    params = networks.random_params(pair, "pair")
    save_pair(tmp_path / "model", pair, params, None)
    with the_client_asks(Hub(), monkeypatch) as hub:
        arguments = ["convert", str(tmp_path / "model"), "hub:organisation/pair", "--private"]
        assert main(arguments) == 0
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'model'} → hub:organisation/pair\n")
    found = hub.models["organisation/pair"]
    assert found["private"] and b"pair.discriminator, pair.generator" in found["files"]["README.md"]
    for name, content in found["files"].items():
        (tmp_path / "back" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "back" / name).write_bytes(content)
    loaded = load_model_folder(tmp_path / "back")
    assert loaded.config == pair and networks.equal(loaded.params, params)
