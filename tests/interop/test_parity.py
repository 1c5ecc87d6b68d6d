"""A sample of benchmarks/interop_parity.py: random shapes, every head, both directions."""

import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from benchmarks import interop_parity as parity

# Every head once, then what else differs: an untied head, E = H, three token types.
CASES = [
    *((1, name) for name in parity.KINDS["electra"]),
    (36, "ElectraForMaskedLM"),
    (36, "ElectraForPreTraining"),
    (31, "ElectraForMaskedLM"),
    (31, "ElectraForSequenceClassification"),
    *((5, name) for name in parity.KINDS["bert"]),
    *((2, name) for name in parity.KINDS["modernbert"]),  # pools by the mean
    (15, "ModernBertForSequenceClassification"),
    (15, "ModernBertForMultipleChoice"),
]


def test_the_sample_covers_what_can_differ():
    drawn = [parity.draw_settings(seed) for seed in sorted({seed for seed, _ in CASES})]
    assert {s["scheme"] for s in drawn} == {"electra", "bert", "modernbert"}
    activations = {s.get("hidden_act", s.get("hidden_activation")) for s in drawn}
    assert activations == {"gelu", "gelu_new", "relu"}
    electra = [s for s in drawn if s["scheme"] == "electra"]
    assert {s["embedding_size"] == s["hidden_size"] for s in electra} == {True, False}
    assert {s["tie_word_embeddings"] for s in electra} == {True, False}
    poolings = [s["classifier_pooling"] for s in drawn if s["scheme"] == "modernbert"]
    assert set(poolings) == {"cls", "mean"}


@pytest.mark.parametrize(("seed", "class_name"), CASES)
def test_logits_equal_transformers_and_weights_come_back(tmp_path, seed, class_name):
    result = parity.compare(class_name, parity.draw_settings(seed), seed, tmp_path)
    assert result.read <= parity.TOLERANCE
    assert result.written <= parity.TOLERANCE
    assert result.identical
    assert not any(result.report.values()), result.report
    assert result.largest_logit > 0.05
