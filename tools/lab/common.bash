# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The basis of `lab`: messages, processes that leave nothing behind, the directory of the lab and its
# lock.

# shellcheck disable=SC2034 # the files that read this one use them

here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
project=${here%/tools/lab}
state=$(realpath -m -- "${VFIO_LAB_DIR:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vfio-pci-rust-lab}")
root=$state/root
readonly here project state root

# The architecture of this machine, and so of the lab's root: amd64 or arm64, or one on which lab does not work.
host_arch=$(dpkg --print-architecture 2>/dev/null || uname -m)
readonly host_arch

# The home directory of root in the lab's root, and so in the guest.
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
	say "$*; see 'lab --help'"
	exit 2
}

elapsed() { printf '%dm%02ds' $((($1) / 60)) $((($1) % 60)); }

# full_name KERNEL ARCHITECTURE, architecture NAME: the name of a kernel for arm64 ends with that.
full_name() { if [[ $2 == amd64 ]]; then echo "$1"; else echo "$1-$2"; fi; }

architecture() { if [[ $1 == *-arm64 ]]; then echo arm64; else echo amd64; fi; }

# The path of the guest's root in the lab's root, if they are not the same.
guest_root_of() { if [[ $(architecture "$1") != "$host_arch" ]]; then echo "/$(architecture "$1")"; fi; }

# ---- processes -----------------------------------------------------------------------------------

child=    # the process that everything else runs under, if there is one
session=  # set if the child leads a session of its own
run_dir=  # the directory of this run
terminal= # the terminal's settings, where a guest changes them

# The kernel kills the whole namespace when lab dies for any reason.
isolate=(env --default-signal=INT --default-signal=QUIT setpriv --pdeathsig KILL
	unshare --mount --mount-proc --pid --fork --kill-child --)

# Starts a command in its own mount and pid namespaces, and in the background, since bash reacts to
# signals only while it waits. File descriptor 9 is the lock, which no process may inherit.
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

# SIGTERM comes first, so that make removes incomplete files.
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

# Only a directory that lab has created is used, and removed.
make_state() {
	[[ ! -e $state || -d $state ]] || die "$state is not a directory: set VFIO_LAB_DIR to another place"
	if [[ ! -e $state/lab && -d $state && $(ls -A "$state") ]]; then
		die "$state is neither empty nor a lab: set VFIO_LAB_DIR to another place"
	fi
	mkdir -p "$state"/{stamp,log,run,build} 2>/dev/null || die "$state cannot be created: set VFIO_LAB_DIR to another place"
	: >>"$state/lab"
}

# Many processes may run guests (shared), only one may change the lab (exclusive). Each first takes the
# lock of the directory itself, and holds it until it has the other one, so that a process that waits for
# the exclusive lock is not overtaken by more and more guests.
lock() {
	local how=$1 told=
	exec 8<"$state" 9>>"$state/lab"
	await exclusive 8
	await "$how" 9
	exec 8<&-
	# 'lab clean' may have removed the directory meanwhile.
	[[ $state/lab -ef /dev/fd/9 ]] || { make_state; lock "$how"; }
}

await() {
	flock --nonblock "--$1" "$2" && return
	[[ $told ]] || say "waiting for another lab that uses $state"
	told=yes
	setpriv --pdeathsig KILL flock "--$1" "$2" & # in the background, see `start`
	wait $!
}
