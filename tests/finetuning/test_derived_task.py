"""Fine-tuned models that were made elsewhere: their task, labels and answers."""

import json
import logging

import numpy as np
import pytest
from finetuning.tiny_task import CONFIG, write_jsonl
from matrix import representative

from electra_jax.errors import UserError
from electra_jax.finetuning.export import trained_task
from electra_jax.inference.predictor import Predictor
from electra_jax.interop.load import load_model_folder
from electra_jax.interop.loaded import LoadedModel
from electra_jax.interop.mapping.infer_shapes import expected_shapes
from electra_jax.interop.save import save_model_folder
from electra_jax.modeling.trees import unflatten

SEQUENCE, TOKEN = "sequence_classification", "token_classification"
QUESTION, CHOICE = "question_answering", "multiple_choice"


def model(tokenizer_folder, kind, names=None, outputs=None, **settings):
    """A loaded model of another program, without weights; `names` are its labels."""
    outputs = len(names or ()) or outputs
    return LoadedModel(
        kind=kind, config=CONFIG, params={}, source="m", tokenizer_folder=tokenizer_folder,
        num_labels=outputs, id2label=dict(enumerate(names)) if names else None,
        problem_type=settings.get("problem_type"), settings=settings,
    )  # fmt: skip


SENTIMENT = ("NEGATIVE", "POSITIVE")


@pytest.mark.parametrize(
    ("kind", "names", "outputs", "problem", "task"),
    [
        (SEQUENCE, SENTIMENT, None, None, "classification"),
        (SEQUENCE, SENTIMENT, None, "single_label_classification", "classification"),
        (SEQUENCE, ("toxic", "insult"), None, "multi_label_classification", "multilabel"),
        (SEQUENCE, None, 1, None, "regression"),
        (SEQUENCE, ("LABEL_0",), None, "regression", "regression"),
        (TOKEN, ("O", "B-PER", "I-PER"), None, None, "ner"),
        (TOKEN, ("NOUN", "VERB"), None, None, "tagging"),
        (QUESTION, None, None, None, "squad1"),
        (CHOICE, None, None, None, "multiple_choice"),
    ],
)
def test_the_task_follows_from_the_head_the_labels_and_the_problem_type(
    tiny_model, caplog, kind, names, outputs, problem, task
):
    with caplog.at_level(logging.WARNING):
        trained = trained_task(model(tiny_model, kind, names, outputs, problem_type=problem))
    assert trained.task.name == task
    assert trained.codec.labels == (() if task == "regression" or names is None else names)
    assert trained.settings.max_length == 64 and trained.settings.target_range == (0, 1)
    assert trained.network.head == "huggingface" and trained.network.saved_as == kind
    assert f"made elsewhere; taken for the task {task}" in caplog.text
    assert "--task names another: " in caplog.text


def test_a_task_of_the_same_head_can_be_named(tiny_model, caplog):
    def labels(names, task, **settings):
        return trained_task(model(tiny_model, SEQUENCE, names, **settings), task).codec.labels

    assert labels(SENTIMENT, "sst2") == ("0", "1")
    assert labels(("ENTAILMENT", "NEUTRAL", "CONTRADICTION"), "mnli") == (
        "entailment", "neutral", "contradiction",
    )  # fmt: skip
    assert labels(("LABEL_0", "LABEL_1"), "rte") == ("entailment", "not_entailment")
    assert "taken in the order of rte: entailment, not_entailment" in caplog.text
    assert labels(("x", "y"), "pair") == ("x", "y")
    assert labels(("x", "y"), "multilabel") == ("x", "y")  # where problem_type does not say
    assert trained_task(model(tiny_model, QUESTION), "squad2").codec.mode == "v2"
    assert trained_task(model(tiny_model, TOKEN, ("O", "B-NP")), "chunking").codec.spans


def test_labels_without_names_are_numbers(tiny_model):
    assert trained_task(model(tiny_model, SEQUENCE, outputs=3)).codec.labels == ("0", "1", "2")
    named = model(tiny_model, SEQUENCE, ("LABEL_0", "LABEL_1"))
    assert trained_task(named).codec.labels == ("0", "1")


