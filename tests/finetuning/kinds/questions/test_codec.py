"""Windows, decoding and scores of questions: against the recorded ones, and on real data."""

import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.finetuning.data.examples import CodecSettings, QuestionExample
from electra_jax.finetuning.kinds.questions.codec import (
    PROJECTIONS,
    QuestionCodec,
    can_be_learnt,
    check_answers,
)
from electra_jax.finetuning.kinds.questions.files import read_questions
from electra_jax.text.tokenizers.tokenizer import (
    load_tokenizer,
    tokenizer_from_spiece,
    tokenizer_from_vocab,
)
from electra_jax.text.tokenizers.wordpiece import Options

VARIANTS = {
    "v2_joint": ("v2", "data_v2.json", "v2_joint"),
    "v1_joint": ("v1", "data_v1.json", "v1_joint"),
    "v2_independent": ("v2", "data_v2.json", "v2_joint"),
    "v2_independent_no_classifier": ("v2", "data_v2.json", "v2_joint"),
    "v1_independent": ("v1", "data_v1.json", "v1_joint"),
    "mrqa_joint": ("mrqa", "data_mrqa.jsonl", "v1_joint"),
}
WORDS = "the red a house blue car was ##s seen by mr smith 18 ##95 - ( ) . who what ?".split()
CONTEXT = "The red house was seen by Mr Smith (1895). A blue car was seen by the house."


@pytest.fixture(scope="module")
def tokenizer(oracles):
    return load_tokenizer(oracles / "tokenization/vocab_uncased.txt")


@pytest.fixture(scope="module")
def small_tokenizer():
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *"光荣和东京塔高米"]
    return tokenizer_from_vocab(vocabulary, Options())


def ask(question="Who?", context=CONTEXT, answer="Smith", start=None, **fields):
    start = context.index(answer) if start is None else start
    given = {"where": "f.jsonl:7", "id": "q", "answers": ((answer, start),)}
    return QuestionExample(question=question, context=context, **(given | fields))


def settings_of(config, **more):
    names = {"max_length": "max_seq_length", "n_best": "n_best_size"}
    fields = ("max_length", "max_query_length", "doc_stride", "n_best", "max_answer_length")
    recorded = {f: config[names.get(f, f)] for f in fields if names.get(f, f) in config}
    return CodecSettings(**recorded, **more)


def recorded_json(oracles: Path, name: str):
    return json.loads((oracles / "qa_decoding" / f"{name}.json").read_text())


@pytest.mark.parametrize("variant", VARIANTS)
def test_recorded_windows_answers_and_scores(oracles, tokenizer, variant):
    mode, data, windows = VARIANTS[variant]
    recorded = recorded_json(oracles, variant)
    arrays = np.load(oracles / "qa_decoding" / f"{variant}.npz")
    windows = iter(zip(recorded_json(oracles, windows)["features"], range(len(arrays["eid"]))))
    codec = QuestionCodec(tokenizer, settings_of(recorded["config"]), mode, "reference")
    questions = list(read_questions(oracles / "qa_decoding" / data))
    predictions = []
    for question in questions:
        features, outputs = codec.encode(question, train=False), []
        for feature, trained in zip(features, codec.encode(question, train=True), strict=True):
            window, row = next(windows)
            assert window["qid"] == question.id
            assert_is_window(feature, trained, window)
            names = set(arrays.files) - {"eid"}
            if variant.endswith("no_classifier"):
                names -= {"answerable_logit"}
            outputs.append({name: arrays[name][row] for name in names})
        prediction = codec.decode(question, features, outputs)
        predictions.append(prediction)
        assert_is_answer(prediction, recorded, question, codec)
    assert next(windows, None) is None
    assert codec.score(questions, predictions) == pytest.approx(recorded["evaluation"], abs=1e-6)
    json.dumps(predictions, allow_nan=False)


def assert_is_window(feature, trained, window):
    assert feature["input_ids"].tolist() == trained["input_ids"].tolist() == window["input_ids"]
    assert feature["token_type_ids"].tolist() == window["segment_ids"]
    assert feature["answer_mask"].tolist() == [1, *window["segment_ids"][1:]]
    words = {str(i): w for i, w in enumerate(feature["host"]["words"].tolist()) if w >= 0}
    assert words == window["token_to_orig_map"]
    best = np.flatnonzero(feature["host"]["max_context"])
    assert best.tolist() == window["max_context_tokens"]
    assert not {"start_positions", "end_positions", "is_impossible"} & feature.keys()
    assert trained["start_positions"] == window["training"]["start_position"]
    assert trained["end_positions"] == window["training"]["end_position"]
    assert bool(trained["is_impossible"]) == window["training"]["is_impossible"]


