"""Model cards: what they say, the header that the Hub reads, and that a person's card stays."""

import re

import pytest
import yaml
from interop.networks import CONFIG

from electra_jax.interop.formats.model_card import (
    CARD,
    ModelFacts,
    model_card,
    read_card,
    stated_license,
    write_card,
)
from electra_jax.interop.mapping.hf_config import to_settings

FACTS = ModelFacts(
    title="mood from my-encoder",
    task="mood",
    dataset="dev: 2026.jsonl",
    base="organisation/encoder",
    labels=["good", "yes", "a`|b"],
    data={"training examples": "1,200", "empty": ""},
    training={"epochs": "3", "note": "two\nlines | one bar"},
    scores={"accuracy": 91.25, "mcc": 0.5},
    test_scores={"accuracy": 90.0},
    language="en",
    license="apache-2.0",
    remarks=["This run did not learn: always good"],
)


def _card(kind="sequence_classification", facts=FACTS, config=CONFIG, **settings):
    return model_card(kind, config, to_settings(CONFIG, kind) | settings, facts, 1234)


def _header(card):
    return yaml.safe_load(card.split("---\n")[1])


def test_the_header_is_what_the_hub_reads():
    found = _header(_card())
    assert found.pop("model-index") == [
        {
            "name": "mood from my-encoder",
            "results": [
                {
                    "task": {"type": "text-classification"},
                    "dataset": {"name": "dev: 2026.jsonl", "type": "dev-2026.jsonl"},
                    "metrics": [
                        {"type": "accuracy", "name": "accuracy", "value": 91.25},
                        {"type": "matthews_correlation", "name": "mcc", "value": 0.5},
                    ],
                }
            ],
        }
    ]
    assert found == {
        "language": "en",
        "license": "apache-2.0",
        "library_name": "transformers",
        "tags": ["electra", "electra_jax", "mood"],
        "pipeline_tag": "text-classification",
        "base_model": "organisation/encoder",
        "metrics": ["accuracy", "matthews_correlation"],
    }


def test_the_hub_s_own_library_reads_the_scores():
    hub = pytest.importorskip("huggingface_hub")
    results = hub.ModelCard(_card()).data.eval_results
    assert [(r.metric_type, r.metric_value) for r in results] == [
        ("accuracy", 91.25),
        ("matthews_correlation", 0.5),
    ]


def test_the_text_has_facts_scores_and_how_to_load():
    card = _card(task_settings={})
    assert "# mood from my-encoder" in card and "It was fine-tuned for mood." in card
    assert "**This run did not learn: always good**" in card
    assert "[organisation/encoder](https://huggingface.co/organisation/encoder)" in card
    assert 'electra_jax.Predictor("' in card
    assert "ElectraForSequenceClassification.from_pretrained(" in card
    assert "| `accuracy` | 91.25 | 90.00 |" in card and "| `mcc` | 0.5 |  |" in card
    assert "| note | two lines \\| one bar |" in card and "empty" not in card
    assert "| parameters | 1,234 |" in card and "## License" not in card


@pytest.mark.parametrize("kind", ["discriminator", "generator", "encoder", "own_heads"])
def test_of_a_network_of_which_nothing_is_known_the_card_asks_for_the_license(kind):
    settings = {"model_type": "electra_jax"} if kind == "own_heads" else to_settings(CONFIG, kind)
    card = model_card(kind, CONFIG, settings, ModelFacts())
    header = _header(card)
    assert header["license"] == "unknown" and "Not stated yet" in card
    assert "metrics" not in header and "model-index" not in header and "## Scores" not in card
    assert header["library_name"] == ("electra_jax" if kind == "own_heads" else "transformers")
    assert ("`transformers` has no class for it" in card) == (kind == "own_heads")
    assert re.search(r"^# ELECTRA ", card, re.M)


def test_a_path_is_shown_without_the_folders_of_its_machine(tmp_path):
    facts = ModelFacts(base=str(tmp_path / "runs/start"))
    card = model_card("encoder", CONFIG, to_settings(CONFIG, "encoder"), facts)
    assert "It was trained from `start`." in card and str(tmp_path) not in card


def test_an_undefined_score_is_left_out_of_the_header():
    facts = ModelFacts(task="t", scores={"pearson": float("nan"), "spearman": 0.25})
    (index,) = _header(_card(facts=facts))["model-index"]
    assert [m["name"] for m in index["results"][0]["metrics"]] == ["spearman"]


@pytest.mark.parametrize("text", ["no", "a: b", "#x", "ünï", "- a", "1.0", "{a}", 'say "so"', "~"])
def test_any_text_stays_itself_in_the_header(text):
    facts = ModelFacts(title=text, task="t", dataset=text, scores={"f1": 1.0})
    (index,) = _header(_card(facts=facts))["model-index"]
    assert index["name"] == text and index["results"][0]["dataset"]["name"] == text


def test_a_generated_card_is_replaced_and_one_that_a_person_changed_is_not(tmp_path):
    earlier, new = tmp_path / "earlier", tmp_path / "new"
    earlier.mkdir(), new.mkdir()
    second = _card(facts=ModelFacts(title="second"))
    write_card(new, second, earlier)
    assert read_card(new) == second
    for kept, text in (
        (False, _card()),
        (True, _card().replace("license: ", "license: mit # ")),
        (True, _card() + "Mine.\n"),
        (True, "# My model\n"),
        (True, ""),
    ):
        (earlier / CARD).write_text(text, encoding="utf-8")
        write_card(new, second, earlier)
        assert read_card(new) == (text if kept else second)


def test_a_card_in_another_encoding_keeps_its_bytes(tmp_path):
    earlier, new = tmp_path / "earlier", tmp_path / "new"
    earlier.mkdir(), new.mkdir()
    (earlier / CARD).write_bytes("# Modèle\n".encode("latin-1"))
    write_card(new, _card(), earlier)
    assert (new / CARD).read_bytes() == "# Modèle\n".encode("latin-1")


@pytest.mark.parametrize(
    ("card", "found"),
    [
        (_card(), ("apache-2.0", "en")),
        ("---\nlicense: 'mit'  # x\nlanguage:\n- en\n- de\n---\n", ("mit", "")),
        ("---\ntags: [a]\n---\nlicense: mit\n", ("", "")),
        ("license: mit\n", ("", "")),
        (None, ("", "")),
    ],
)
def test_license_and_language_are_read_from_a_header(card, found):
    assert stated_license(card) == found