@pytest.mark.parametrize(
    ("wrong", "task", "message"),
    [
        ((TOKEN, ("O", "B-X")), "sst2", "has a head for token classification, and sst2 is"),
        ((SEQUENCE, ("x", "y")), "sst2", "has the labels x, y, and sst2 has 0, 1"),
        ((SEQUENCE, ("x", "y")), "stsb", "has 2 outputs, and stsb is regression"),
        ((SEQUENCE, None, 1), "classification", "has 1 outputs, and classification is"),
        (("discriminator",), None, "not fine-tuned: it is of kind 'discriminator'"),
        ((TOKEN, ("NOUN", "VERB")), "ner", 'the tag "NOUN" marks no span'),
    ],
)
def test_what_does_not_fit_is_refused(tiny_model, wrong, task, message):
    with pytest.raises(UserError, match=message):
        trained_task(model(tiny_model, *wrong), task)


def test_the_stated_problem_is_not_another(tiny_model):
    stated = model(tiny_model, SEQUENCE, SENTIMENT, problem_type="multi_label_classification")
    with pytest.raises(UserError, match=r"trained for multi_label_classification .* and sst2 is"):
        trained_task(stated, "sst2")


def test_labels_must_name_every_output(tiny_model):
    gap = model(tiny_model, SEQUENCE, SENTIMENT)
    gap.id2label[3] = gap.id2label.pop(1)
    with pytest.raises(UserError, match=r"id2label of its config.json must name the 2 outputs"):
        trained_task(gap)


def save(folder, tokenizer_folder, kind, labels, **settings):
    """A folder of another program with random weights."""
    draw = np.random.default_rng(0)
    shapes = expected_shapes(CONFIG, kind, len(labels) or None)
    flat = {n: draw.normal(0, 0.3, shape).astype(np.float32) for n, shape in shapes.items()}
    named = {"id2label": {str(i): x for i, x in enumerate(labels)}} if labels else {}
    save_model_folder(folder, kind, CONFIG, unflatten(flat), tokenizer_folder, named | settings)
    assert "task_settings" not in json.loads((folder / "config.json").read_text())
    return folder


def test_a_folder_of_another_program_answers_files_and_is_evaluated(tiny_model, tmp_path):
    folder = save(tmp_path / "m", tiny_model, SEQUENCE, SENTIMENT)
    predictor = Predictor(folder, "sst2")
    rows = [{"sentence": f"the {w} film", "label": i % 2} for i, w in
            enumerate(("bright", "dull", "warm", "cold"))]  # fmt: skip
    file = write_jsonl(tmp_path / "dev.jsonl", rows)
    scores = predictor.evaluate(str(file), None, tmp_path / "out.jsonl")
    answers = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    right = [a["label"] == str(r["label"]) for a, r in zip(answers, rows, strict=True)]
    assert scores == {"accuracy": 100 * np.mean(right)}
    plain = Predictor(folder).predict([row["sentence"] for row in rows])
    for one, other in zip(answers, plain, strict=True):
        assert list(one["probabilities"]) == ["0", "1"]
        assert list(other["probabilities"]) == list(SENTIMENT)
        assert list(one["probabilities"].values()) == list(other["probabilities"].values())


def test_a_tagger_of_another_program_tags_every_word_of_a_long_text(tiny_model, tmp_path):
    folder = save(tmp_path / "m", tiny_model, TOKEN, ("O", "B-X", "I-X"))
    words = ("the bright film was dull " * 40).split()
    (answer,) = Predictor(folder).predict([words])
    assert len(answer["tags"]) == 200 and None not in answer["tags"]
    (text,) = Predictor(folder).predict([" ".join(words)])
    assert text["tags"] == answer["tags"]


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("torch")
    return pytest.importorskip("transformers")


HEADS = ("SequenceClassification", "TokenClassification", "QuestionAnswering")
INPUTS = {
    "electra": ["input_ids", "token_type_ids", "attention_mask"],
    "modernbert": ["input_ids", "attention_mask"],
}
MODELS = {
    "electra": {"embedding_size": 16, "type_vocab_size": 2},
    "modernbert": {
        "global_attn_every_n_layers": 1,
        "layer_types": ["full_attention"] * 2,
        "classifier_pooling": "cls",
    },
}


