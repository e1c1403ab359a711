#!/usr/bin/env bash
# Makes or updates the virtual environment given as $1 and installs this checkout into it, with pinned versions.
# PYTHON=... chooses the interpreter; PIP_ARGS=... goes to pip (an index with CPU-only torch, say).
set -euo pipefail

venv=$1
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
cd "$root"

if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
    python=$("$here/find_python.sh")
    echo "Making $venv with $("$python" --version) ($python)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi

echo "Installing pinned libraries into $venv (the first time this downloads several hundred MB)"
pip=("$venv/bin/python" -m pip --disable-pip-version-check)
verbosity=()
[ -t 1 ] || verbosity=(-qq)  # progress bars belong on a terminal, not in a log
# shellcheck disable=SC2206  # PIP_ARGS holds several words
pip_args=(${PIP_ARGS:-})
# torch first and alone: named exactly, it is taken from a local or CPU-only index where there is one.
"${pip[@]}" install "${verbosity[@]}" --constraint constraints.txt "${pip_args[@]}" setuptools torch
"${pip[@]}" install "${verbosity[@]}" --constraint constraints.txt "${pip_args[@]}" --no-build-isolation --editable '.[dev]'

"$here/system_libraries.sh" "$venv/bin/python"
