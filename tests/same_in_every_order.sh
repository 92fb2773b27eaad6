#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: same_in_every_order.sh TESTS
# The emulator runs threads and blocks in several orders: passes, losses and training have the same
# bits in all of them.
set -euo pipefail

[[ -n ${EGGROLL_PTXEMU-} ]] || {
    echo "skipped: no emulator"
    exit 77
}
export EGGROLL_DEVICE=cuda
first=""
for order in fwd rev rand:1 rand:2 rand:3; do
    digests=$("$EGGROLL_PTXEMU/ptxemu-run" -order "$order" -blocks "$order" "$1" --no-skip \
        --test-case="digest:*" | grep "^digest ")
    [[ -n $first ]] || first=$digests
    if [[ $digests != "$first" ]]; then
        echo "FAILED: order $order differs from the plain one" >&2
        diff <(echo "$first") <(echo "$digests") >&2
        exit 1
    fi
    echo "order $order: $(wc -l <<<"$digests") digests, the same as in the first"
done
