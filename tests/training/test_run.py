"""The arguments of the loop: a batch that does not divide is refused."""

import pytest

from electra_jax.errors import UserError
from electra_jax.training.run import LoopSettings
from electra_jax.training.sharding import abstract_mesh


@pytest.mark.parametrize(
    ("batch", "accumulate", "mesh", "multiple"),
    [
        (32, 4, {"data": 8}, None),
        (24, 1, {"data": 4, "tensor": 2}, None),
        (24, 4, {"data": 8}, 32),
        (20, 1, {"data": 4, "fsdp": 2}, 8),
        (2, 4, {"data": 8}, 32),
    ],
)
def test_a_batch_divides_by_microbatches_and_the_devices_that_share_it(
    batch, accumulate, mesh, multiple
):
    settings = LoopSettings(steps=1, batch_size=batch, accumulate=accumulate)
    if multiple is None:
        settings.check(abstract_mesh(mesh, 8))
        return
    with pytest.raises(UserError, match=rf"batch_size={batch} .*: use a multiple of {multiple}$"):
        settings.check(abstract_mesh(mesh, 8))
