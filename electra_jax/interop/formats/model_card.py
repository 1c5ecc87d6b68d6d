"""The model card of a folder (README.md): what the model is, its data, scores and how to load it,
under the header that the Hugging Face Hub reads.

A card that a person wrote or edited is never replaced: a card of ours ends in a comment with its
own digest, so that an edited one no longer matches.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from electra_jax.config.model import ElectraConfig
from electra_jax.errors import UserError
from electra_jax.interop.mapping.hf_config import OWN
from electra_jax.interop.mapping.names import DISCRIMINATOR, ENCODER, GENERATOR, NOISE, PAIR
from electra_jax.modeling.heads.huggingface import CHOICE, QUESTION, SEQUENCE, TOKEN

CARD = "README.md"
LIBRARY = "electra_jax"
_ANY_BYTES = "surrogateescape"  # a person's card in another encoding keeps its bytes
_END = re.compile(r"\n<!-- written by electra_jax; digest ([0-9a-f]{64}) -->\n\Z")
# The Hub's names of tasks ("pipeline tags"), by the kind of network.
_PIPELINES = {
    GENERATOR: "fill-mask",
    ENCODER: "feature-extraction",
    SEQUENCE: "text-classification",
    TOKEN: "token-classification",
    QUESTION: "question-answering",
    CHOICE: "multiple-choice",
}
# The Hub's names of metrics where they differ from ours.
_METRICS = {
    "mcc": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "macro_f1": "f1",
    "micro_f1": "f1",
}
_KINDS = {
    DISCRIMINATOR: "an ELECTRA discriminator: for every token of a text, was it replaced?",
    GENERATOR: "an ELECTRA generator: a masked language model",
    NOISE: "an Electric noise model: two causal towers that predict every token of a text",
    ENCODER: "an ELECTRA encoder: a vector for every token of a text",
    SEQUENCE: "an ELECTRA encoder with a classifier of texts",
    TOKEN: "an ELECTRA encoder with a classifier of tokens",
    QUESTION: "an ELECTRA encoder with a question-answering head",
    CHOICE: "an ELECTRA encoder with a multiple-choice head",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """What the maker of a model knows of it; the card leaves out what is empty.

    title: the heading; by default the kind of network.
    task, dataset: names of the task that it was fine-tuned for and of the data that the scores are
      of; scores of pretraining are no results that the Hub lists.
    base: the model that it was trained from, a Hub id or a path.
    labels: the answers of a classifier.
    data, training: {what: value} as text, in the order of the card's tables.
    scores: {metric: value} on held-out data, the most important one first.
    test_scores: on data that chose nothing.
    language: a code of the Hub's, such as "en". license: an identifier of the Hub's, such as
      "apache-2.0"; empty: the card asks for one.
    remarks: sentences that a reader must know, such as that the run did not learn.
    """

    title: str = ""
    task: str = ""
    dataset: str = ""
    base: str = ""
    labels: Sequence[str] = ()
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    training: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    test_scores: Mapping[str, float] = dataclasses.field(default_factory=dict)
    language: str = ""
    license: str = ""
    remarks: Sequence[str] = ()


def write_card(folder: Path, card: str, earlier: Path) -> None:
    """Writes a card into a `folder` that takes the place of the folder `earlier`; the latter's own
    card stays where a person wrote or edited it."""
    kept = read_card(earlier)
    text = card if kept is None or is_generated(kept) else kept
    (folder / CARD).write_text(text, encoding="utf-8", errors=_ANY_BYTES)


def read_card(folder: Path) -> str | None:
    """The text of a folder's card; None where there is none."""
    try:
        return (folder / CARD).read_text(encoding="utf-8", errors=_ANY_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{folder / CARD}: cannot be read: {error.strerror}") from error


def is_generated(text: str) -> bool:
    """Whether a card is exactly as `model_card` made it."""
    end = _END.search(text)
    return end is not None and end[1] == _digest(text[: end.start()])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", _ANY_BYTES)).hexdigest()


def model_card(
    kind: str,
    config: ElectraConfig | None,
    settings: Mapping[str, Any],
    facts: ModelFacts,
    parameters: int | None = None,
) -> str:
    """The text of a network's card. `settings` is its config.json, `parameters` their number.

    `config` is None for an adapter, whose folder has neither.
    """
    own = settings.get("model_type") == OWN or "architectures" not in settings
    named = _KINDS.get(kind, "an ELECTRA encoder with a head of its own")
    if settings.get("objective") == "electric":
        named = "an Electric discriminator: an energy, −log p given the others, for every token"
    title = facts.title or named.partition(":")[0].removeprefix("an ")
    body = [f"# {title}", "", f"This is {named}{'' if named.endswith('?') else '.'}"]
    if facts.task:
        body[-1] += f" It was fine-tuned for {facts.task}."
    if facts.base:
        body += ["", f"It was trained from {_linked(facts.base)}."]
    body += [f"\n**{remark}**" for remark in facts.remarks]
    if config is None:
        body += ["", "This folder holds an adapter, the parameters that were trained on top of it."]
    body += ["", "## How to load it", "", _loading(settings, own)]
    body += _table("Data", facts.data)
    if facts.labels:
        shown = ", ".join(f"`{label}`" for label in facts.labels[:50])
        more = f", … ({len(facts.labels)} in all)" if len(facts.labels) > 50 else ""
        body += ["", f"Labels: {shown}{more}"]
    body += _scores(facts)
    body += _table("Training", facts.training)
    body += _table("Network", _network(config, parameters) if config else {})
    if not facts.license:
        body += [
            "",
            "## License",
            "",
            "Not stated yet: put the identifier of the licence into the header of this file "
            "(`license: …`) before you publish the model.",
        ]
    return _signed(_header(kind, own, facts) + "\n".join(body) + "\n")


def pair_card(facts: ModelFacts) -> str:
    """The text of the card of a folder that holds discriminator/ and generator/."""
    name = "THIS FOLDER OR ITS NAME"
    body = f"""\
# {facts.title or "ELECTRA pair"}

An ELECTRA discriminator and the generator that it was trained with, each in its folder with a card
of its own. The discriminator is the one to fine-tune.

## How to load it

```python
import electra_jax

pair = electra_jax.load("{name}")
pair.discriminator, pair.generator
```

In `transformers`, name the network: `from_pretrained("{name}", subfolder="discriminator")`.
"""
    return _signed(_header(PAIR, True, facts) + body)


def _signed(text: str) -> str:
    return f"{text}\n<!-- written by electra_jax; digest {_digest(text)} -->\n"


def _loading(settings: Mapping[str, Any], own: bool) -> str:
    lines = ["import electra_jax", "", 'model = electra_jax.load("THIS FOLDER OR ITS NAME")']
    if "task_settings" in settings:
        lines[2] = 'predictor = electra_jax.Predictor("THIS FOLDER OR ITS NAME")'
    code = "```python\n" + "\n".join(lines) + "\n```"
    if own:
        return code + "\n\n`transformers` has no class for it."
    if not settings["architectures"]:
        return code
    name = settings["architectures"][0]
    theirs = (
        f"from transformers import AutoTokenizer, {name}\n\n"
        'tokenizer = AutoTokenizer.from_pretrained("THIS FOLDER OR ITS NAME")\n'
        f'model = {name}.from_pretrained("THIS FOLDER OR ITS NAME")'
    )
    return f"{code}\n\nor\n\n```python\n{theirs}\n```"


def _network(config: ElectraConfig, parameters: int | None) -> dict[str, str]:
    rows = {
        "layers": f"{config.num_hidden_layers} ({config.block})",
        "hidden size": f"{config.hidden_size}, embeddings {config.embedding_size}",
        "attention heads": str(config.num_attention_heads),
        "vocabulary": f"{config.vocab_size:,} tokens",
        "longest input": f"{config.max_position_embeddings:,} tokens",
    }
    return rows if parameters is None else {"parameters": f"{parameters:,}", **rows}


def _table(title: str, rows: Mapping[str, str]) -> list[str]:
    shown = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items() if value != ""]
    return ["", f"## {title}", "", "| | |", "|---|---|", *shown] if shown else []


