"""Settings of the process that training and answering make before the first computation."""

from __future__ import annotations


def prepare_host() -> None:
    """Keeps freed memory for the next step, and compiled programs in the user's cache folder (see
    `keep_freed_memory`, `use_compilation_cache`). Harmless to repeat."""
    from electra_jax.training.host_memory import keep_freed_memory, one_program_at_a_time

    keep_freed_memory()
    one_program_at_a_time()
    from electra_jax.training.compilation import use_compilation_cache

    use_compilation_cache()
