#!/bin/sh
# Makes sure of what Python packages cannot bring: a C++ compiler, Python's headers and venv module, and
# the GL libraries with which MuJoCo renders without a display. Silent and quick when all of it is there.
#
# usage: system_packages.sh [PYTHON]
# Installs what is missing where it may (root or sudo without a password, and apt-get); elsewhere it prints
# the line to run. Ends with 1 if something without which the build cannot work is still missing; GL
# libraries are only warned about, for everything but the simulator works without them.
set -u

python=${1:-python3}
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || exit 1

has_library() {
    ldconfig -p 2>/dev/null | grep -q "$1" || /sbin/ldconfig -p 2>/dev/null | grep -q "$1"
}

find_missing() {
    build=''
    graphics=''
    if ! command -v c++ >/dev/null 2>&1 || ! command -v cc >/dev/null 2>&1; then
        build="$build g++"
    fi
    headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -f "$headers/Python.h" ] || build="$build python$version-dev"
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || build="$build python$version-venv"
    has_library 'libEGL\.so\.1' || graphics="$graphics libegl1"
    has_library 'libGL\.so\.1' || graphics="$graphics libgl1"
    has_library 'libEGL_mesa\.so\|libEGL_nvidia\.so' || graphics="$graphics libegl-mesa0"
    found_driver=''
    for directory in /usr/lib/*/dri /usr/lib/dri /usr/lib64/dri; do
        [ -e "$directory/swrast_dri.so" ] && found_driver=yes
    done
    [ -n "$found_driver" ] || has_library 'libEGL_nvidia\.so' || graphics="$graphics libgl1-mesa-dri"
    missing="$build$graphics"
}

find_missing
[ -z "$missing" ] && exit 0

if [ "$(id -u)" -eq 0 ]; then
    as_root=''
elif sudo -n true >/dev/null 2>&1; then
    as_root='sudo -n'
else
    as_root=none
fi

if [ "$as_root" != none ] && command -v apt-get >/dev/null 2>&1; then
    echo "Installing system packages:$missing"
    $as_root apt-get update -qq
    # One by one: the name of one package that a distribution no longer has must not keep out the others.
    for package in $missing; do
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends "$package" </dev/null >/dev/null ||
            echo "apt-get could not install $package" >&2
    done
    find_missing
fi

[ -z "$missing" ] && exit 0
echo "Missing system packages. As an administrator run:" >&2
echo "    apt-get update && apt-get install -y$missing" >&2
echo "(the names are Debian's and Ubuntu's; other systems have the same under other names)" >&2
if [ -n "$build" ]; then
    exit 1
fi
echo "Going on: only the simulator's camera needs them." >&2
