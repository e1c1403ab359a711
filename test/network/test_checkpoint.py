"""Weights files: round trip, atomic writing, and every way a file can be wrong."""

from __future__ import annotations

import os
import zipfile

import numpy as np
import pytest
import torch

from monotakd_ros.errors import CheckpointError, OutputError
from monotakd_ros.network.checkpoint import build_network, load_checkpoint, load_network, load_weights, save_checkpoint
from monotakd_ros.network.student import build_student


@pytest.fixture
def saved(tmp_path, tiny_checkpoint_config):
    path = tmp_path / "student.pt"
    student = build_student(tiny_checkpoint_config.student)
    metadata = {"step": 12, "scores": {"Car": [0.5, None]}, "licence": "Apache-2.0", "tensor": torch.ones(2)}
    save_checkpoint(path, student.state_dict(), tiny_checkpoint_config, metadata)
    return path, student


def rewrite(path, **changes) -> None:
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save(content, path)


def test_round_trip(saved, tiny_checkpoint_config):
    path, student = saved
    checkpoint = load_checkpoint(path)
    assert checkpoint.config == tiny_checkpoint_config
    assert checkpoint.kind == "student"
    assert checkpoint.metadata["scores"] == {"Car": [0.5, None]}
    loaded, _ = load_network(path)
    assert not loaded.training
    own = student.state_dict()
    assert all(torch.equal(own[key], tensor) for key, tensor in loaded.state_dict().items())


@pytest.mark.parametrize("kind", ["assistant", "teacher"])
def test_the_other_networks_round_trip(kind, tiny_config_of_three, tmp_path):
    network = build_network(kind, tiny_config_of_three)
    save_checkpoint(tmp_path / "it.pt", network.state_dict(), tiny_config_of_three, {}, kind)
    loaded, checkpoint = load_network(tmp_path / "it.pt")
    assert checkpoint.kind == kind and type(loaded) is type(network)
    assert all(torch.equal(tensor, loaded.state_dict()[key]) for key, tensor in network.state_dict().items())


def test_same_boxes_after_loading(saved, single):
    path, student = saved
    loaded, _ = load_network(path)
    assert torch.equal(student.eval()(single).cls_logits, loaded(single).cls_logits)


def test_derived_values_are_not_stored(saved):
    keys = set(load_checkpoint(saved[0]).state_dict)
    assert not {key for key in keys if "anchor" in key or "normalization" in key or "plan" in key}


def test_overwriting_leaves_one_readable_file(saved, tiny_checkpoint_config):
    path, student = saved
    save_checkpoint(path, student.state_dict(), tiny_checkpoint_config, {"step": 13})
    assert load_checkpoint(path).metadata == {"step": 13}
    assert [item.name for item in path.parent.iterdir()] == ["student.pt"]


def test_a_failed_write_keeps_the_old_file(saved, tiny_checkpoint_config, monkeypatch):
    path, student = saved

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OutputError, match=r"student\.pt.*No space left"):
        save_checkpoint(path, student.state_dict(), tiny_checkpoint_config, {})
    assert [item.name for item in path.parent.iterdir()] == ["student.pt"]
    assert load_checkpoint(path).metadata["step"] == 12


def test_a_place_that_cannot_be_written(tmp_path, tiny_checkpoint_config):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        save_checkpoint(tmp_path / "file" / "a.pt", {}, tiny_checkpoint_config, {})


@pytest.mark.skipif(os.name != "posix", reason="file modes")
def test_file_is_readable_by_others(saved):
    assert saved[0].stat().st_mode & 0o044 == 0o044


@pytest.mark.parametrize("value", [np.float32(1.0), {"deep": [object()]}, {1, 2}])
def test_metadata_that_a_reader_would_refuse(tmp_path, tiny_checkpoint_config, value):
    with pytest.raises(CheckpointError, match=r"metadata\.bad.*plain value"):
        save_checkpoint(tmp_path / "a.pt", {}, tiny_checkpoint_config, {"bad": value})
    assert not list(tmp_path.iterdir())


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(CheckpointError, match=r"a\.pt: expected a checkpoint file, found nothing"):
        load_checkpoint(tmp_path / "a.pt")
    with pytest.raises(CheckpointError, match="found a folder"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"\x80\x04garbage", b"PK\x03\x04"])
def test_not_a_checkpoint(tmp_path, content):
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.pt: not a checkpoint, or a damaged one"):
        load_checkpoint(path)


def test_truncated(saved):
    path, _ = saved
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


def test_a_plain_zip(tmp_path):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(path)


class Bomb:
    """Would run code when unpickled."""

    def __reduce__(self):
        return (os.mkdir, ("exploded",))


def test_code_in_a_file_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"format": Bomb()}, "bomb.pt")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint("bomb.pt")
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state_dict": None}, "state_dict: expected a mapping, got NoneType"),
        ({"metadata": [1]}, "metadata: expected a mapping, got list"),
        ({"state_dict": {1: torch.ones(1), "a": 2}}, "no dense tensors: 1, a"),
    ],
)
def test_contents_of_another_form(saved, changes, message):
    path, _ = saved
    rewrite(path, **changes)
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(path)


def test_files_of_other_programs_are_described(tmp_path):
    path = tmp_path / "a.pt"
    torch.save({"model_state": {}, "epoch": 10}, path)
    expected = r"not a checkpoint of this package: it holds 'model_state', 'epoch'; monotakd import-checkpoint"
    with pytest.raises(CheckpointError, match=expected):
        load_checkpoint(path)
    torch.save({"optimizer": {}, "step": 3}, path)
    with pytest.raises(CheckpointError, match=r"state of a training run, whose best\.pt and final\.pt are checkpoints"):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(CheckpointError, match="it holds a list"):
        load_checkpoint(path)


def test_another_kind_version_or_config(saved):
    path, _ = saved
    rewrite(path, kind="teacher")
    with pytest.raises(CheckpointError, match="expected student weights, got teacher weights"):
        load_checkpoint(path, "student")
    with pytest.raises(CheckpointError, match=r"student.pt: config tiny: no `teacher` section"):
        load_network(path)
    assert load_checkpoint(path).kind == "teacher"
    rewrite(path, kind="professor")
    with pytest.raises(CheckpointError, match="expected one of student, assistant, teacher, got 'professor'"):
        load_network(path)
    rewrite(path, version=99)
    with pytest.raises(CheckpointError, match="format version 1, got 99"):
        load_checkpoint(path)
    rewrite(path, version=1, config={"name": "x", "studnet": {}})
    with pytest.raises(CheckpointError, match=r"unknown key 'studnet'.*'student'"):
        load_checkpoint(path)


def test_keys_that_do_not_fit_are_listed(saved):
    path, student = saved
    state = dict(student.state_dict())
    state["encoder.backbone.conv1.weight"] = torch.zeros(3, 3)
    del state["head.conv_cls.bias"]
    state["head.conv_new.bias"] = torch.zeros(1)
    rewrite(path, state_dict=state)
    with pytest.raises(CheckpointError) as caught:
        load_network(path)
    message = str(caught.value)
    assert "1 missing: head.conv_cls.bias" in message
    assert "1 unexpected: head.conv_new.bias" in message
    assert "1 of another shape: encoder.backbone.conv1.weight (expected (8, 3, 7, 7), got (3, 3))" in message
    assert "student.pt" in message


def test_long_lists_are_cut(tiny_config):
    student = build_student(tiny_config)
    with pytest.raises(CheckpointError, match=r"\d+ missing: .* and \d+ more"):
        load_weights(student, {}, where="here")
