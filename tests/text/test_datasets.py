"""tfds: data sets as corpora. A data set is written to disk first; nothing is downloaded."""

import pytest

from electra_jax.errors import UserError
from electra_jax.text.corpus import open_corpus

tf = pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("tfds")

    def store(name, features, **splits):
        datasets = {split: tf.data.Dataset.from_tensor_slices(d) for split, d in splits.items()}
        tfds.dataset_builders.store_as_tfds_dataset(
            name=name,
            version="1.0.0",
            data_dir=folder,
            features=tfds.features.FeaturesDict(features),
            split_datasets=datasets,
        )

    text = tfds.features.Text()
    store(
        "tiny_texts",
        {"text": text, "title": text},
        train={"text": ["one\ntwo", "three", "中文"], "title": ["a", "b", "c"]},
        test={"text": ["four"], "title": ["d"]},
    )
    store("tiny_bodies", {"body": text}, train={"body": ["five"]})
    store("tiny_numbers", {"x": tf.int64}, train={"x": [1]})
    return folder


@pytest.fixture
def tfds_folder(stored, monkeypatch):
    import tensorflow_datasets as tfds

    real = tfds.builder
    monkeypatch.setattr(tfds, "builder", lambda name: real(name, data_dir=stored))


def documents(name):
    return list(open_corpus([name]).documents())


def test_texts_are_documents_in_stored_order(tfds_folder):
    assert documents("tfds:tiny_texts") == [["one", "two"], ["three"], ["中文"]]


def test_a_split_can_be_named(tfds_folder):
    assert documents("tfds:tiny_texts:test") == [["four"]]
    assert documents("tfds:tiny_texts:train[:1]") == [["one", "two"]]


def test_the_only_text_feature_is_read_where_none_is_called_text(tfds_folder):
    assert documents("tfds:tiny_bodies") == [["five"]]


def test_bad_names_are_refused(tfds_folder):
    def assert_fails(name, match):
        with pytest.raises(UserError, match=match):
            documents(name)

    assert_fails("tfds:tiny_numbers", r'has no feature "text" .*it has: x')
    assert_fails("tfds:tiny_texts:half", "tfds:tiny_texts:half did not load")
    assert_fails("tfds:no_such_data_set_anywhere", "tfds:no_such_data_set_anywhere did not load")
