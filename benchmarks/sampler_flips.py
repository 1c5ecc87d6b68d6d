"""How often rounding of the logits flips a sampled token: inverse CDF against Gumbel noise.

Both samplers draw twice with the same uniforms, from logits and from the same logits moved by a
relative error of the size that another order of summation makes. Prints flips per million draws.

    python benchmarks/sampler_flips.py --vocabulary=30522 --draws=20000
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from electra_jax.objectives.sampling import gumbel_sample, inverse_cdf_sample


def main() -> None:
    """Measures and prints one line for each sampler and size of error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vocabulary", type=int, default=30522)
    parser.add_argument("--draws", type=int, default=20_000)
    parser.add_argument("--batch", type=int, default=500)
    a = parser.parse_args()
    rng = np.random.default_rng(0)
    zipf = -1.1 * np.log(np.arange(1, a.vocabulary + 1) + 2.7)
    gumbel, inverse = jax.jit(gumbel_sample), jax.jit(inverse_cdf_sample)
    for error in (1e-7, 1e-6, 1e-5):
        flips = {"gumbel": 0, "inverse_cdf": 0}
        seconds = {"gumbel": 0.0, "inverse_cdf": 0.0}
        done = 0
        while done < a.draws:
            shape = (1, a.batch, a.vocabulary)
            logits = (zipf + 2 * rng.standard_normal(shape)).astype(np.float32)
            moved = logits * (1 + error * rng.standard_normal(shape)).astype(np.float32)
            noise = jnp.asarray(rng.random(shape, dtype=np.float32))
            first, second = (jnp.asarray(rng.random(shape[:2], dtype=np.float32)) for _ in "12")
            for name, sample in (
                ("gumbel", lambda x, noise=noise: gumbel(x, noise)),
                ("inverse_cdf", lambda x, u=first, v=second: inverse(x, u, v)),
            ):
                start = time.perf_counter()
                pair = [np.asarray(sample(jnp.asarray(x))) for x in (logits, moved)]
                seconds[name] += time.perf_counter() - start
                flips[name] += int((pair[0] != pair[1]).sum())
            done += a.batch
        for name, count in flips.items():
            print(
                f"relative error {error:.0e}  {name:12} {count / done * 1e6:6.0f} flips a million, "
                f"{seconds[name] / done / 2 * 1e6:.0f} us a draw (noise not counted)"
            )


if __name__ == "__main__":
    main()
