"""Fine-tuning configurations: `--config=configs/finetune.py:TASK`.

    electra-jax finetune --config=configs/finetune.py:sst2 --workdir=runs/sst2
    --config.init=MODEL --config.data.path=SST-2/

TASK is a row of `electra_jax/finetuning/task_table.py`: the GLUE tasks (cola sst2 mrpc stsb qqp
mnli qnli rte wnli), squad1, squad2, cmrc2018, semeval2010_8, or a kind for data of your own:
classification, pair, multilabel, regression, tagging, ner, pos, chunking, multiple_choice, ranking,
relation, question_answering; or, as `--config.task=my_kind.py:MyKind`, a kind of task that you
write yourself (its members: `electra_jax/finetuning/kinds/base.py`). `data.path` is a folder
with train.* and dev.* files (.jsonl, .tsv, .csv, CoNLL columns, SQuAD .json, each also .gz), a
training file, or tfds:NAME; without it the task's own data set is fetched through
tensorflow-datasets.

The recipe is the paper's: bias-corrected AdamW at 3e-4 (small), 1e-4 (base) or 5e-5 (large) with
layer-wise decay 0.8 (large: 0.9), 10 % warm-up, linear decay, batches of 32, 3 epochs (RTE, STS-B:
10; questions: 2). BitFit learns at 10 and LoRA at 20/3 times these rates, without layer-wise decay.
Minutes on a GPU for most tasks; SST-2 with a 6-layer, 384-wide encoder takes a quarter of an hour
on two CPU cores. Small sets of questions need more steps: SQuAD 2.0 learnt nothing of 2,916 in 206.
`electra-jax config configs/finetune.py:sst2` lists every field with its default and meaning.
"""

from ml_collections import ConfigDict
from ml_collections import config_dict as ml_config_dict

from electra_jax.config.finetuning import FinetuneSettings
from electra_jax.config_file import config_dict
from electra_jax.finetuning.kinds.table import kind_of
from electra_jax.finetuning.task_table import get_task


def get_config(task: str = "classification") -> ConfigDict:
    """The locked configuration of a task."""
    row = get_task(task)
    c = config_dict(FinetuneSettings)
    c.task = task
    own = config_dict(kind_of(row).Settings)
    if own:
        c.kind = own
    else:
        del c.kind
    c.data.columns = ConfigDict(
        {role: ml_config_dict.placeholder(str) for role in row.column_roles}
    )
    c.train.epochs = row.epochs
    return c.lock()
