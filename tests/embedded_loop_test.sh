#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: embedded_loop_test.sh EMBEDDED_LOOP   (the built example)
# It learns, a small population in seconds under an emulator; what it cannot do it refuses.
set -euo pipefail

example=$1

out=$("$example" --pop-size 64 --steps 12 --episodes 2 --episode-steps 80 --json)
echo "$out"
tail -n 1 <<<"$out" | python3 -c "
import json, sys
run = json.load(sys.stdin)
# From 18 of 80 steps to 56 here. Rounding decides when a pole falls, so other devices differ: half
# as much again is what any run that learns is well above.
sys.exit(not run['last_reward'] >= 1.5 * run['first_reward'])" || {
    echo "FAILED: the mean reward has not risen by half" >&2
    exit 1
}

# refused STATUS TEXT ARGUMENT...: it ends with that status and one line on stderr, the text in it
refused() {
    local status=$1 text=$2 got=0 err
    shift 2
    err=$("$example" "$@" 2>&1 >/dev/null) || got=$?
    if [[ $got -ne $status || $(wc -l <<<"$err") -ne 1 || $err != "error: "*"$text"* ]]; then
        echo "FAILED: embedded_loop $*: status $got instead of $status, or not this: $err" >&2
        exit 1
    fi
}
refused 1 pop_size --pop-size 63
refused 2 --episodes --episodes 0
refused 2 --no-such-option --no-such-option
