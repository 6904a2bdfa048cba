# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# How `lab` makes what is missing for the kernels that Debian has built: its packages, the Rust metadata,
# the module, and an initramfs that mounts the root. Nothing of a kernel is compiled.

# shellcheck disable=SC2154 # common.bash sets them

# shellcheck source=../../packaging/kernels.bash
. "$project/packaging/kernels.bash"

# 'stock' is the newest of them.
stock_kernels=("stock-$newest")
[[ $oldest == "$newest" ]] || stock_kernels+=("stock-$oldest")

is_stock() { [[ " stock ${stock_kernels[*]} " == *" $1 "* ]]; }

stock_name() { if [[ $1 == stock ]]; then echo "${stock_kernels[0]}"; else echo "$1"; fi; }

# The release of a stock kernel that is there, such as 7.3.4+deb13-amd64.
stock_release() { cat "$state/build/$1/release" 2>/dev/null || :; }

stock_image() { echo "$root/usr/lib/modules/$(stock_release "$1")/vmlinuz"; }

# Where the Rust metadata is, at the same place in the root: it works at no other.
stock_folder() { echo "$state/build/$1/kernel"; }

wanted_crates() { { stock_release "$1"; cat "$project/packaging/prepare-kernel"; } | checksum; }

wanted_stock() {
	{ wanted_crates "$1"; project_checksum; cat "$project/Makefile" "$here/build-stock" "$here/stock-init"; } | checksum
}

stock_packages_are_fresh() {
	[[ -d $root && $(stamp "packages-$1") == "$(wanted_list stock)" && -f $(stock_image "$1") ]]
}

crates_are_fresh() { [[ $(stamp "crates-$1") == "$(wanted_crates "$1")" ]]; }

stock_is_fresh() {
	stock_packages_are_fresh "$1" && crates_are_fresh "$1" && [[ $(stamp "$1") == "$(wanted_stock "$1")" ]]
}

# The newest kernel of the series for which there is the source of the same version.
install_stock_packages() {
	local name=$1 series=${1#stock-}
	: >"$state/log/$name.log"
	mkdir -p "$state/build/$name"
	run_apt "kernel $series of Debian, rustc, QEMU" "$name" "
		release=\$(apt-cache search --names-only '^linux-binary-$series[.][0-9]+[+]deb[0-9]+-amd64\$' |
			sed 's/^linux-binary-//; s/ .*//' | sort -V | tail -n 1)
		[ \"\$release\" ] || { echo 'lab-error: $suite-backports has no kernel $series any more: use another one'; exit 1; }
		$install $(packages packages-stock) linux-source-$series linux-headers-\$release linux-binary-\$release linux-modules-\$release
		$install -t $suite-backports $(backported_packages packages-stock)
		[ -e /usr/src/linux-source-$series.tar.xz ] || $install --reinstall linux-source-$series
		echo \"\$release\" >'$state/build/$name/release'" --rw "$state/build/$name"
	set_stamp packages-stock "$(wanted_list stock)"
	set_stamp "packages-$name" "$(wanted_list stock)"
}

make_crates() {
	local name=$1 wanted
	wanted=$(wanted_crates "$name")
	run_step "what rustc knows of kernel $(stock_release "$name")" "$name" "$here/enter" "$root" --ro "$project" \
		--rw "$state/build/$name" -- \
		"$project/packaging/prepare-kernel" "$(stock_release "$name")" "$(stock_folder "$name")"
	set_stamp "crates-$name" "$wanted"
}

make_stock() {
	local name=$1 wanted
	wanted=$(wanted_stock "$name")
	run_step "the module for it" "$name" "$here/enter" "$root" --ro "$project" --rw "$state/build/$name" -- \
		"$here/build-stock" "$(stock_release "$name")" "$state/build/$name"
	set_stamp "$name" "$wanted"
}
