# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# How `lab` creates what is missing of the lab. The entry point is `up`, at the end of this file.

# shellcheck disable=SC2154 # common.bash sets them

# ---- steps of long work --------------------------------------------------------------------------

step=0  # the current step, and how many there are
steps=0

# Runs a command as a step. Its output goes to a log; progress is shown in one line that changes every
# second on a terminal, and in a line every half minute elsewhere.
run_step() {
	local title=$1 log=$state/log/$2.log begin=$SECONDS shown=$SECONDS text objects
	shift 2
	say "[$step/$steps] $title"
	start_detached "$@" >>"$log" 2>&1
	while kill -0 "$child" 2>/dev/null; do
		sleep 0.2
		((SECONDS - shown >= 30)) || [[ -t 2 && $SECONDS != "$shown" ]] || continue
		shown=$SECONDS
		text="lab: [$step/$steps] $title: $(elapsed $((SECONDS - begin)))"
		objects=$(grep -cE '^  [A-Z]+( \[M\])? ' "$log" || :) # kbuild's "  CC [M]  file.o"
		((objects == 0)) || text+=", $objects objects"
		if [[ -t 2 ]]; then printf '\r%s\033[K' "$text" >&2; else printf '%s\n' "$text" >&2; fi
	done
	[[ ! -t 2 ]] || printf '\r\033[K' >&2
	local status=0
	wait "$child" || status=$?
	child=
	((status == 0)) || explain "$title" "$log"
	say "[$step/$steps] $title: done in $(elapsed $((SECONDS - begin)))"
}

# Shows the part of the log with the reason why a step failed, and says it in one sentence. The part
# begins at the first error of a compiler, as make goes on for a while; otherwise it is the end.
explain() {
	local title=$1 log=$2 why first
	first=$(grep -nE -m 1 '^error|(: |fatal )error:|^E: |undefined symbol' "$log" | cut -d: -f1 || :)
	if [[ $first ]]; then tail -n "+$first" "$log" | head -n 30; else tail -n 12 "$log"; fi | sed 's/^/  /' >&2
	say "full log: $log"
	why=$(sed -nE 's/^(lab-error|kernel-tree): //p' "$log" | tail -n 1)
	[[ ! $why ]] || die "$why"
	if grep -qE 'No space left on device' "$log"; then
		die "the disk is full: free some space below $state, or set VFIO_LAB_DIR to another place"
	fi
	if grep -qE 'Temporary failure resolving|Could not resolve|Unable to connect|Could not connect|Connection (failed|timed out)|Network is unreachable' "$log"; then
		die "Debian's package registry cannot be reached: check the network, or set http_proxy"
	fi
	if grep -qE "Unable to locate package $source_package" "$log"; then
		die "$suite-backports has no $source_package any more: set KSRC to a tree of that kernel"
	fi
	die "$title: this step failed; once the cause is fixed, 'lab up' continues from there"
}

# ---- what exists and what should exist -----------------------------------------------------------

# The files that tools/kernel-tree copies into the kernel tree.
project_checksum() {
	(cd "$project" && "$project/tools/kernel-tree" files | cut -d' ' -f1 | xargs sha256sum | checksum)
}

fragments() {
	local name=${1%-arm64}
	printf '%s\n' "$here/test.config" "$here/$(architecture "$1").config"
	[[ $name == test ]] || echo "$here/$name.config"
}

# packages FILE..., backported_packages FILE...: the packages in these lists.
packages() { (cd "$here" && sed '/^#/d; /^backports:/d' "$@" | xargs); }

backported_packages() { (cd "$here" && sed -n 's/^backports://p' "$@" | xargs); }

# What the root has of the lists.
readonly root_lists=(packages-stock "packages-stock-$host_arch" packages)

wanted_root() { { packages "${root_lists[@]}"; backported_packages "${root_lists[@]}"; } | checksum; }

# What the kernels for arm64 need in addition on amd64.
readonly arm64_lists=(packages-stock-arm64 packages-arm64)

