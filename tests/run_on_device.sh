#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: run_on_device.sh [--emulator "OPTIONS"] [--probe TESTS] PROGRAM ARGUMENT...
# Runs a program with EGGROLL_DEVICE=cuda: on the GPU of this machine, else under the emulator whose
# folder EGGROLL_PTXEMU names, else not at all (status 77, or 1 if EGGROLL_REQUIRE_DEVICE_TESTS=1).
# With --emulator only under the emulator, with these options. The program is the test program, or
# another one with --probe TESTS: the test program then says whether there is a GPU.
set -euo pipefail

options=""
only_emulated=""
if [[ $1 == --emulator ]]; then
    options=$2
    only_emulated=yes
    shift 2
fi
probe=$1
if [[ $1 == --probe ]]; then
    probe=$2
    shift 2
fi
tests=$1
shift

export EGGROLL_DEVICE=cuda
if [[ -z $only_emulated ]] && device=$("$probe" --probe-device); then
    echo "device tests: on $device"
    exec "$tests" "$@"
fi
if [[ -n ${EGGROLL_PTXEMU-} ]]; then
    echo "device tests: emulated${options:+ ($options)}"
    # shellcheck disable=SC2086
    exec "$EGGROLL_PTXEMU/ptxemu-run" $options "$tests" "$@"
fi
echo "device tests skipped: no device, no emulator"
[[ ${EGGROLL_REQUIRE_DEVICE_TESTS-} == 1 ]] && exit 1
exit 77
