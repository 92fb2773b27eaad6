#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: run.sh WAY SOURCE BUILD WORK
# Builds and runs the consumer against the library in SOURCE, had one way: install_shared (as built
# in BUILD), install_static, install_native (EGGROLL_NATIVE), add_subdirectory or fetch_content. WORK is
# a folder of its own, emptied first.
set -euo pipefail

way=$1 source=$2 tree=$3 work=$4
consumer=$source/tests/consumer

rm -rf "$work"
mkdir -p "$work"
cd "$work"

# cached NAME: what BUILD was configured with
cached() { sed -n "s/^$1:[A-Z]*=//p" "$tree/CMakeCache.txt"; }

# Warnings as in BUILD, and its flags for the kernels of CUDA, which have no Eigen: with a compiler
# cache what was compiled for BUILD, or for one way, serves the next.
type=$(cached CMAKE_BUILD_TYPE)
alike=(-DEGGROLL_WERROR="$(cached EGGROLL_WERROR)"
    -DCMAKE_CUDA_FLAGS_DEBUG="$(cached "CMAKE_CUDA_FLAGS_${type^^}")")

# build FOLDER SOURCES CMAKE-ARGUMENTS...
# Unoptimised: quick to compile, and no template vanishes by inlining, so any clash would show.
build() {
    configure "$@"
    cmake --build "$1" --parallel "$(nproc)"
}
configure() {
    cmake -S "$2" -B "$1" -DCMAKE_BUILD_TYPE=Debug "${@:3}" >"$1.log" || {
        cat "$1.log"
        return 1
    }
}

# install BUILD: into ./prefix
install() {
    cmake --install "$1" --prefix "$work/staging" >/dev/null
    # A package that was moved must work all the same.
    mv staging prefix
}

# pkg_config FLAGS...: without CMake, by pkg-config alone
pkg_config() {
    local pc
    pc=$(dirname "$(find "$work/prefix" -name eggroll.pc)")
    export PKG_CONFIG_PATH=$pc
    # The flags are words to be split.
    # shellcheck disable=SC2046
    "${CXX:-g++}" -std=c++20 $(pkg-config --cflags eggroll eigen3) \
        "$consumer/main.cpp" "$consumer/own_eigen.cpp" -o by_pkg_config \
        $(pkg-config "$@" --libs eggroll)
    LD_LIBRARY_PATH=$(dirname "$pc") ./by_pkg_config
}

case $way in
    install_shared | install_static | install_native)
        native=OFF
        if [[ $way == install_shared ]]; then
            native=$(cached EGGROLL_NATIVE)
            install "$tree"
            pkg_config
        else
            cuda=AUTO
            [[ $way == install_static ]] || native=ON cuda=OFF
            build library "$source" -DBUILD_SHARED_LIBS=OFF -DEGGROLL_BUILD_TESTS=OFF \
                -DEGGROLL_BUILD_EXAMPLES=OFF -DEGGROLL_BUILD_BENCH=OFF -DEGGROLL_NATIVE=$native \
                -DEGGROLL_CUDA=$cuda "${alike[@]}"
            install library
            pkg_config --static
        fi
        build program "$consumer" -DCMAKE_PREFIX_PATH="$work/prefix" -DWANTED_NATIVE=$native
        # In the archive Eigen is not hidden yet: only its name keeps it apart from a program's own.
        archive=$(find prefix -name libeggroll.a)
        if [[ -n $archive ]] && nm --demangle "$archive" | grep -E '(^|[^_[:alnum:]])Eigen::'; then
            echo "$archive has symbols of a plain Eigen" >&2
            exit 1
        fi
        if grep -rnE "$source|$tree|$work" prefix --include='*.cmake' --include='*.pc'; then
            echo "the package names folders of the build machine" >&2
            exit 1
        fi
        ;;
    add_subdirectory | fetch_content)
        from=(program "$consumer" -DEGGROLL_FROM="$way" -DEGGROLL_SOURCE="$source"
            -DEGGROLL_CUDA=OFF "${alike[@]}")
        # From there on the two are the same.
        [[ $way == add_subdirectory ]] || { configure "${from[@]}" && exit; }
        build "${from[@]}"
        ;;
    *)
        echo "run.sh: unknown way $way" >&2
        exit 2
        ;;
esac
./program/consumer

[[ $way == install_* ]] || exit 0

# On processors that this machine is not: the plain library takes what they have; one that was built
# for this machine says what they lack.
command -v qemu-x86_64 >/dev/null || {
    echo "no other processors tried: qemu-x86_64 (Debian: qemu-user) is not there"
    exit 0
}
if [[ $native == OFF ]]; then
    for processor in Nehalem Haswell; do  # without AVX; with AVX2 and FMA
        qemu-x86_64 -cpu $processor ./program/consumer
    done
elif said=$(qemu-x86_64 -cpu Nehalem ./program/consumer 2>&1); then
    echo "a library built for this processor runs on a Nehalem" >&2
    exit 1
elif ! grep -q "EGGROLL_NATIVE.*lacks .*avx" <<<"$said"; then
    printf 'on a Nehalem it says:\n%s\n' "$said" >&2
    exit 1
fi
