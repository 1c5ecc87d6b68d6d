"""Which labels are taken for which, as a block of the report."""

from electra_jax.finetuning.confusions import confusions


def test_few_labels_are_a_matrix_of_true_rows():
    (block,) = confusions([("a", "b"), ("a", "b"), ("b", "b")], ("a", "b"))
    assert block["title"] == "Confusion matrix"
    assert block["matrix"] == {"labels": ["a", "b"], "counts": [[0, 2], [0, 1]]}


def test_many_labels_are_a_list_of_the_most_frequent_confusions():
    labels = [f"l{i}" for i in range(30)]
    pairs = [(x, x) for x in labels] + [("l0", "l1")] * 2 + [("l3", "l2")]
    (block,) = confusions(pairs, labels)
    assert block["title"] == "What is confused most (3 of 33 are wrong)"
    assert block["table"]["rows"] == [["l0", "l1", 2], ["l3", "l2", 1]]


def test_nothing_to_compare_is_no_block():
    assert confusions([], ("a", "b")) == []
