"""The table of a conversion: columns in line, what was measured and what could not be."""

from pathlib import Path

from electra_jax.interop.conversion_report import Network, Report

MEASURED = Network("discriminator", "discriminator", Path("d"), 43, 99969, 7.4e-9, 12.25)
PLAIN = Network("generator", "generator", Path("g"), 7, 1250000)
FAILED = Network("encoder", "encoder", Path("e"), 1, 2, unmeasured="torch is not installed")


def test_columns_stand_in_line_and_notes_below():
    report = Report("a", "b", [MEASURED, PLAIN], ["pooler.bias"], ["one", "two"])
    assert str(report).splitlines() == [
        "a → b",
        "  network        kind           tensors  parameters  largest difference of logits",
        "  discriminator  discriminator       43      99,969  7.4e-09 (of 12.2), against "
        "transformers",
        "  generator      generator            7   1,250,000  not measured",
        "ignored: pooler.bias",
        "note: one",
        "note: two",
    ]


def test_what_could_not_be_measured_is_listed_with_the_reason():
    report = Report("a", "b", [MEASURED, PLAIN, FAILED], [], [])
    assert report.unmeasured == {"encoder": "torch is not installed"}
    assert "not measured (torch is not installed)" in str(report)
    assert "ignored: nothing" in str(report)