PAIRS = [(head, model_type) for head in HEADS for model_type in MODELS]


@pytest.mark.parametrize(
    ("head", "model_type"),
    representative(
        PAIRS,
        ("SequenceClassification", "electra"),
        ("TokenClassification", "modernbert"),
        ("QuestionAnswering", "electra"),
    ),
)
def test_answers_equal_those_of_transformers(transformers, tiny_model, tmp_path, head, model_type):
    import torch

    torch.manual_seed(1)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tiny_model / "tokenizer.json"), pad_token="[PAD]", unk_token="[UNK]",
        cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]",
        model_input_names=INPUTS[model_type],
    )  # fmt: skip
    ids = {n: tokenizer.convert_tokens_to_ids(f"[{n.upper()}]") for n in ("pad", "cls", "sep")}
    config = transformers.AutoConfig.for_model(
        model_type, vocab_size=CONFIG.vocab_size, hidden_size=32, num_hidden_layers=2,
        num_attention_heads=4, intermediate_size=48, max_position_embeddings=64,
        pad_token_id=ids["pad"], cls_token_id=ids["cls"], bos_token_id=ids["cls"],
        sep_token_id=ids["sep"], eos_token_id=ids["sep"], initializer_range=0.5,
        **({} if head == "QuestionAnswering" else {"num_labels": 3}), **MODELS[model_type],
    )  # fmt: skip
    name = {"electra": "Electra", "modernbert": "ModernBert"}[model_type]
    network = getattr(transformers, f"{name}For{head}")(config).eval()
    network.save_pretrained(tmp_path / "m")
    tokenizer.save_pretrained(tmp_path / "m")

    def theirs(*texts, **options):
        with torch.no_grad():
            return network(**tokenizer(*texts, return_tensors="pt", **options))

    predictor = Predictor(tmp_path / "m")
    text, other = "the bright film was kind", "a dull day of the cold river"
    if head == "SequenceClassification":
        answers = predictor.predict([text, (text, other)])
        for answer, texts in zip(answers, ((text,), (text, other)), strict=True):
            expected = torch.softmax(theirs(*texts).logits[0], -1).tolist()
            assert list(answer["probabilities"].values()) == pytest.approx(expected, abs=1e-5)
    elif head == "TokenClassification":
        (answer,) = predictor.predict([text.split()])
        encoded = tokenizer(text.split(), is_split_into_words=True)
        first = [encoded.word_ids().index(i) for i in range(5)]
        logits = theirs(text.split(), is_split_into_words=True).logits[0, first]
        assert answer["tags"] == [str(i) for i in logits.argmax(-1).tolist()]
        expected = torch.softmax(logits, -1).amax(-1).tolist()
        assert answer["probabilities"] == pytest.approx(expected, abs=1e-5)
    else:
        (answer,) = predictor.predict([{"question": text, "context": other}])
        found = theirs(text, other)
        spans = {(a["start_logit"], a["end_logit"]) for a in answer["n_best"]}
        offsets = tokenizer(text, other, return_offsets_mapping=True)
        context = [i for i, part in enumerate(offsets.sequence_ids()) if part == 1]
        start, end = (x[0, context].numpy() for x in (found.start_logits, found.end_logits))
        scores = start[:, None] + np.where(np.tri(len(context)).T > 0, end[None, :], -np.inf)
        best = np.unravel_index(scores.argmax(), scores.shape)
        assert answer["n_best"][0]["start_logit"] == pytest.approx(start[best[0]], abs=1e-4)
        assert answer["n_best"][0]["end_logit"] == pytest.approx(end[best[1]], abs=1e-4)
        mapping = offsets["offset_mapping"]
        first, last = mapping[context[best[0]]][0], mapping[context[best[1]]][1]
        assert answer["prediction_text"] == other[first:last] and len(spans) > 1


def test_a_loaded_folder_knows_its_labels(tiny_model, tmp_path):
    folder = save(tmp_path / "m", tiny_model, TOKEN, ("O", "B-X"))
    assert load_model_folder(folder).id2label == {0: "O", 1: "B-X"}
