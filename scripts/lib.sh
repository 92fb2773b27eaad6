# SPDX-License-Identifier: MIT
# Shared by scripts/demo and scripts/test; sourced, not run.
# shellcheck shell=bash disable=SC2034

# Where the CUDA toolkit is installed, PATH often does not go.
[[ ! -d /usr/local/cuda/bin ]] || PATH=$PATH:/usr/local/cuda/bin

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What configuring and building the release preset takes: PACKAGE:WHY.
build_packages=(
    "g++:C++ compiler"
    "cmake:build system"
    "ninja-build:build system"
    "libeigen3-dev:matrix products of the CPU engine"
    "libdlpack-dev:tensors to and from other libraries"
    "doctest-dev:unit tests"
    "librandom123-dev:reference generator for the unit tests"
    "libcli11-dev:command lines of the examples"
    "nlohmann-json3-dev:JSON in the examples"
    "zlib1g-dev:reading the gzipped data set"
)
# What the fashion_mnist example takes when it runs.
data_packages=(
    "dataset-fashion-mnist:data set of the demo"
    "gnuplot-nox:learning curve as a picture"
)

# install_missing PACKAGE:WHY... installs with apt what is not there; does nothing if all is.
install_missing() {
    if ! command -v dpkg-query >/dev/null; then
        echo "Not a Debian system: please see to these yourself:" >&2
        printf '    %s\n' "${@/:/: }" >&2
        return
    fi
    local entry missing=() list=""
    for entry in "$@"; do
        if [[ $(dpkg-query -W -f '${db:Status-Status}' "${entry%%:*}" 2>/dev/null) != installed ]]
        then
            missing+=("${entry%%:*}")
            list+=$(printf '    %-24s %s' "${entry%%:*}" "${entry#*:}")$'\n'
        fi
    done
    ((${#missing[@]})) || return 0

    printf 'Missing here; installing with apt:\n%s' "$list" >&2
    local as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || {
            echo "neither root nor sudo; as root run: apt-get install ${missing[*]}" >&2
            return 1
        }
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update -qq >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}
