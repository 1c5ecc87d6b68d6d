"""Notes about what was assumed."""

from electra_jax.finetuning.data.notes import note


def test_a_note_is_said_once_however_often_a_file_is_read(caplog, tmp_path):
    for _ in range(3):
        note(f"{tmp_path}: no header")
    note(f"{tmp_path}: tabs")
    assert [r.getMessage() for r in caplog.records] == [
        f"note: {tmp_path}: no header",
        f"note: {tmp_path}: tabs",
    ]
