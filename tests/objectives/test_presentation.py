"""How metrics are shown: also where JAX is not imported."""

import subprocess
import sys

from electra_jax.objectives.presentation import Metric
from electra_jax.objectives.table import known_metrics


def test_describing_metrics_imports_no_jax():
    script = "import sys, electra_jax.objectives.presentation; print('jax' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_a_metric_survives_the_file_of_a_work_folder():
    """`metric_titles.json` holds `_asdict`, older files fewer keys."""
    for metric in known_metrics():
        assert Metric(**metric._asdict()) == metric
    assert Metric(key="a", title="A") == Metric("a", "A", "", 0, "Objective", False, "")