wanted_arm64() { { packages "${arm64_lists[@]}"; backported_packages "${arm64_lists[@]}"; } | checksum; }

wanted_kernel() {
	local files
	mapfile -t files < <(fragments "$1")
	{ kernel_source; stamp source; project_checksum; cat "${files[@]}" "$here/build-kernel"; } | checksum
}

# The list packages-NAME alone.
wanted_list() { packages "packages-$1" | checksum; }

list_is_fresh() { [[ -d $root && $(stamp "packages-$1") == "$(wanted_list "$1")" ]]; }

root_is_fresh() { [[ -d $root && $(stamp root) == "$(wanted_root)" ]]; }

arm64_is_fresh() { [[ $(architecture "$1") == "$host_arch" || $(stamp root-arm64) == "$(wanted_arm64)" ]]; }

source_is_fresh() { [[ ${KSRC-} || $(stamp source) ]]; }

kernel_is_fresh() {
	[[ -f $(bzimage "$1") && $(stamp "kernel-$1") == "$(wanted_kernel "$1")" ]] || return
	# In a tree of the user's own, newer files count, too.
	[[ ! ${KSRC-} || -z $(find "$(kernel_source)" -name .git -prune -o -type f \
		-newer "$state/stamp/kernel-$1" -print -quit) ]]
}

# ---- creating it ---------------------------------------------------------------------------------

check_host() {
	((EUID == 0)) || die "this needs root, for mounts and for mmdebstrap: run it with sudo"
	[[ $host_arch == amd64 || $host_arch == arm64 ]] || die "this works on x86-64 and arm64 only: use another machine"
	command -v apt-get >/dev/null || die "there is no apt-get: run this on Debian 12 or newer"
}

check_space() {
	local free
	free=$(df --output=avail --block-size=1G "$state" | tail -n 1)
	((free >= $1)) ||
		die "$state has ${free// /} GB free and needs $1: free some, or set VFIO_LAB_DIR to another place"
}

host_is_ready() { command -v mmdebstrap >/dev/null; }

# The keyring, too: an old one does not know $suite's keys.
make_host() {
	local command=(apt-get install -y --no-install-recommends mmdebstrap debian-archive-keyring gpg
		libdistro-info-perl)
	: >"$state/log/host.log"
	run_step "mmdebstrap for this machine" host env DEBIAN_FRONTEND=noninteractive \
		bash -c '"$@" || { apt-get update && "$@"; }' install "${command[@]}"
}

# make_debian DIR [OPTION]...: a Debian with only what apt needs.
make_debian() {
	local apt=$1/etc/apt
	mmdebstrap --mode=root --variant=apt "${@:2}" "$suite" "$1"
	# The line for the backports is the first line with another suite.
	sed -n "0,/^deb /{s/ $suite / $suite-backports /p}" "$apt/sources.list" >"$apt/backports"
	mv "$apt/backports" "$apt/sources.list.d/backports.list"
}

make_base() {
	: >"$state/log/root.log"
	rm -rf --one-file-system "$root.part"
	# The function runs in a shell of its own.
	run_step "Debian $suite" root bash -euc "$(declare -f make_debian); suite=$suite; make_debian '$root.part'"
	mkdir "$root.part/lab"
	mv "$root.part" "$root"
}

# An unfinished root is created again, so apt need not wait for the disk.
readonly install="apt-get install -y --no-install-recommends -o Dpkg::Options::=--force-unsafe-io"

install_packages() {
	run_apt "compilers, QEMU, virtme-ng" root "
		$install $(packages "${root_lists[@]}")
		$install -t $suite-backports $(backported_packages "${root_lists[@]}")"
	trust_as_here
	set_stamp root "$(wanted_root)"
}

install_arm64_packages() {
	: >"$state/log/packages-arm64.log"
	run_apt "additional packages for arm64" packages-arm64 "
		$install $(packages "${arm64_lists[@]}")
		$install -t $suite-backports $(backported_packages "${arm64_lists[@]}")"
	set_stamp root-arm64 "$(wanted_arm64)"
}

