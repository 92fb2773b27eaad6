#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: device_absent_test.sh TESTS   (the test program, built with CUDA)
# Without a driver, without a GPU or with one that is too old the program runs on the CPU, and says
# why Device::cuda() is not there; memory that is exhausted is an error like others. All but the first
# is simulated by the emulator whose folder EGGROLL_PTXEMU names.
set -euo pipefail

tests=$1
unset EGGROLL_DEVICE

# says TEXT COMMAND...: the test program's probe ends with status 1 and that text
says() {
    local text=$1 out status=0
    shift
    out=$("$@" "$tests" --probe-device) || status=$?
    echo "$* -> $out"
    if [[ $status -ne 1 || $out != *"$text"* ]]; then
        echo "FAILED: status $status; asked for 1 and \"$text\"" >&2
        exit 1
    fi
}

# The quick start on the CPU.
trains() { "$@" "$tests" --test-case="strategy: the quick start learns" >/dev/null; }

libraries=$(ldconfig -p)
if [[ $libraries != *libcuda.so* ]]; then
    says "[Device::cuda] no CUDA device: driver not found" env
    trains env
fi
if [[ -z ${EGGROLL_PTXEMU-} ]]; then
    echo "the rest skipped: no emulator"
    exit
fi
emulator=$EGGROLL_PTXEMU/ptxemu-run
says "[Device::cuda] no CUDA device: driver not found" "$emulator" -nodriver
trains "$emulator" -nodriver
says "[Device::cuda] no CUDA device: the driver finds none" "$emulator" -devices 0
trains "$emulator" -devices 0
says "has compute capability 7.0 but this library was built for" "$emulator" -cc 70
trains "$emulator" -cc 70
EGGROLL_DEVICE=cuda "$emulator" -mem 96 "$tests" --no-skip --test-case="exhausted:*"
