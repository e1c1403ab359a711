#!/usr/bin/env bash
# Simulates a drive where it is not there yet; under its name there is only a whole one, also after an interruption.
# Usage: tools/simulate_once.sh MONOTAKD DRIVE ARGUMENT...   (MONOTAKD: the command; arguments: as of `monotakd simulate`)
set -euo pipefail

[ -e "$2" ] && exit
"$1" simulate "$2.part" "${@:3}" --overwrite  # stopped, it keeps a short one
mv "$2.part" "$2"
