"""Arguments that several verbs share: weights by path or name."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from monotakd_ros.cli.argument_types import weights_file
from monotakd_ros.cli.main import main
from monotakd_ros.shipped import default_checkpoint


def test_a_path_and_a_shipped_name():
    assert weights_file("run/best.pt") == Path("run/best.pt")
    assert weights_file(default_checkpoint().stem) == default_checkpoint()


def test_an_unknown_name_is_an_error_of_the_argument(capsys):
    with pytest.raises(argparse.ArgumentTypeError, match="no such file, and no weights of that name are shipped"):
        weights_file("teacher_of_mine")
    assert main(["replay", "drive", "--out", "boxes", "--checkpoint", "teacher_of_mine"]) == 1
    assert "argument --checkpoint: teacher_of_mine: no such file" in capsys.readouterr().err
