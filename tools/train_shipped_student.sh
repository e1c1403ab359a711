#!/usr/bin/env bash
# Makes models/student_small.pt again: simulate 115 short drives, train on 110, validate on 5.
# Usage: tools/train_shipped_student.sh WORK_FOLDER [VENV]   (about two hours on 2 cores, 3 GB; goes on where it stopped)
set -euo pipefail

work=${1:?usage: tools/train_shipped_student.sh WORK_FOLDER [VENV]}
root=$(cd "$(dirname "$0")/.." && pwd)
monotakd=${2:-$root/.venv}/bin/monotakd

mkdir -p "$work"
for seed in $(seq 1 115); do
    drive=$work/drive_$(printf '%05d' "$seed")
    [ -e "$drive" ] || "$monotakd" simulate "$drive" --frames 20 --seed "$seed" --rate-hz 1
done

resume=()
[ -e "$work/run/last.pt" ] && resume=(--resume)
"$monotakd" train student --config "$root/config/student_small.yaml" \
    --data $(seq -f "$work/drive_%05.0f" 1 110) \
    --val-data $(seq -f "$work/drive_%05.0f" 111 115) \
    --out "$work/run" "${resume[@]}"
echo "weights: $work/run/final.pt"