# Copies this machine's certificates for cargo, as it may be behind a proxy with its own certificate.
trust_as_here() {
	if [[ -d $root/etc/ssl/certs && -f /etc/ssl/certs/ca-certificates.crt ]]; then
		cp -L /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
	fi
}

install_list() {
	local foreign=
	[[ $1 != *-arm64 || $host_arch == arm64 ]] || foreign="dpkg --add-architecture arm64; apt-get update"
	: >"$state/log/packages-$1.log"
	run_apt "packages for $1" "packages-$1" "
		$foreign
		$install $(packages "packages-$1")"
	trust_as_here
	set_stamp "packages-$1" "$(wanted_list "$1")"
}

# run_apt TITLE LOG SCRIPT [ENTER-OPTION]...: runs a script with apt-get in the root. An earlier run may
# have been interrupted in the middle of dpkg.
run_apt() {
	cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
	run_step "$1" "$2" "$here/enter" "$root" "${@:4}" -- sh -ec "dpkg --configure -a
		apt-get update
		$3
		apt-get clean"
}

make_source() {
	: >"$state/log/source.log"
	rm -rf "$state/linux" "$state/linux.part"
	mkdir "$state/linux.part"
	run_apt "kernel source" source "
		$install $source_package
		[ -e /usr/src/$source_package.tar.xz ] || $install --reinstall $source_package
		tar -xf /usr/src/$source_package.tar.xz -C '$state/linux.part' --strip-components=1" --rw "$state/linux.part"
	mv "$state/linux.part" "$state/linux"
	set_stamp source "$(dpkg-query --admindir="$root/var/lib/dpkg" -Wf '${Version}' "$source_package")"
}

check_source() {
	local source
	source=$(kernel_source)
	[[ -f $source/Kbuild && -f $source/scripts/kconfig/merge_config.sh ]] ||
		die "$source is not a kernel tree: set KSRC to one, or leave it unset for Debian's"
	[[ ! -e $source/.config && ! -d $source/include/config && ! $(compgen -G "$source/arch/*/include/generated") ]] ||
		die "$source has been built in: run 'make mrproper' there, so that it can be built outside"
}

# Copies the driver into the kernel tree. Only files that differ are written, so make builds only these.
lay_overlay() {
	local line
	"$project/tools/kernel-tree" install "$(kernel_source)" >"$state/log/overlay.log" 2>&1 ||
		explain "copying the driver into the kernel tree" "$state/log/overlay.log"
	sed -n 's/^kernel-tree: //p' "$state/log/overlay.log" | while read -r line; do say "$line"; done
}

make_kernel() {
	local name=$1 source build=$state/build/$1 wanted files first
	first=$(full_name test "$(architecture "$name")")
	source=$(kernel_source)
	mapfile -t files < <(fragments "$name")
	# A build directory belongs to one source.
	if [[ $(stamp "source-of-$name") != "$source $(stamp source)" ]]; then
		rm -rf "$build"
		set_stamp "source-of-$name" "$source $(stamp source)"
	fi
	# Start with what was compiled for another kernel. For make to accept that, all kernels are built at
	# the same path: objtool, on which everything depends, is built with absolute paths.
	if [[ ! -d $build && $(stamp "source-of-$first") == "$source $(stamp source)" && -f $(bzimage "$first") ]]; then
		rm -rf "$build.part"
		cp -a "$state/build/$first" "$build.part"
		rm -f "$build.part/lab.configured"
		mv "$build.part" "$build"
	fi
	mkdir -p "$build"
	rm -f "$state/stamp/kernel-$name"
	: >"$state/log/kernel-$name.log"
	# The stamp has the state and the time before the build, as files may be edited meanwhile.
	wanted=$(wanted_kernel "$name")
	lay_overlay
	set_stamp building "$wanted"
	run_step "kernel $name" "kernel-$name" "$here/enter" "$root" --ro "$project" --ro "$source" \
		--at "$build" /build -- "$here/build-kernel" "$name" "$source" /build "${files[@]}"
	# Modules are built against it at its real path.
	sed -i "s|^export KBUILD_OUTPUT = .*|export KBUILD_OUTPUT = $build|" "$build/Makefile"
	mv "$state/stamp/building" "$state/stamp/kernel-$name"
}

