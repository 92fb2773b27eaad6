#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: exports_test.sh libeggroll.so
# The shared library names its binary interface and exports nothing of Eigen's, nor anything else
# that a program of its own could clash with.
set -euo pipefail

library=$1

readelf --dynamic "$library" | grep -q 'SONAME.*\[libeggroll\.so\.[0-9]' || {
    echo "$library has no SONAME" >&2
    exit 1
}

# Type and demangled name of what it defines for others. Templates of the standard library are weak
# everywhere: every program and library has its own copies, and they are interchangeable.
exports=$(nm --dynamic --demangle --defined-only "$library" | cut -d' ' -f2-)
ours='^[A-Z] ((typeinfo|typeinfo name|vtable|VTT) for )?eggroll::'
standard='^[WVu] .*\b(std|__gnu_cxx)::'
# Of a std::function<double()>: types of the language itself, weak too.
plain='^V typeinfo( name)? for [a-z ]+(\(\*\))?\(\)$'
if grep -vE "$ours|$standard|$plain" <<<"$exports" || grep -i eigen <<<"$exports"; then
    echo "$library exports the above" >&2
    exit 1
fi
grep -qE 'typeinfo for eggroll::Error' <<<"$exports" || {
    echo "$library keeps eggroll::Error to itself: nobody could catch it" >&2
    exit 1
}
echo "$(wc -l <<<"$exports") exported symbols, all as they should be"