def _cell(text: Any) -> str:
    return " ".join(str(text).split()).replace("|", "\\|")


def _scores(facts: ModelFacts) -> list[str]:
    if not facts.scores and not facts.test_scores:
        return []
    names = list(dict.fromkeys([*facts.scores, *facts.test_scores]))
    head, rule = ["metric", "held out"], ["---", "---:"]
    if facts.test_scores:
        head, rule = [*head, "test"], [*rule, "---:"]
    found = [facts.scores, facts.test_scores][: len(head) - 1]
    lines = [
        [f"`{name}`", *(_number(scores[name]) if name in scores else "" for scores in found)]
        for name in names
    ]
    return ["", "## Scores", "", *(f"| {' | '.join(row)} |" for row in (head, rule, *lines))]


def _number(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1 else f"{value:.2f}"


def _linked(base: str) -> str:
    """A Hub id as a link, a path by its last part: the rest names somebody's machine."""
    if _is_hub_id(base):
        return f"[{base}](https://huggingface.co/{base})"
    return f"`{Path(base).name}`"


def _is_hub_id(base: str) -> bool:
    return re.fullmatch(r"[\w.-]+/[\w.-]+", base) is not None and not Path(base).exists()


def _header(kind: str, own: bool, facts: ModelFacts) -> str:
    """The card's YAML, as the Hub reads it."""
    fields: dict[str, Any] = {}
    if facts.language:
        fields["language"] = facts.language
    fields["license"] = facts.license or "unknown"
    fields["library_name"] = LIBRARY if own else "transformers"
    fields["tags"] = ["electra", LIBRARY, *([facts.task] if facts.task else [])]
    if kind in _PIPELINES:
        fields["pipeline_tag"] = _PIPELINES[kind]
    if _is_hub_id(facts.base):
        fields["base_model"] = facts.base
    if facts.scores and facts.task:
        fields["metrics"] = list(dict.fromkeys(_METRICS.get(n, n) for n in facts.scores))
        result = {
            "task": {"type": _PIPELINES.get(kind, facts.task)},
            "dataset": {"name": facts.dataset or facts.task, "type": _slug(facts.dataset)},
            "metrics": [
                {"type": _METRICS.get(name, name), "name": name, "value": round(value, 4)}
                for name, value in facts.scores.items()
                if value == value  # JSON and YAML readers differ on NaN
            ],
        }
        fields["model-index"] = [{"name": facts.title or LIBRARY, "results": [result]}]
    return "---\n" + "\n".join(_yaml(fields)) + "\n---\n\n"


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-").lower() or "unknown"


def _yaml(value: Mapping[str, Any]) -> list[str]:
    """A mapping of strings, numbers, lists and mappings as lines of YAML; strings are quoted as in
    JSON, which YAML reads."""
    lines: list[str] = []
    for key, item in value.items():
        if isinstance(item, Mapping):
            lines += [f"{key}:", *(f"  {line}" for line in _yaml(item))]
        elif isinstance(item, list):
            lines.append(f"{key}:")
            for one in item:
                inner = _yaml(one) if isinstance(one, Mapping) else [_scalar(one)]
                lines += [f"- {inner[0]}", *(f"  {line}" for line in inner[1:])]
        else:
            lines.append(f"{key}: {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[a-z][a-z0-9_-]*", value)
    reserved = value in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
    return value if plain and not reserved else json.dumps(value, ensure_ascii=False)


def stated_license(card: str | None) -> tuple[str, str]:
    """(license, language) of a card's header, "" where it has none: what a converted model keeps of
    its source's."""
    header = re.match(r"---\s*\n(.*?)\n---\s*\n", card or "", re.DOTALL)
    found = {"license": "", "language": ""}
    for name in found:
        line = re.search(
            rf"^{name}:[ \t]*([^\s\[#][^#\n]*?)[ \t]*(#.*)?$", header[1] if header else "", re.M
        )
        if line:
            found[name] = line[1].strip().strip("\"'")
    return found["license"], found["language"]
