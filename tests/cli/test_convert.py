"""`electra-jax convert`: arguments, the printed table, exit codes."""

import json

import pytest
from interop.networks import CONFIG, saved

from electra_jax.cli.main import main


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
    ],
)
def test_what_is_wrong_is_one_message_and_exit_code_2(tmp_path, capsys, arguments, named):
    folder = saved(tmp_path / "model")
    paths = {"SRC": str(folder), "DST": str(tmp_path / "out")}
    assert main(["convert", *(paths.get(a, a) for a in arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("electra-jax: ") and named in captured.err
    assert [f.name for f in tmp_path.iterdir()] == ["model"]