def assert_is_answer(prediction, recorded, question, codec):
    expected = recorded["nbest"][question.id]
    assert [a["text"] for a in prediction["n_best"]] == [a["text"] for a in expected]
    for answer, other in zip(prediction["n_best"], expected):
        for name in ("probability", "start_logit", "end_logit"):
            assert answer[name] == pytest.approx(other[name], abs=1e-6)
        if answer["start"] is not None:
            there = question.context[answer["start"] : answer["end"]]
            assert " ".join(there.split()) == " ".join(answer["text"].split())
    best = recorded["predictions"][question.id]
    assert best == prediction["n_best"][0]["text"]
    if codec.mode != "v2":
        assert prediction["prediction_text"] == best
        assert prediction["null_odds"] is None
        return
    odds = recorded["null_odds"][question.id]
    assert prediction["null_odds"] == pytest.approx(odds, abs=1e-6)
    threshold = recorded["config"]["qa_na_threshold"]
    assert prediction["prediction_text"] == ("" if odds > threshold else best)
    assert (prediction["prediction_text"] == "") == (odds > threshold)
    assert 0 <= prediction["no_answer_probability"] <= 1


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_recorded_training_windows_of_awkward_answers(oracles, tokenizer, tmp_path, projection):
    recorded = recorded_json(oracles, "training_features_edge_cases")
    path = tmp_path / "data.json"
    path.write_text(json.dumps(recorded["dataset"]))
    settings = settings_of(recorded["config"], on_bad_answer="skip")
    codec = QuestionCodec(tokenizer, settings, "v2", projection=projection)
    questions = list(read_questions(path))
    kept = check_answers(questions, settings, projection)
    assert [q.id for q in kept] == recorded["kept"]
    for question in questions:
        if question.id in recorded["dropped"]:
            assert codec.encode(question, train=True) == []
    for question, example in zip(kept, recorded["examples"], strict=True):
        features = codec.encode(question, train=True)
        for feature, window in zip(features, example["windows"], strict=True):
            length = sum(window["input_mask"])
            assert feature["input_ids"].tolist() == window["input_ids"][:length]
            assert feature["token_type_ids"].tolist() == window["segment_ids"][:length]
            assert feature["start_positions"] == window["start_position"]
            assert feature["end_positions"] == window["end_position"]
            assert feature["is_impossible"] == window["is_impossible"]


def perfect_outputs(features, answer_of):
    """Logits of Hugging Face's head that are sure of the training positions."""
    outputs = []
    for feature in features:
        start, end = answer_of(feature)
        logits = np.zeros((2, len(feature["input_ids"])), np.float32)
        logits[0, start] = logits[1, end] = 9.0 if start else 5.0
        outputs.append({"start_logits": logits[0], "end_logits": logits[1]})
    return outputs


def positions(feature):
    return int(feature["start_positions"]), int(feature["end_positions"])


@pytest.mark.parametrize(
    ("folder", "mode"), [("squad_v1.1", "v1"), ("squad_v2.0", "v2"), ("cmrc2018", "cmrc")]
)
def test_sure_outputs_give_the_gold_answers_of_real_data(
    all_oracles, shared_data, tokenizer, folder, mode
):
    questions = list(read_questions(shared_data / folder / "dev.jsonl.gz"))
    settings = CodecSettings(max_length=256, max_answer_length=256, n_best=1)
    codec = QuestionCodec(tokenizer, settings, mode)
    predictions = []
    for question in questions:
        features = codec.encode(question, train=True)
        # The window where the answer may start.
        for feature in features:
            if not feature["host"]["max_context"][positions(feature)[0]]:
                feature["start_positions"] = feature["end_positions"] = np.int32(0)
        prediction = codec.decode(question, features, perfect_outputs(features, positions))
        predictions.append(prediction)
        if prediction["start"] is not None:
            there = question.context[prediction["start"] : prediction["end"]]
            assert there == prediction["prediction_text"]
    scores = codec.score(questions, predictions)
    assert scores.get("exact_match", scores.get("exact")) == 100


