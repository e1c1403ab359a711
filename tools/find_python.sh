#!/usr/bin/env bash
# Prints the path of a Python 3.10 to 3.14 that can make virtual environments; else says what to install, exits 1.
# A candidate is run, not only looked for: a pyenv shim may exist for a version that is not active.
set -u

candidates=(python3 python3.14 python3.13 python3.12 python3.11 python3.10)
[ -n "${PYTHON:-}" ] && candidates=("$PYTHON")

without_venv=""
for candidate in "${candidates[@]}"; do
    "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null || continue
    if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
        "$candidate" -c 'import sys; print(sys.executable)'
        exit 0
    fi
    without_venv="${without_venv:-$candidate}"
done

if [ -n "$without_venv" ]; then
    version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "error: Python $version has no venv module. Install it with:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y python3-venv python${version}-venv" >&2
else
    echo "error: no Python 3.10 to 3.14 found (tried: ${candidates[*]}). Install one with:" >&2
    echo "    sudo apt-get update && sudo apt-get install -y python3 python3-venv" >&2
fi
exit 1
