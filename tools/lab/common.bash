# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What all of `lab` stands on: messages, processes that leave nothing behind, the state's folder and
# its lock.

# shellcheck disable=SC2034 # the files that read this one use them

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
project=${here%/tools/lab}
state=$(realpath -m -- "${VFIO_LAB_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vfio-pci-rust-lab}")
root=$state/root
readonly here project state root

# Where root lives in the lab's root, and so in the guest.
readonly guest_home=/root

readonly suite=trixie
readonly source_package=linux-source-7.3

# ---- messages ------------------------------------------------------------------------------------

failure=1 # the exit status of die; 125 where the status is otherwise a command's

say() { printf 'lab: %s\n' "$*" >&2; }

die() {
	say "$*"
	exit "$failure"
}

die_usage() {
	say "$*; 'lab --help' tells how to use it"
	exit 2
}

elapsed() { printf '%dm%02ds' $((($1) / 60)) $((($1) % 60)); }

# architecture KERNEL: for which one it is: the name of one for arm64 says so.
architecture() { if [[ $1 == *-arm64 ]]; then echo arm64; else echo amd64; fi; }

# Where the guest's root is in the lab's root, if it is not that one itself.
guest_root_of() { if [[ $(architecture "$1") == arm64 ]]; then echo /arm64; fi; }

# ---- processes -----------------------------------------------------------------------------------

child=    # the process that everything else runs under, if there is one
session=  # set if the child leads a session of its own
run_dir=  # the folder of this run
terminal= # the terminal's settings, where a guest changes them

# The kernel kills the whole namespace when lab dies, of whatever.
isolate=(env --default-signal=INT --default-signal=QUIT setpriv --pdeathsig KILL
	unshare --mount --mount-proc --pid --fork --kill-child --)

# Starts a command in mount and pid namespaces of its own, in the background: bash reacts to a signal
# only while it waits. File descriptor 9 is the lock, nobody inherits it.
start() {
	"${isolate[@]}" "$@" <&0 9>&- &
	child=$!
	session=
}

# The same, out of reach of the terminal's Ctrl-C, so that stop_child decides how it ends.
start_detached() {
	setsid "${isolate[@]}" "$@" </dev/null 9>&- &
	child=$!
	session=yes
}

# A polite end first: make removes what it has half written.
stop_child() {
	[[ $child ]] || return 0
	if [[ $session ]]; then
		kill -TERM -- "-$child" 2>/dev/null || :
		for _ in {1..30}; do
			kill -0 "$child" 2>/dev/null || break
			sleep 0.1
		done
	fi
	kill -KILL "$child" 2>/dev/null || :
	wait "$child" 2>/dev/null || :
	child=
}

on_signal() {
	trap '' INT TERM HUP
	[[ ! -t 2 ]] || printf '\n' >&2
	say "interrupted"
	stop_child
	exit "$1"
}

on_exit() {
	stop_child
	[[ ! $terminal ]] || stty "$terminal"
	[[ ! $run_dir ]] || rm -rf -- "$run_dir"
}

# ---- state ---------------------------------------------------------------------------------------

stamp() { cat "$state/stamp/$1" 2>/dev/null || :; }

set_stamp() { printf '%s\n' "$2" >"$state/stamp/$1"; }

checksum() { sha256sum | cut -d' ' -f1; }

kernel_source() {
	if [[ ${KSRC-} ]]; then realpath -m -- "$KSRC"; else echo "$state/linux"; fi
}

# Only a folder that lab has made is used, and removed.
make_state() {
	[[ ! -e $state || -d $state ]] || die "$state is not a folder: set VFIO_LAB_DIR to another place"
	if [[ ! -e $state/lab && -d $state && $(ls -A "$state") ]]; then
		die "$state is neither empty nor a laboratory: set VFIO_LAB_DIR to another place"
	fi
	mkdir -p "$state"/{stamp,log,run,build} 2>/dev/null || die "$state cannot be made: set VFIO_LAB_DIR to another place"
	: >>"$state/lab"
}

# Many may run guests at a time (shared), one may change the laboratory (exclusive). Whoever comes waits
# in the door, the lock of the folder itself, and holds it until it is in: so one that wants to be alone
# is not overtaken by ever more guests.
lock() {
	local how=$1 told=
	exec 8<"$state" 9>>"$state/lab"
	await exclusive 8
	await "$how" 9
	exec 8<&-
	# 'lab clean' may have removed the folder in the meantime.
	[[ $state/lab -ef /dev/fd/9 ]] || { make_state; lock "$how"; }
}

await() {
	flock --nonblock "--$1" "$2" && return
	[[ $told ]] || say "waiting for another lab that uses $state"
	told=yes
	setpriv --pdeathsig KILL flock "--$1" "$2" & # in the background: see `start`
	wait $!
}
