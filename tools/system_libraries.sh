#!/usr/bin/env bash
# Sees to the system libraries that Open3D's wheel loads: installs them as root or with password-less sudo, else names
# the line that does. $1 is the Python that has Open3D; where it imports there is nothing to do.
set -uo pipefail

python=$1
packages=(libusb-1.0-0 libgl1 libegl1 libgomp1 libx11-6)
install="apt-get install -y --no-install-recommends ${packages[*]}"
advice="sudo apt-get update && sudo $install"

imports() { "$python" -c 'import open3d' 2>/dev/null; }

imports && exit 0
echo "Open3D does not load yet; it needs: ${packages[*]}"
if command -v apt-get >/dev/null; then
    if [ "$(id -u)" -eq 0 ]; then
        sudo=()
    elif sudo -n true 2>/dev/null; then
        sudo=(sudo -n)
    else
        echo "error: not root and no password-less sudo. Run this once, then try again:" >&2
        echo "    $advice" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    # shellcheck disable=SC2086  # $install is a command of several words
    "${sudo[@]}" apt-get update -qq && "${sudo[@]}" $install >/dev/null
fi
imports && exit 0
echo "error: Open3D still does not load:" >&2
"$python" -c 'import open3d' 2>&1 | tail -n 1 >&2
echo "On Debian and Ubuntu its libraries come with: $advice" >&2
exit 1
