"""What ran: the commit of a checkout, and none elsewhere; checksums."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from monotakd_ros import provenance
from monotakd_ros.errors import CheckpointError


def test_commit_of_this_checkout_is_a_hash(repository: Path) -> None:
    if not (repository / ".git").exists():
        pytest.skip("not a git checkout")
    commit = provenance.code_commit()
    assert commit is not None
    assert len(commit.removesuffix("-dirty")) == 40


def test_a_copy_inside_another_checkout_has_no_commit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "provenance.py"
    copy.write_text("")
    monkeypatch.setattr(provenance, "__file__", str(copy))
    assert provenance.code_commit() is None


def test_code_of_networks_is_told_by_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def code() -> str:
        return provenance.network_code.__wrapped__()

    assert len(code()) == 16 == len(provenance.network_code())
    (tmp_path / "network").mkdir()
    (tmp_path / "geometry").mkdir()
    (tmp_path / "network" / "head.py").write_text("a = 1")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    seen = [code()]
    (tmp_path / "docs.md").touch()
    assert code() == seen[0], "only code counts"
    (tmp_path / "network" / "head.py").write_text("a = 2")
    seen.append(code())
    (tmp_path / "geometry" / "grid.py").touch()
    seen.append(code())
    assert len(set(seen)) == 3


@pytest.mark.parametrize(
    ("code", "rooms"),
    [
        ("reading_code", {"data", "geometry"}),
        ("training_code", {"data", "geometry", "network", "training", "evaluation"}),
    ],
)
def test_other_code_is_told_by_the_rooms_that_count(monkeypatch, tmp_path, code, rooms) -> None:
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    seen = getattr(provenance, code).__wrapped__()
    for room in ("data", "geometry", "network", "training", "evaluation", "ros", "report"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "module.py").write_text(room)
        now = getattr(provenance, code).__wrapped__()
        assert (now != seen) == (room in rooms), room
        seen = now


def test_checkpoint_name_is_file_and_checksum(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"weights")
    assert provenance.CheckpointName.of(path) == provenance.CheckpointName(
        "weights.pt", hashlib.sha256(b"weights").hexdigest()
    )
    with pytest.raises(CheckpointError, match=r"nowhere\.pt: cannot read"):
        provenance.CheckpointName.of(tmp_path / "nowhere.pt")


def test_cpu_is_named_with_its_threads() -> None:
    assert f"torch on {torch.get_num_threads()} threads" in provenance.device_name(torch.device("cpu"))