# The server of described cards, see tools/lab/card.
card_program() { echo "$state/build/card/release/card"; }

wanted_card() {
	{ stamp root; (cd "$here/card" && sha256sum Cargo.toml Cargo.lock src/*); } | checksum
}

card_is_fresh() { [[ -x $(card_program) && $(stamp card) == "$(wanted_card)" ]]; }

make_card() {
	local wanted
	wanted=$(wanted_card)
	mkdir -p "$state/build/card"
	: >"$state/log/card.log"
	run_step "the server of described cards" card "$here/enter" "$root" --ro "$project" --rw "$state/build/card" -- \
		env CARGO_TARGET_DIR="$state/build/card" cargo build --locked --release --manifest-path "$here/card/Cargo.toml"
	set_stamp card "$wanted"
}

# Creates the parts of a kernel or of the root that are missing or out of date: "root" for the whole root,
# "card" for that and the server of described cards, "list NAME" for only the list packages-NAME. Returns
# with the shared lock and everything fresh; another clone may have interfered, hence the loop.
up() {
	check_host
	if [[ $1 != root && $1 != card && $1 != list && ${KSRC-} ]] && ! is_stock "$1"; then check_source; fi
	make_state
	for _ in 1 2 3; do
		lock shared
		is_up "$@" && return
		lock exclusive
		make_parts "$@"
	done
	lock shared
}

make_parts() {
	local name=$1 part plan=()
	host_is_ready || { [[ -d $root ]] && guest_root_is_fresh "$name"; } || plan+=(make_host)
	[[ -d $root ]] || plan+=(make_base)
	if [[ $name == list ]]; then
		plan+=("install_list $2")
	elif is_stock "$name"; then
		stock_packages_are_fresh "$name" || plan+=("install_stock_packages $name")
		guest_root_is_fresh "$name" || plan+=("make_guest_root $name")
		crates_are_fresh "$name" || plan+=("make_crates $name")
		plan+=("make_stock $name")
		[[ -d $root ]] || check_space 4
	else
		root_is_fresh || plan+=(install_packages)
		if [[ $name == card ]]; then
			plan+=(make_card)
		elif [[ $name != root ]]; then
			arm64_is_fresh "$name" || plan+=(install_arm64_packages)
			guest_root_is_fresh "$name" || plan+=("make_guest_root $name")
			source_is_fresh || plan+=(make_source)
			kernel_is_fresh "$name" || plan+=("make_kernel $name")
		fi
		[[ $name == card || -f $(bzimage "$(full_name test "$host_arch")") ]] || check_space 8
	fi
	step=0
	steps=${#plan[@]}
	for part in "${plan[@]}"; do
		step=$((step + 1))
		$part
	done
}

is_up() {
	if [[ $1 == list ]]; then list_is_fresh "$2"; return; fi
	if is_stock "$1"; then stock_is_fresh "$1"; return; fi
	root_is_fresh || return
	if [[ $1 == card ]]; then card_is_fresh; return; fi
	[[ $1 == root ]] || { arm64_is_fresh "$1" && guest_root_is_fresh "$1" && source_is_fresh && kernel_is_fresh "$1"; }
}

# bzimage KERNEL: what QEMU boots, which is an Image on arm64.
bzimage() {
	if is_stock "$1"; then
		stock_image "$1"
	elif [[ $(architecture "$1") == arm64 ]]; then
		echo "$state/build/$1/arch/arm64/boot/Image"
	else
		echo "$state/build/$1/arch/x86/boot/bzImage"
	fi
}

release_of() {
	if is_stock "$1"; then stock_release "$1"; else cat "$state/build/$1/include/config/kernel.release" 2>/dev/null || :; fi
}
