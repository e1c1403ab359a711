"""Reading published files: both forms and containers, numpy numbers beside the weights, nothing that runs code."""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict

import numpy as np
import pytest
import torch

from monotakd_ros.errors import CheckpointError
from monotakd_ros.network.official_file import SAFE_GLOBALS_SINCE, read_official

STATE = OrderedDict([("a.weight", torch.arange(6.0).view(2, 3)), ("a.num_batches_tracked", torch.tensor(3))])


def test_the_published_form(tmp_path):
    path = tmp_path / "student.pth"
    content = {"epoch": 10, "it": 37120, "model_state": STATE, "optimizer_state": None, "version": "pcdet+0.5.2+abc"}
    torch.save(content, path)
    official = read_official(path)
    assert official.model_state.keys() == STATE.keys()
    assert torch.equal(official.model_state["a.weight"], STATE["a.weight"])
    assert official.facts == {"epoch": 10, "it": 37120, "version": "pcdet+0.5.2+abc"}
    assert (official.name, official.sha256) == ("student.pth", hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize("new_container", [True, False])
def test_a_bare_state_dict_in_either_container(tmp_path, new_container):
    path = tmp_path / "a.pth"
    torch.save(STATE, path, _use_new_zipfile_serialization=new_container)
    official = read_official(path)
    assert list(official.model_state) == list(STATE) and official.facts == {}


def test_the_prefix_of_data_parallel_goes(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"model_state": {f"module.{key}": tensor for key, tensor in STATE.items()}}, path)
    assert list(read_official(path).model_state) == list(STATE)
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, path)
    assert list(read_official(path).model_state) == ["module.a", "b"]


@pytest.mark.skipif(torch.__version__ < SAFE_GLOBALS_SINCE, reason="older torch cannot read numpy numbers safely")
@pytest.mark.parametrize("new_container", [True, False])
def test_numpy_numbers_beside_the_weights(tmp_path, new_container):
    """OpenPCDet's one-cycle schedule leaves the optimiser's learning rate as a numpy number."""
    group = {"lr": np.float64(1e-3), "betas": (np.float32(0.9), 0.99), "steps": np.int32(4)}
    content = {"epoch": np.int64(10), "model_state": STATE, "optimizer_state": {"param_groups": [group]}}
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=new_container)
    official = read_official(tmp_path / "a.pth")
    assert official.facts == {"epoch": 10} and type(official.facts["epoch"]) is int
    # As numpy 1 and numpy 2 name the same function.
    raw = (tmp_path / "a.pth").read_bytes()
    if not new_container:
        other = (b"numpy._core.multiarray", b"numpy.core.multiarray")
        old, new = other if other[0] in raw else other[::-1]
        (tmp_path / "b.pth").write_bytes(raw.replace(b"c" + old + b"\n", b"c" + new + b"\n"))
        assert read_official(tmp_path / "b.pth").facts == {"epoch": 10}


class Bomb:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_code_in_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state": STATE, "optimizer_state": Bomb()}, "bomb.pth")
    with pytest.raises(CheckpointError, match="one that would run code"):
        read_official("bomb.pth")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "it holds a list"),
        ({"model_state": {}}, "'model_state' is empty"),
        ({"model_state": [1]}, "'model_state' is list"),
        ({"state_dict": STATE, "meta": 1}, "no dense tensors: state_dict, meta"),
        ({3: torch.ones(1)}, "no dense tensors: 3"),
        ({"a": torch.ones(1, device="meta"), "b": torch.eye(2).to_sparse()}, "no dense tensors: a, b"),
    ],
)
def test_files_of_another_form_are_described(tmp_path, content, message):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(
        CheckpointError, match=rf"a\.pth: expected a dict with 'model_state', or a state dict; .*{message}"
    ):
        read_official(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "content", [b"", b"<html>quota exceeded</html>", b"\x80\x04garbage", b"\x80\x02.", b"\x80\x02junk", b"PK\x03\x04"]
)
def test_not_a_weights_file(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pth: not a checkpoint"):
        read_official(tmp_path / "a.pth")


def test_nothing_and_a_folder(tmp_path):
    with pytest.raises(CheckpointError, match="found nothing"):
        read_official(tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="found a folder"):
        read_official(tmp_path)
