#!/usr/bin/env bash
# Trains the weights of models/ again, into WORK_FOLDER: simulate 115 short drives (110 to learn from, 5 to watch), then train
#   camera     models/student_small.pt    the camera network alone
#   teacher    models/teacher_small.pt    the LiDAR network, whose BEV backbone and head start from the camera's
#   assistant  models/assistant_small.pt  the camera network given LiDAR depth, started from the camera, aligned with the teacher
#   student    models/monotakd_small.pt   the camera network with residual branch, started from the camera, taught by both
# Usage: tools/train_shipped_student.sh WORK_FOLDER [VENV]   (about three hours on 2 cores, 7 GB; goes on where it stopped)
# Each start adds to WORK_FOLDER/times.txt how long it spent on what it finished.
# With QUICK=1 in the environment it takes three drives of two frames and two steps a network, in WORK_FOLDER/quick: to see
# that all of it runs.
set -euo pipefail

work=${1:?usage: tools/train_shipped_student.sh WORK_FOLDER [VENV]}
root=$(cd "$(dirname "$0")/.." && pwd)
monotakd=${2:-$root/.venv}/bin/monotakd
drives=110 watched=5 frames=20 most_steps=
[ -n "${QUICK:-}" ] && drives=2 watched=1 frames=2 most_steps=2 work=$work/quick

mkdir -p "$work"

# took PART SECONDS_BEFORE
took() { echo "$1: $((SECONDS - $2)) s" | tee -a "$work/times.txt"; }

begun=$SECONDS
for seed in $(seq 1 $((drives + watched))); do
    drive=$work/drive_$(printf '%05d' "$seed")
    "$root/tools/simulate_once.sh" "$monotakd" "$drive" --frames "$frames" --seed "$seed" --rate-hz 1
done
took simulation "$begun"

# train RUN NETWORK START ARGUMENT...: from START's weights ("": random ones), on from where it stopped, or not at all
# where it is done.
train() {
    local out=$work/$1 part=$1 network=$2 start=(${3:+--init "$3"}) begun=$SECONDS
    shift 3
    [ -e "$out/final.pt" ] && return
    [ -e "$out/last.pt" ] && start=(--resume)
    "$monotakd" train "$network" "$@" --out "$out" --cache "$work/cache" "${start[@]}" ${most_steps:+--steps $most_steps} \
        --data $(seq -f "$work/drive_%05.0f" 1 "$drives") \
        --val-data $(seq -f "$work/drive_%05.0f" $((drives + 1)) $((drives + watched)))
    took "$part" "$begun"
}

camera=$work/camera/final.pt teacher=$work/teacher/final.pt assistant=$work/assistant/final.pt
guided=(--config "$root/config/monotakd_small.yaml" --recipe paper)
train camera student "" --config "$root/config/student_small.yaml"
train teacher teacher "$camera" "${guided[@]}" --steps 1000
train assistant assistant "$camera" "${guided[@]}" --steps 1000 --teacher "$teacher"
train student student "$camera" "${guided[@]}" --recipe refine --steps 1500 \
    --teacher "$teacher" --assistant "$assistant" --guide-cache "$work/guides"
sha256sum "$camera" "$teacher" "$assistant" "$work/student/final.pt"