def test_the_reference_points_chinese_answers_at_their_first_place_and_offsets_do_not(
    small_tokenizer,
):
    """To the reference a Chinese sentence is one word, in which it finds the first equal text."""
    question = ask(context="东京高。塔和东京塔高", answer="东京塔", start=6)
    again = ask(context="东京塔高。塔和东京塔高", answer="东京塔", start=7)
    starts = {}
    for projection in PROJECTIONS:
        codec = QuestionCodec(small_tokenizer, CodecSettings(), projection=projection)
        for name, asked in (("once", question), ("again", again)):
            (feature,) = codec.encode(asked, train=True)
            first = int(feature["start_positions"])
            starts[projection, name] = int(feature["host"]["offsets"][first, 0])
    assert starts["offsets", "once"] == starts["reference", "once"] == 6
    assert starts["offsets", "again"] == 7
    assert starts["reference", "again"] == 0
    codec = QuestionCodec(small_tokenizer, CodecSettings(), "cmrc", "reference")
    assert codec.projection == "offsets"


def test_an_answer_inside_a_word_is_learnt_without_the_rest_of_the_word(small_tokenizer):
    """The reference learns all of a word whose pieces do not spell the answer."""
    question = ask(context="The house (1895) was seen.", answer="95")
    found = {}
    for projection in PROJECTIONS:
        codec = QuestionCodec(small_tokenizer, CodecSettings(), projection=projection)
        (feature,) = codec.encode(question, train=True)
        first, last = positions(feature)
        offsets = feature["host"]["offsets"]
        found[projection] = question.context[offsets[first, 0] : offsets[last, 1]]
    assert found == {"offsets": "95", "reference": "(1895)"}


def test_features_are_int32_and_everything_for_the_host_alone_is_under_one_key(small_tokenizer):
    codec = QuestionCodec(small_tokenizer, CodecSettings(max_length=12, max_query_length=3), "v2")
    features = codec.encode(ask(), train=True)
    assert len(features) > 1
    for feature in features:
        length = len(feature["input_ids"])
        assert length <= 12
        host = feature.pop("host")
        assert host["offsets"].shape == (length, 2)
        assert host["words"].shape == host["max_context"].shape == (length,)
        for name, value in feature.items():
            assert value.dtype == np.int32, name
            assert value.shape == (() if name.endswith(("positions", "impossible")) else (length,))


def decoded(codec, question, start_logits, end_logits):
    features = codec.encode(question, train=False)
    (feature,) = features
    length = len(feature["input_ids"])
    outputs = {
        name: np.array([logits.get(i, -9) for i in range(length)], np.float32)
        for name, logits in (("start_logits", start_logits), ("end_logits", end_logits))
    }
    return codec.decode(question, features, [outputs])


def test_spans_outside_the_context_or_too_long_are_never_answers(small_tokenizer):
    settings = CodecSettings(max_answer_length=3)
    codec = QuestionCodec(small_tokenizer, settings)
    # [CLS] who ? [SEP] the red house was seen …: 4 is "the".
    prediction = decoded(codec, ask(), {0: 9, 1: 8, 4: 5, 6: 4}, {0: 9, 3: 9, 7: 6, 6: 4, 5: 2})
    texts = [answer["text"] for answer in prediction["n_best"]]
    assert texts[:3] == ["house was", "The red house", "house"]
    assert prediction["prediction_text"] == "house was"
    assert (prediction["start"], prediction["end"]) == (8, 17)
    assert not any(text.startswith("The red house ") for text in texts)


def test_no_answer_wins_in_squad_2_alone(small_tokenizer):
    logits = {0: 9, 4: 5}, {0: 9, 4: 5}
    codec = QuestionCodec(small_tokenizer, CodecSettings(), "v2")
    prediction = decoded(codec, ask(), *logits)
    assert prediction["prediction_text"] == ""
    assert prediction["start"] is prediction["end"] is None
    assert prediction["null_odds"] == 8
    assert prediction["n_best"][0]["text"] == "The"
    total = prediction["no_answer_probability"] + sum(
        answer["probability"] for answer in prediction["n_best"]
    )
    assert total == pytest.approx(1)
    patient = QuestionCodec(small_tokenizer, CodecSettings(null_threshold=8.0), "v2")
    assert decoded(patient, ask(), *logits)["prediction_text"] == "The"
    forced = decoded(QuestionCodec(small_tokenizer, CodecSettings(), "v1"), ask(), *logits)
    assert forced["prediction_text"] == "The"
    assert forced["null_odds"] is forced["no_answer_probability"] is None


