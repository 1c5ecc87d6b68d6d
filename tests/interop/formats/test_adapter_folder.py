"""Adapters on disk: put onto their base and onto no other."""

import json

import numpy as np
import pytest

from electra_jax.errors import UserError
from electra_jax.interop.formats.adapter_folder import apply_adapter, encoder_digest, save_adapter

KERNEL = "encoder/dense/kernel"


def _encoder(seed=0):
    rng = np.random.default_rng(seed)
    return {"encoder": {"dense": {"kernel": rng.normal(size=(3, 2)).astype(np.float32)}}}


def _adapter(folder, base="organisation/name", **trained):
    a, b = np.ones((3, 1), np.float32), np.array([[2.0, -1.0]], np.float32)
    trained = {
        f"lora/electra/{KERNEL}/a": a,
        f"lora/electra/{KERNEL}/b": b,
        "classifier/bias": np.arange(4, dtype=np.float32),
    }
    save_adapter(
        folder,
        trained,
        kind="sequence_classification",
        base=base,
        base_encoder=_encoder(),
        scale=0.5,
        tokenizer_folder=None,
        settings={"id2label": {"0": "x"}},
    )
    return json.loads((folder / "adapter_config.json").read_text())


def test_base_and_adapter_together_are_the_updated_network(tmp_path):
    content = _adapter(tmp_path / "model")
    found = apply_adapter(tmp_path / "model", content, _encoder())
    update = 0.5 * np.ones((3, 1)) @ np.array([[2.0, -1.0]])
    kernel = found["electra"]["encoder"]["dense"]["kernel"]
    np.testing.assert_allclose(kernel, _encoder()["encoder"]["dense"]["kernel"] + update, rtol=1e-6)
    assert np.array_equal(found["classifier"]["bias"], np.arange(4)) and "lora" not in found
    assert content["settings"] == {"id2label": {"0": "x"}}
    card = (tmp_path / "model/README.md").read_text()
    assert 'base_model: "organisation/name"' in card and "This folder holds an adapter" in card


def test_another_base_is_refused(tmp_path):
    content = _adapter(tmp_path / "model")
    with pytest.raises(UserError, match=r"other weights than organisation/name.*adapter_config"):
        apply_adapter(tmp_path / "model", content, _encoder(1))


def test_a_base_that_is_a_path_is_recorded_in_full_and_a_name_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").mkdir()
    assert _adapter(tmp_path / "a", "base")["base"] == str(tmp_path / "base")
    assert _adapter(tmp_path / "b", "organisation/name")["base"] == "organisation/name"


def test_the_digest_sees_names_shapes_and_bytes_but_not_their_order():
    kernel = _encoder()["encoder"]["dense"]["kernel"]
    digest = encoder_digest({"a": kernel, "b": kernel[0]})
    assert digest == encoder_digest({"b": kernel[0], "a": kernel})
    for other in (
        {"a": kernel, "c": kernel[0]},
        {"a": kernel.reshape(2, 3), "b": kernel[0]},
        {"a": np.nextafter(kernel, 9).astype(np.float32), "b": kernel[0]},
    ):
        assert encoder_digest(other) != digest
