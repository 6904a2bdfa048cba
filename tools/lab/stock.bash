# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# How `lab` creates what is missing for Debian's kernels: their packages, the Rust metadata, the module,
# and an initramfs that mounts the root. No kernel is compiled. On amd64 everything for arm64 is
# cross-compiled, and such a guest has its own root of that architecture.

# shellcheck disable=SC2154 # common.bash sets them

# shellcheck source=../../packaging/kernels.bash
. "$project/packaging/kernels.bash"

# 'stock' is the newest of them.
stock_kernels=("stock-$newest")
[[ $oldest == "$newest" ]] || stock_kernels+=("stock-$oldest")

# For arm64 also the newest one with pages of 16 KB.
arm64_stock_kernels=("${stock_kernels[@]}" "stock-$newest-16k")

# What they are called here, where the architecture is part of the name.
stock_names=("${stock_kernels[@]}" "${arm64_stock_kernels[@]/%/-arm64}")

# stock_name WORD ARCHITECTURE: the name of what --kernel and --arch ask for, if that is one of these kernels.
stock_name() {
	local name=$1 kernels=("${stock_kernels[@]}") suffix=
	[[ $name != stock ]] || name=${stock_kernels[0]}
	[[ $2 == amd64 ]] || { kernels=("${arm64_stock_kernels[@]}") suffix=-$2; }
	[[ " ${kernels[*]} " == *" $name "* ]] && echo "$name$suffix"
}

is_stock() { [[ " ${stock_names[*]} " == *" $1 "* ]]; }

# The release of a stock kernel that is installed, such as 7.3.4+deb13-amd64.
stock_release() { cat "$state/build/$1/release" 2>/dev/null || :; }

stock_image() { echo "$root/usr/lib/modules/$(stock_release "$1")/vmlinuz"; }

# The directory of the Rust metadata, at the same path in the root, as it works at no other.
stock_folder() { echo "$state/build/$1/kernel"; }

wanted_crates() { { stock_release "$1"; cat "$project/packaging/prepare-kernel"; } | checksum; }

wanted_stock() {
	{ wanted_crates "$1"; project_checksum; cat "$project/Makefile" "$here/build-stock" "$here/stock-init"; } | checksum
}

# stock_lists NAME: the lists of packages for it.
stock_lists() {
	echo packages-stock "packages-stock-$(architecture "$1")"
}

# shellcheck disable=SC2046 # words
wanted_stock_packages() { { packages $(stock_lists "$1"); backported_packages $(stock_lists "$1"); } | checksum; }

stock_packages_are_fresh() {
	[[ -d $root && $(stamp "packages-$1") == "$(wanted_stock_packages "$1")" && -f $(stock_image "$1") ]]
}

guest_root_is_fresh() {
	[[ ! $(guest_root_of "$1") ]] || [[ -d $root$(guest_root_of "$1") && $(stamp guest-arm64) == "$(wanted_list guest-arm64)" ]]
}

crates_are_fresh() { [[ $(stamp "crates-$1") == "$(wanted_crates "$1")" ]]; }

stock_is_fresh() {
	stock_packages_are_fresh "$1" && guest_root_is_fresh "$1" && crates_are_fresh "$1" &&
		[[ $(stamp "$1") == "$(wanted_stock "$1")" ]]
}

# Installs the newest kernel of the series, and the source of the same version.
# shellcheck disable=SC2046 # words
install_stock_packages() {
	local name=$1 arch series flavour foreign=
	arch=$(architecture "$name")
	flavour=$arch
	series=${name#stock-}
	series=${series%-arm64}
	[[ $series != *-16k ]] || { series=${series%-16k} flavour+=-16k; }
	[[ $arch == "$host_arch" ]] || foreign="dpkg --add-architecture $arch; apt-get update"
	: >"$state/log/$name.log"
	mkdir -p "$state/build/$name"
	run_apt "kernel $series of Debian for $flavour, rustc, QEMU" "$name" "
		$foreign
		release=\$(apt-cache search --names-only '^linux-binary-${series}[.][0-9]+[+]deb[0-9]+-$flavour\$' |
			sed 's/^linux-binary-//; s/ .*//' | sort -V | tail -n 1)
		[ \"\$release\" ] || { echo 'lab-error: $suite-backports has no kernel $series any more: use another one'; exit 1; }
		$install $(packages $(stock_lists "$name")) linux-source-$series linux-headers-\$release:$arch \
			linux-binary-\$release:$arch linux-modules-\$release:$arch
		$install -t $suite-backports $(backported_packages $(stock_lists "$name"))
		[ -e /usr/src/linux-source-$series.tar.xz ] || $install --reinstall linux-source-$series
		echo \"\$release\" >'$state/build/$name/release'" --rw "$state/build/$name"
	set_stamp packages-stock "$(wanted_list stock)"
	set_stamp "packages-$name" "$(wanted_stock_packages "$name")"
}

# Nothing in it runs before the guest does, so its packages are unpacked but not configured.
make_guest_root() {
	local folder list
	folder=$root$(guest_root_of "$1")
	list=$(packages packages-guest-arm64)
	: >"$state/log/guest-arm64.log"
	rm -rf --one-file-system "$folder" "$folder.part"
	run_step "the guest's root for arm64" guest-arm64 mmdebstrap --mode=root --variant=extract --architectures=arm64 \
		--include="${list// /,}" "$suite" "$folder.part"
	cp "$root"/etc/{passwd,group} "$folder.part/etc/"
	mkdir "$folder.part/lab" "$folder.part/usr/lib/modules"
	mv "$folder.part" "$folder"
	set_stamp guest-arm64 "$(wanted_list guest-arm64)"
}

make_crates() {
	local name=$1 wanted
	wanted=$(wanted_crates "$name")
	run_step "Rust metadata of kernel $(stock_release "$name")" "$name" "$here/enter" "$root" --ro "$project" \
		--rw "$state/build/$name" -- \
		"$project/packaging/prepare-kernel" "$(stock_release "$name")" "$(stock_folder "$name")"
	set_stamp "crates-$name" "$wanted"
}

make_stock() {
	local name=$1 wanted
	wanted=$(wanted_stock "$name")
	run_step "the module for it" "$name" "$here/enter" "$root" --ro "$project" --rw "$state/build/$name" -- \
		"$here/build-stock" "$(stock_release "$name")" "$state/build/$name" "$(guest_root_of "$name")"
	set_stamp "$name" "$wanted"
}
