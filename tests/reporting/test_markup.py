"""What users wrote is text; numbers and values as they are shown."""

from reporting.pages import Page, report, write_rows

from electra_jax.files import write_json_atomic
from electra_jax.reporting.markup import cell_text, escaped, table_markup, value_text


def test_what_users_wrote_is_text_not_markup(tmp_path):
    run = write_rows(tmp_path / "<b>run", [{"step": 1, "</script><i>": 2.0}])
    write_json_atomic(run / "config.json", {"<u>": "<s>&"})
    write_json_atomic(run / "report.json", [{"title": "<q>", "text": "<script>alert(1)</script>"}])
    page = report(tmp_path, run, write_rows(tmp_path / "other", [{"step": 1, "loss": 1.0}]))
    for markup in ("<b>run", "<i>", "<u>", "<s>", "<q>", "<script>alert"):
        assert markup not in page.text
    assert "&lt;script&gt;alert(1)" in page.text


def test_values_are_shown_as_json_and_texts_as_they_are():
    assert value_text("a<b") == "a&lt;b"
    assert value_text(["é", None, 1.0]) == "[&quot;é&quot;, null, 1.0]"
    assert [cell_text(x) for x in (0.12345, 3, None, "x")] == ["0.123", 3, "", "x"]


def test_a_table_marks_its_columns_of_numbers_in_every_row():
    table = table_markup(["<name>", "n"], [["a&b", 1], ["c", 2]], numbers={1})
    assert Page(table).rows == [["<name>", "n"], ["a&b", "1"], ["c", "2"]]
    assert table.count("class=number") == 3 and escaped("<name>") in table
