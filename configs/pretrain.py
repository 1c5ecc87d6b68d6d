"""Pretraining configurations: `--config=configs/pretrain.py:SIZE`.

    electra-jax pretrain --config=configs/pretrain.py:small --workdir=runs/small
    --config.data.path=rows/

| size | what it is | steps × batch × length | hardware it was published on |
|---|---|---|---|
| tiny | modern layers, minutes on a laptop: `electra-jax demo` | 2.6 k × 32 × 64 | 2 CPU cores |
| small | ELECTRA-Small, 14 M | 1 M × 128 × 128 | one V100, 4 days: GLUE dev 79.9 |
| small_pp | the released ELECTRA-Small++ | 4 M × 128 × 512 | |
| base | ELECTRA-Base, 110 M | 766 k × 256 × 512 | 16 TPUv3 chips, 4 days: GLUE dev 85.1 |
| base_pp | the released ELECTRA-Base++ | 4 M × 256 × 512 | |
| large | ELECTRA-400K, 335 M | 400 k × 2048 × 512 | GLUE dev 89.0 |
| large_1_75m | the released ELECTRA-Large | 1.75 M × 2048 × 512 | GLUE dev 89.5 |

The length is the rows' (`electra-jax prepare --seq_len`). Numbers are the paper's Table 6 and the
reference's `configure_pretraining.py`; every field can be overridden:
`--config.optimizer.learning_rate=1e-4`.
"""

import dataclasses

from ml_collections import ConfigDict, config_dict

from electra_jax.config import SIZES, named_size
from electra_jax.config_file import objective_block

# steps, batch size, learning rate, masked share, warm-up steps
_RECIPES = {
    "small": (1_000_000, 128, 5e-4, 0.15, 10_000),
    "base": (766_000, 256, 2e-4, 0.15, 10_000),
    "large": (400_000, 2048, 2e-4, 0.25, 10_000),
    "small_pp": (4_000_000, 128, 5e-4, 0.15, 10_000),
    "base_pp": (4_000_000, 256, 2e-4, 0.15, 10_000),
    "large_1_75m": (1_750_000, 2048, 2e-4, 0.25, 10_000),
    "tiny": (2_600, 32, 2e-3, 0.15, 100),
}
_COMPUTED = ("dtype", "vocab_size", "pad_token_id")
_GENERATOR = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


def get_config(size: str = "small") -> ConfigDict:
    """The locked configuration of a size: """ + ", ".join(SIZES) + """."""
    pair = named_size(size)
    steps, batch_size, learning_rate, mask_prob, warmup_steps = _RECIPES[size]
    shape = dataclasses.asdict(pair.discriminator)
    generator = dataclasses.asdict(pair.generator)
    modern = pair.discriminator.block == "modern"

    c = ConfigDict()
    c.size = size
    c.resume = config_dict.placeholder(str)  # another run's folder, to continue it here
    c.init = config_dict.placeholder(str)  # a pair or a discriminator to start from
    c.init_generator = config_dict.placeholder(str)  # the generator's start, where `init` has none

    c.init_slots = False  # the Adam moments of a TF1 `init` too (optimizer.start_step: its step)
    c.init_vocabulary = "same"  # same | map: keep the embeddings of tokens that both have

    c.data = ConfigDict()
    c.data.path = config_dict.placeholder(str)  # a rows folder
    c.data.backend = "auto"  # numpy (auto) | tf: a thread or tf.data, the same batches

    c.model = ConfigDict({k: v for k, v in shape.items() if k not in _COMPUTED})
    c.model.vocab_size = config_dict.placeholder(int)  # the tokenizer's, when not given
    c.model.sharing = pair.sharing  # embeddings | none | all
    c.model.generator = ConfigDict({k: generator[k] for k in _GENERATOR})
    c.model.generator.kind = "network"  # network | uniform

    # The fields that the objective declares (electra_jax/objectives/). With another
    # `objective.name` they are that objective's, and what is set here stays where it has it too.
    c.objective = objective_block("electra")
    c.objective.mask_prob = mask_prob

    c.optimizer = ConfigDict()
    c.optimizer.name = "adam_reference"  # adam_reference | adamw | lamb
    c.optimizer.learning_rate = learning_rate
    c.optimizer.schedule = "linear"  # linear | constant | cosine | wsd
    c.optimizer.power = 1.0
    c.optimizer.decay_fraction = 0.1  # of wsd
    c.optimizer.start_step = 0  # added to the schedule's step, to go on with another run's
    c.optimizer.warmup_steps = config_dict.placeholder(int)
    c.optimizer.warmup_fraction = config_dict.placeholder(float)
    c.optimizer.warmup_epochs = config_dict.placeholder(float)
    c.optimizer.warmup_tokens = config_dict.placeholder(float)
    c.optimizer.warmup_steps = warmup_steps
    c.optimizer.beta1 = 0.9
    c.optimizer.beta2 = 0.999
    c.optimizer.epsilon = 1e-6
    c.optimizer.weight_decay = 0.01
    c.optimizer.no_decay = ("LayerNorm|layer_norm|_norm/|bias",)
    c.optimizer.clip_norm = 1.0
    c.optimizer.freeze = ()

    c.train = ConfigDict()
    c.train.steps = config_dict.placeholder(int)
    c.train.epochs = config_dict.placeholder(float)
    c.train.tokens = config_dict.placeholder(float)
    c.train.steps = steps
    c.train.batch_size = batch_size
    c.train.accumulate = 1
    c.train.seed = 0
    c.train.dtype = (
        "float32"  # float32 | bfloat16 (what is multiplied; parameters and losses stay float32)
    )
    c.train.log_every = 100
    c.train.eval_every = 5_000
    c.train.eval_rows = config_dict.placeholder(int)  # all, when not given
    c.train.checkpoint_every = 1_000
    c.train.keep = 3
    c.train.keep_every = config_dict.placeholder(int)
    c.train.tensorboard = True
    c.train.wandb = config_dict.placeholder(object)

    c.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    c.watch = ConfigDict({"after_tokens": 2e8, "minimum_auc": 0.6})

    if modern:
        c.optimizer.name = "adamw"
    if size == "tiny":
        c.objective.initial_temperature = 2.0
        c.objective.temperature_fraction = 0.5
        c.optimizer.beta2 = 0.98
        c.train.eval_every = 1_000
        c.train.checkpoint_every = 500
        c.watch.after_tokens = 2e6
    return c.lock()
