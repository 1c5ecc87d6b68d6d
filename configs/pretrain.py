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
reference's `configure_pretraining.py`. Every other field has the default that is declared in
electra_jax/config/; `electra-jax config configs/pretrain.py:small` lists all of them, and each
can be overridden: `--config.optimizer.learning_rate=1e-4`.
"""

import dataclasses

from ml_collections import ConfigDict

from electra_jax.config.model import SIZES, named_size
from electra_jax.config.pretraining import COMPUTED, PretrainSettings
from electra_jax.config_file import config_dict, objective_block

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
_GENERATOR = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")


def get_config(size: str = "small") -> ConfigDict:
    """The locked configuration of a size: """ + ", ".join(SIZES) + """."""
    pair = named_size(size)
    steps, batch_size, learning_rate, mask_prob, warmup_steps = _RECIPES[size]
    shape = dataclasses.asdict(pair.discriminator)
    generator = dataclasses.asdict(pair.generator)

    c = config_dict(PretrainSettings)
    c.size = size
    c.model.update({k: v for k, v in shape.items() if k not in COMPUTED})
    c.model.sharing = pair.sharing
    c.model.generator.update({k: generator[k] for k in _GENERATOR})
    # The fields that the objective declares (electra_jax/objectives/). With another
    # `objective.name` they are that objective's; values set here are kept where it has the same
    # field.
    c.objective = objective_block("electra")
    c.objective.mask_prob = mask_prob
    c.objective.eval_mask_prob = 0.15  # whatever the run's
    c.optimizer.learning_rate = learning_rate
    c.optimizer.warmup_steps = warmup_steps
    c.train.steps = steps
    c.train.batch_size = batch_size
    if pair.discriminator.block == "modern":
        c.optimizer.name = "adamw"
    if size == "tiny":
        c.objective.initial_temperature = 2.0
        c.objective.temperature_fraction = 0.5
        c.optimizer.beta2 = 0.98
        c.train.eval_every = 1_000
        c.train.checkpoint_every = 500
        c.watch.after_tokens = 2e6
    return c.lock()
