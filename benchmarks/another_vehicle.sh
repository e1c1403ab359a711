#!/usr/bin/env bash
# What teacher, assistant and unlabelled drives make of the shipped student in a camera that it never saw, one drive of
# which is labelled. Simulates 60 drives of a van (1280 x 720, 77 degrees wide, 2.2 m above the road) to learn from and 12
# more to test on, and trains with three seeds
#   none+short                         from the labelled drive alone: 100 steps (600 were worse)
#   none+unlabelled+depth_alone+long   and LiDAR depth of the 59 other drives, three samples of four: 1,600 steps
#   paper+unlabelled+long              the same with the teacher's boxes and all distillation terms
# Then WORK_FOLDER/ablation has the table (table.md, table.json, table.png) with intervals and the share of the gap closed.
# Usage: benchmarks/another_vehicle.sh WORK_FOLDER [VENV]   (hours, 4 GB; goes on where it stopped)
# In the environment: STEPS instead of 1,600, SEEDS instead of "0 1 2", JOBS at a time (default: one a core, of one thread).
# With QUICK=1 it takes three drives of two frames and two steps, in WORK_FOLDER/quick: to see that all of it runs.
set -euo pipefail

work=$(realpath -m "${1:?usage: benchmarks/another_vehicle.sh WORK_FOLDER [VENV]}")
root=$(cd "$(dirname "$0")/.." && pwd)
bin=$(realpath -s "${2:-$root/.venv}")/bin
jobs=${JOBS:-$(getconf _NPROCESSORS_ONLN)} steps=${STEPS:-1600} short=100 seeds=${SEEDS:-0 1 2}
drives=60 frames=20 tested=12 tested_frames=40
[ -n "${QUICK:-}" ] && drives=2 frames=2 tested=1 tested_frames=2 steps=2 short=1 seeds=0 work=$work/quick

camera="--width 1280 --height 720 --focal-px 800 --camera-height-m 2.2"

# drives FOLDER FRAMES SEED...: a line for each, what `monotakd simulate` is given
drives() {
    local seed
    for seed in "${@:3}"; do
        echo "$1/drive_$seed --frames $2 --seed $seed --rate-hz 1 $camera"
    done
}

mkdir -p "$work/van" "$work/held_out"
cd "$work"
first=201 last=$((200 + drives)) first_tested=9000029 last_tested=$((9000028 + tested))
{
    drives van $frames $(seq $first $last)
    drives held_out $tested_frames $(seq $first_tested $last_tested)
} | OMP_NUM_THREADS=1 xargs -P "$jobs" -L 1 "$root/tools/simulate_once.sh" "$bin/monotakd"

echo "training: {steps: $short}" >short.yaml
echo "training: {steps: $steps}" >long.yaml
echo "training: {semi_supervised: {detection_weight: 0.0}}" >depth_alone.yaml
"$bin/python" "$root/benchmarks/ablation.py" --config "$root/config/monotakd_small.yaml" --overlay refine \
    --recipes none+short.yaml start none+unlabelled+depth_alone.yaml+long.yaml paper+unlabelled+long.yaml \
    --seeds $seeds --jobs "$jobs" --threads 1 \
    --data van/drive_$first --unlabelled $(seq -f van/drive_%.0f $((first + 1)) $last) \
    --test-data $(seq -f held_out/drive_%.0f $first_tested $last_tested) \
    --init monotakd_small --teacher teacher_small --assistant assistant_small --guide-cache guides --out ablation
