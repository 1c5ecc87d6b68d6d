"""Fine-tuning configurations: `--config=configs/finetune.py:TASK`.

    electra-jax finetune --config=configs/finetune.py:sst2 --workdir=runs/sst2
    --config.init=MODEL --config.data.path=SST-2/

TASK is a row of `electra_jax/finetuning/tasks.py`: the GLUE tasks (cola sst2 mrpc stsb qqp mnli
qnli rte wnli), squad1, squad2, cmrc2018, semeval2010_8, or a kind for data of your own:
classification, pair, multilabel, regression, tagging, ner, pos, chunking, multiple_choice, ranking,
relation, question_answering; or, as `--config.task=my_kind.py:MyKind`, a kind of task that you
write yourself (`electra_jax/finetuning/kinds/base.py` says what it needs). `data.path` is a folder
with train.* and dev.* files (.jsonl, .tsv, .csv, CoNLL columns, SQuAD .json, each also .gz), a
training file, or tfds:NAME; without it the task's own data set is fetched through
tensorflow-datasets.

The recipe is the paper's: bias-corrected AdamW at 3e-4 (small), 1e-4 (base) or 5e-5 (large) with
layer-wise decay 0.8 (large: 0.9), 10 % warm-up, linear decay, batches of 32, 3 epochs (RTE, STS-B:
10; questions: 2). BitFit learns at 10 and LoRA at 20/3 times these rates, without layer-wise decay.
Minutes on a GPU for most tasks; SST-2 with a 6-layer, 384-wide encoder takes a quarter of an hour
on two CPU cores. Small sets of questions need more steps: SQuAD 2.0 learnt nothing of 2,916 in 206.
"""

from ml_collections import ConfigDict, config_dict

from electra_jax.finetuning.tasks import get_task


def get_config(task: str = "classification") -> ConfigDict:
    """The locked configuration of a task."""
    row = get_task(task)
    c = ConfigDict()
    c.task = task
    c.init = config_dict.placeholder(str)  # the model to start from: folder, run, TF1, Hub id
    c.seeds = 1  # runs, of train.seed and the seeds after it

    c.data = ConfigDict()
    c.data.path = config_dict.placeholder(str)  # folder, training file, or tfds:NAME
    c.data.eval_path = config_dict.placeholder(str)  # dev.* of the folder, when not given
    c.data.test_path = config_dict.placeholder(str)  # scored once, at the end
    c.data.columns = ConfigDict(
        {role: config_dict.placeholder(str) for role in row.column_roles}
    )  # names in the files, where they are not the usual ones
    c.data.train_examples = config_dict.placeholder(int)  # only the first so many
    c.data.max_length = config_dict.placeholder(int)  # the task's, or the model's positions
    c.data.shapes = config_dict.placeholder(int)  # batch lengths at most (as many as pay)
    c.data.double_unordered = config_dict.placeholder(bool)  # train pairs both ways round
    c.data.null_threshold = config_dict.placeholder(float)  # squad2: no answer above these odds
    c.data.threshold = 0.5  # of a label, where a text may have several
    c.data.tagging = "standard"  # standard | reference
    c.data.doc_stride = 128
    c.data.max_query_length = 64
    c.data.max_answer_length = 30
    c.data.n_best = 20
    c.data.on_bad_answer = "fail"  # fail | skip

    c.model = ConfigDict()
    c.model.head = "huggingface"  # huggingface | reference
    c.model.classifier_dropout = config_dict.placeholder(float)  # hidden_dropout_prob
    c.model.hidden_dropout_prob = config_dict.placeholder(float)  # the model's
    c.model.attention_probs_dropout_prob = config_dict.placeholder(float)  # the model's
    c.model.scan_layers = config_dict.placeholder(bool)
    c.model.remat = config_dict.placeholder(str)
    c.model.attention = config_dict.placeholder(str)
    c.model.question = ConfigDict()  # of the reference's question-answering head
    c.model.question.joint = True
    c.model.question.answerable = True
    c.model.question.start_pooled = True
    c.model.question.beam_size = 20

    c.loss = ConfigDict()
    c.loss.reduction = "mean"  # mean | sum (the reference's)
    c.loss.label_smoothing = 0.0
    c.loss.class_weights = config_dict.placeholder(object)  # a number a label, or "balanced"
    c.loss.answerable_weight = 0.5
    c.loss.r_drop = 0.0  # alpha; 0 is off
    c.loss.fgm = 0.0  # length of the adversarial step on embeddings; 0 is off

    c.tune = ConfigDict()
    c.tune.method = "full"  # full | bitfit | lora
    c.tune.rank = 3  # of a kernel's update, which counts alpha / rank times
    c.tune.alpha = 6.0
    c.tune.targets = "kernel"  # regex; r"self/(query|value)/kernel" is Hu et al.'s
    c.tune.embedding_rank = 3  # of the word embeddings' update; 0: they stay

    c.optimizer = ConfigDict()
    c.optimizer.name = "adamw"  # adamw | adam_reference | lamb
    c.optimizer.learning_rate = config_dict.placeholder(float)  # by width and tune.method
    c.optimizer.layerwise_decay = config_dict.placeholder(float)  # by width and tune.method
    c.optimizer.layerwise_mode = "paper"  # paper | reference
    c.optimizer.freeze_layers = 0  # embeddings and the lowest so many layers stay
    c.optimizer.schedule = "linear"  # linear | constant | cosine | wsd
    c.optimizer.power = 1.0
    c.optimizer.decay_fraction = 0.1
    c.optimizer.warmup_steps = config_dict.placeholder(int)
    c.optimizer.warmup_epochs = config_dict.placeholder(float)
    c.optimizer.warmup_tokens = config_dict.placeholder(float)
    c.optimizer.warmup_fraction = 0.1
    c.optimizer.beta1 = 0.9
    c.optimizer.beta2 = 0.999
    c.optimizer.epsilon = 1e-6
    c.optimizer.weight_decay = 0.0
    c.optimizer.no_decay = ("LayerNorm|layer_norm|_norm/|bias",)
    c.optimizer.clip_norm = 1.0
    c.optimizer.freeze = ()  # regexes over parameter names

    c.train = ConfigDict()
    c.train.steps = config_dict.placeholder(int)
    c.train.epochs = config_dict.placeholder(float)
    c.train.epochs = row.epochs
    c.train.min_steps = 200  # however few examples there are
    c.train.batch_size = 32
    c.train.eval_batch_size = 64
    c.train.accumulate = 1
    c.train.seed = 0
    c.train.dtype = "float32"  # float32 | bfloat16
    c.train.log_every = 50
    c.train.eval_every = config_dict.placeholder(int)  # each epoch, at most ten times
    c.train.select = "best"  # best | last: which evaluated step is kept
    c.train.patience = 0  # evaluations without a better one until the run ends; 0: never
    c.train.restarts = 2  # of a run that did not learn, each with another seed
    c.train.checkpoint_every = config_dict.placeholder(int)  # as often as evaluations
    c.train.keep = 1
    c.train.keep_every = config_dict.placeholder(int)
    c.train.tensorboard = True
    c.train.wandb = config_dict.placeholder(object)

    c.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    return c.lock()
