"""The command line's frame: help, exit codes, errors without a traceback, lazy verbs."""

from __future__ import annotations

import subprocess
import sys
import types

import pytest

from monotakd_ros.cli import main as cli
from monotakd_ros.errors import BagError


def install_verb(monkeypatch: pytest.MonkeyPatch, run) -> None:
    """Put a verb `replay` in place that takes no arguments and calls `run`."""

    def add_parser(subparsers) -> None:
        subparsers.add_parser("replay").set_defaults(run=run)

    monkeypatch.setattr(cli, "_import_verb", lambda name: types.SimpleNamespace(add_parser=add_parser))


def raising(error: BaseException):
    def run(args) -> int:
        raise error

    return run


def test_help_lists_every_verb_and_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"    {verb}" in text for verb in cli.VERBS)
    assert "examples:" in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("monotakd 0.")


@pytest.mark.parametrize("argv", [[], ["fly"], ["--fly"], ["replay", "--no-such-option"]])
def test_a_wrong_command_line_is_one_error(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install_verb(monkeypatch, lambda args: 0)
    assert cli.main(argv) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "usage: monotakd" in captured.err
    assert captured.out == ""


def test_a_verbs_code_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    install_verb(monkeypatch, lambda args: 0)
    assert cli.main(["replay"]) == 0


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (BagError("drive.mcap: cut off at byte 7"), 1, "error: drive.mcap: cut off at byte 7\n"),
        (OSError(28, "No space left on device", "/full"), 1, "error: [Errno 28] No space left on device: '/full'\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_errors_become_one_line_and_a_code(
    error: BaseException,
    code: int,
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install_verb(monkeypatch, raising(error))
    assert cli.main(["replay"]) == code
    assert capsys.readouterr().err == message


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    install_verb(monkeypatch, raising(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        cli.main(["replay"])


def test_a_missing_library_of_one_verb_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def import_module(name: str):
        raise ModuleNotFoundError("No module named 'open3d'", name="open3d")

    monkeypatch.setattr(cli.importlib, "import_module", import_module)
    assert cli.main(["simulate", "out"]) == 1
    assert "needs the Python package 'open3d'" in capsys.readouterr().err
    assert cli.main(["--help"]) == 0


@pytest.mark.parametrize("verb", sorted(cli.VERBS))
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [verb, "student"] if verb == "train" else [verb]
    assert cli.main([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: monotakd {' '.join(words)}" in text
    assert "example" in text


def test_help_loads_no_heavy_library() -> None:
    """Started in a fresh process, as a user does."""
    code = (
        "import sys; from monotakd_ros.cli.main import main; main(['--help']); "
        "print('loaded:', *{'torch', 'cv2', 'open3d', 'rosbags', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "loaded:"
