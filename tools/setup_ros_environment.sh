#!/usr/bin/env bash
# Makes the virtual environment $1 with rclpy from its wheels, on top of the environment $2 that setup_environment.sh
# made: tests in a real ROS graph, on machines without ROS. The wheels (unofficial, of Jazzy) start Python anew at every
# start, so they get an environment of their own and are never a dependency.
set -euo pipefail

venv=$1
base=$2
cd "$(dirname "$0")/.."

rm -rf "$venv"
"$base/bin/python" -m venv "$venv"
site_of='import sysconfig; print(sysconfig.get_path("purelib"))'
echo "import site; site.addsitedir('$("$base/bin/python" -c "$site_of")')" \
    >"$("$venv/bin/python" -c "$site_of")/base_environment.pth"

verbosity=()
[ -t 1 ] || verbosity=(-qq)
# shellcheck disable=SC2086  # PIP_ARGS holds several words
"$venv/bin/python" -m pip --disable-pip-version-check install "${verbosity[@]}" --constraint constraints.txt \
    ${PIP_ARGS:-} 'ros-rclpy[fastrtps]' ros-sensor-msgs ros-visualization-msgs ros-diagnostic-msgs