def test_a_question_without_any_candidate_gets_an_empty_answer(small_tokenizer):
    """The reference answers "empty" in words."""
    nowhere = {0: 9}, {0: 9}
    settings = CodecSettings(n_best=1)
    for mode in ("v1", "v2"):
        prediction = decoded(QuestionCodec(small_tokenizer, settings, mode), ask(), *nowhere)
        assert prediction["prediction_text"] == "" and prediction["n_best"] == []
        json.dumps(prediction, allow_nan=False)
    reference = QuestionCodec(small_tokenizer, settings, "v1", "reference")
    assert decoded(reference, ask(), *nowhere)["prediction_text"] == "empty"


def test_answers_that_are_elsewhere_fail_with_their_number_and_the_first_three():
    good = ask()
    bad = [ask(start=i, id=f"bad{i}") for i in range(4)]
    settings = CodecSettings()
    assert check_answers([good], settings) == [good]
    with pytest.raises(UserError) as raised:
        check_answers([bad[0], good, *bad[1:]], settings)
    message = str(raised.value)
    assert message.startswith("4 of 5 questions have no answer at the given offset")
    assert "f.jsonl:7 (question bad2): 'Smith' at 2, there is 'e red'" in message
    assert "bad3" not in message
    assert "on_bad_answer=skip" in message


def test_answers_that_are_elsewhere_are_skipped_and_counted(caplog):
    good, bad, none = ask(), ask(start=1), ask(answers=())
    impossible = ask(answers=(), is_impossible=True)
    settings = CodecSettings(on_bad_answer="skip")
    with caplog.at_level(logging.WARNING):
        assert check_answers([bad, good, impossible, none], settings) == [good, impossible]
    assert len(caplog.records) == 1
    assert "2 of 4 questions" in caplog.text


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_answers_may_differ_from_the_context_in_case_and_spaces(projection):
    assert can_be_learnt(ask(context="by  MR\tSmith.", answer="Mr Smith", start=4), projection)
    assert not can_be_learnt(ask(context="by Mr Smith", answer="Smithson", start=6), projection)
    assert not can_be_learnt(ask(context="by Mr Smith", answer="Smith", start=99), projection)


def test_offsets_must_be_exact_where_the_reference_looks_at_whole_words():
    near = ask(context="the greenhouse", answer="house", start=8)
    assert near.context.index("house") == 9
    assert can_be_learnt(near, "reference")
    assert not can_be_learnt(near, "offsets")


def test_any_kind_of_tokenizer_gives_exact_parts_of_the_text():
    sentencepiece = pytest.importorskip("sentencepiece")
    context = "Der Zug hält  in Köln–Deutz.\nＡＢＣ café 光荣和东京塔，高333米。 \u200bEnde ﬁn"
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([context, CONTEXT] * 20),
        model_writer=model,
        vocab_size=65,
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        minloglevel=2,
    )
    tokenizer = tokenizer_from_spiece(model.getvalue())
    settings = CodecSettings(max_length=30, max_query_length=8, doc_stride=10, n_best=1)
    codec = QuestionCodec(tokenizer, settings, head="reference")
    assert codec.projection == "offsets"
    for answer in ("Zug", "Köln", "ＡＢＣ café", "东京塔", "333米", "Ende ﬁn"):
        question = ask(context=context, answer=answer)
        features = codec.encode(question, train=True)
        assert len(features) > 1
        prediction = codec.decode(question, features, perfect_outputs(features, positions))
        start, end = prediction["start"], prediction["end"]
        assert context[start:end] == prediction["prediction_text"]
        assert start <= context.index(answer) and context.index(answer) + len(answer) <= end
        assert end - start <= len(answer) + 4


def test_equal_ids_do_not_mix_up_scores(small_tokenizer):
    codec = QuestionCodec(small_tokenizer, CodecSettings())
    questions = [ask(answer="Smith"), ask(answer="house")]
    predictions = [{"id": "q", "prediction_text": text} for text in ("Smith", "house")]
    assert codec.score(questions, predictions)["exact_match"] == 100


def test_a_window_without_room_for_context_is_refused(small_tokenizer):
    with pytest.raises(UserError, match=r"data\.max_length=67 leaves no room"):
        QuestionCodec(small_tokenizer, CodecSettings(max_length=67))
    QuestionCodec(small_tokenizer, CodecSettings(max_length=68))
    with pytest.raises(UserError, match=r"data\.doc_stride=0 must be"):
        QuestionCodec(small_tokenizer, CodecSettings(doc_stride=0))
