"""The demo: text → vocabulary → rows → pretraining → evaluation → report, on the text of this
machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from electra_jax.demo.docstrings import write_docstrings

CHARACTERS = 16_000_000
VOCABULARY = 1024
SEQ_LEN = 64
HELD_OUT = 0.04  # large enough that a table of token frequencies cannot overfit it


def demo(
    workdir: Path, config: Mapping[str, Any], characters: int = CHARACTERS
) -> dict[str, float]:
    """Runs the whole flow in `workdir` and prints its stages; returns the final held-out figures.

    Finished stages are skipped, so the same command resumes after an interruption.
    """
    from electra_jax.config.resolved import as_config
    from electra_jax.objectives.table import fields_of
    from electra_jax.preparation.prepare import prepare
    from electra_jax.text.tokenizers.tokenizer import load_tokenizer
    from electra_jax.text.tokenizers.train import train_vocabulary

    workdir.mkdir(parents=True, exist_ok=True)
    text, vocabulary, rows = workdir / "text.jsonl", workdir / "vocabulary", workdir / "rows"
    run_folder = workdir / "run"

    print("1/4  text: the docstrings of the installed Python packages", flush=True)
    if not text.exists():
        started = time.perf_counter()
        found = write_docstrings(text, characters)
        seconds = time.perf_counter() - started
        print(
            f"     {found['documents']:,} modules, {found['characters'] / 1e6:.1f} M characters "
            f"in {seconds:.0f} s → {text}"
        )
    print(f"2/4  vocabulary: WordPiece, {VOCABULARY} tokens", flush=True)
    if not (vocabulary / "tokenizer.json").exists():
        train_vocabulary([str(text)], "wordpiece", VOCABULARY, vocabulary, progress=False)
    print(f"3/4  rows of {SEQ_LEN} tokens; {HELD_OUT:.0%} of the modules are held out", flush=True)
    header = prepare([str(text)], vocabulary, rows, seq_len=SEQ_LEN, eval_fraction=HELD_OUT)
    train = header["splits"]["train"]
    print(f"     {train['rows']:,} rows, {train['tokens'] / 1e6:.1f} M tokens → {rows}")

    resolved = as_config(config, fields_of(config)).replace({"data.path": str(rows)})
    steps, batch = resolved["train"]["steps"], resolved["train"]["batch_size"]
    print(
        f"4/4  pretraining: {steps:,} steps of {batch} rows "
        f"({steps * batch * SEQ_LEN / 1e6:.1f} M tokens) → {run_folder}",
        flush=True,
    )
    started = time.perf_counter()
    figures = _pretrain(resolved, run_folder, load_tokenizer(vocabulary))
    print(f"\npretraining took {(time.perf_counter() - started) / 60:.1f} minutes")
    print(f"report:         {run_folder / 'report.html'}")
    print(f"discriminator:  {run_folder / 'model' / 'discriminator'}")
    print(f"generator:      {run_folder / 'model' / 'generator'}")
    return figures


def _pretrain(config: Mapping[str, Any], workdir: Path, tokenizer: Any) -> dict[str, float]:
    import jax

    from electra_jax.demo.analysis import (
        corruptions,
        sentence_text,
        sentence_tokens,
        showcase,
        token_only_skill,
        words,
    )
    from electra_jax.files import write_json_atomic
    from electra_jax.objectives.electra import ElectraObjective
    from electra_jax.objectives.unigram import unigram_entropy
    from electra_jax.pretraining.run import Pretraining
    from electra_jax.reporting.page import write_report
    from electra_jax.training.metrics_log import read_rows

    run = Pretraining.build(config, workdir)
    assert run.held_out is not None and isinstance(run.objective, ElectraObjective)
    state = run.train()
    last = [r for r in read_rows(workdir) if "eval_rtd_skill" in r][-1]
    entropy = unigram_entropy(run.held_out)
    settings = run.run.settings
    params = jax.device_get(state.params)
    seen = corruptions(run.objective, params, run.held_out, settings.batch_size, settings.seed)
    token_only = token_only_skill(seen, run.rows.vocab_size)
    figures = {
        "eval_rtd_skill": last["eval_rtd_skill"],
        "eval_discriminator_auc": last["eval_discriminator_auc"],
        "eval_generator_loss": last["eval_generator_loss"],
        "unigram_entropy": entropy,
        "token_only_skill": token_only,
    }
    table = [
        [
            "discriminator skill (0 = says 'real' always, 1 = perfect)",
            f"{last['eval_rtd_skill']:.3f}",
        ],
        ["skill of the best classifier that sees only a token's id", f"{token_only:.3f}"],
        ["discriminator AUC", f"{last['eval_discriminator_auc']:.3f}"],
        ["generator loss, nats per masked token", f"{last['eval_generator_loss']:.3f}"],
        ["entropy of the token frequencies, nats", f"{entropy:.3f}"],
    ]
    print("\nheld-out modules, corruptions sampled at temperature 1:")
    for name, value in table:
        print(f"  {name:60} {value}")
    row = words(seen, showcase(seen, tokenizer.ids_to_tokens), tokenizer.ids_to_tokens)
    print(
        "\na held-out row as the generator corrupted it; under each word the probability (%) "
        "that it was\n"
        "replaced, according to the discriminator; in brackets what stood there before:\n"
    )
    print(sentence_text(row))
    sections = [
        {
            "title": "Held-out modules",
            "table": {"columns": ["figure", "value"], "rows": table},
            "text": "Corruptions are sampled at temperature 1. The token-only classifier is "
            "fitted to the same corruptions.",
        },
        {
            "title": "A held-out row, corrupted by the generator",
            "text": "Above an underlined word stands what the generator replaced; the shade and "
            "the number below are the discriminator's probability that it was replaced (of a word "
            "of several tokens the highest).",
            "tokens": [sentence_tokens(row)],
        },
    ]
    write_json_atomic(workdir / "report.json", [*sections, *run.report_blocks()])
    write_json_atomic(workdir / "figures.json", figures)
    write_report([workdir], workdir / "report.html")
    return figures
