"""What is changed on purpose hides nothing else."""

import pytest
from same.changed import unmeant


@pytest.mark.parametrize(
    ("scenario", "line", "meant"),
    [
        ("finetune/ner", 'answers.jsonl: line 5: tags: ["O", null] → ["O", "O"]', True),
        ("finetune/ner", "run/metrics.jsonl: line 1: eval_f1: 9.09 → 9.23", True),
        ("finetune/ner", "run/metrics.jsonl: line 1: loss: 1.5 → 1.6", False),
        (
            "finetune/ner",
            "run/model/model.safetensors: classifier.weight: up to 1e-07 apart",
            False,
        ),
        ("finetune/pair", "answers.jsonl: line 5: probabilities: [0.1] → [0.2]", False),
        ("finetune/pair", 'run/result.json: failure: null → "its accuracy is 50"', True),
        ("pretrain/electra", "run/metrics.jsonl: line 3: eval_accuracy: 1.0 → 2.0", False),
        ("resume/finetune", "resumed and run: metrics.jsonl: line 2: eval_f1: 9.09 → 9.23", True),
        ("finetune/tagging", "answers.jsonl: line 5: id: 1 → 2", False),
    ],
)
def test_only_what_is_named_is_meant(scenario, line, meant):
    left, reasons = unmeant(scenario, [line])
    assert (left, len(reasons)) == (([], 1) if meant else ([line], 0))
