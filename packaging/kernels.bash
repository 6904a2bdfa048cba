# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The kernels that this driver supports and has been tested on.

# shellcheck disable=SC2034 # the files that read this one use them
oldest=7.2
newest=7.3

# older A B: whether version A is older than B.
older() { [[ $1 != "$2" && $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$1" ]]; }
