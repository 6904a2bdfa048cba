# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The part of `check` for the series of patches that tools/series makes.

# shellcheck disable=SC2034,SC2154 # check and common.bash use and set them

# What is kept: a tree, to which the patches are applied, and its build. The first time that build is a copy of the
# test kernel's, of which most is the same. For make to believe that, both are seen at the same places.
#
#   $folder/linux   the tree, whose files are links to those of the lab's source
#   $folder/git     the repository in which the patches become commits
#   $folder/build   the build

# A fresh tree, without the driver that the lab has put into its own.
series_tree() {
	local changed
	if [ "$(cat "$folder/version" 2>/dev/null)" != "$(sha256sum <"$source/Makefile")" ]; then
		rm -rf "$folder"
		mkdir -p "$folder"
		cp -al "$source" "$folder/linux" && cp -a "$build" "$folder/build" || return
		tools/kernel-tree remove "$folder/linux" || return
		mapfile -t changed < <(tools/series/series --changed)
		series_git init --quiet && series_git add --force "${changed[@]}" &&
			series_git commit --quiet --message base && series_git tag base || return
		sha256sum <"$source/Makefile" >"$folder/version"
	fi
	series_git am --abort 2>/dev/null
	series_git reset --quiet --hard base
}

series_git() {
	git -C "$folder/linux" --git-dir="$folder/git" --work-tree="$folder/linux" -c user.name=check -c user.email=check@localhost \
		-c commit.gpgSign=false -c core.hooksPath=/dev/null -c gc.auto=0 "$@"
}

# in_series COMMAND...: in the lab's root, where the tree is seen in the place of the lab's source.
in_series() {
	unshare --mount --mount-proc --pid --fork --kill-child -- tools/lab/enter "${build%/build/*}/root" \
		--ro "$project" --rw "$out" --at "$folder/linux" "$source" --at "$folder/build" /build --cwd "$source" -- "$@"
}

# series_make WORD...: with clippy, whose objects are those of rustc.
series_make() { in_series make -C "$source" O=/build LLVM=1 LOCALVERSION= CLIPPY=1 -j"$(nproc)" "$@"; }

# The configuration is the test kernel's, and what tools/lab/series.config has for the options that there are so far.
# It is made again only if there are others, for kconfig asks the compilers many questions.
series_configure() {
	local known options=$out/series.config
	known=$(grep -rhE '^(menu)?config ' "$folder/linux/drivers/vfio" --include='Kconfig*')
	[ "$known" != "$(cat "$folder/build/series.known" 2>/dev/null)" ] || return 0
	echo 'CONFIG_LOCALVERSION="-vfio-lab-series"' >"$options"
	grep '^CONFIG_' tools/lab/series.config | while IFS= read -r line; do
		! grep -qxE "(menu)?config ${line:7:-2}" <<<"$known" || echo "$line"
	done >>"$options"
	cat "$options" >>"$folder/build/.config"
	series_make olddefconfig || return
	grep -vxFf "$folder/build/.config" "$options" && { echo 'kconfig has dropped the lines above'; return 1; }
	echo "$known" >"$folder/build/series.known"
}

series_builds() {
	local log=$out/series.build
	if ! series_configure >"$log" 2>&1 || ! series_make bzImage modules >>"$log" 2>&1 ||
		! series_make -s INSTALL_MOD_PATH=/ INSTALL_MOD_STRIP=1 modules_install >>"$log" 2>&1; then
		tail -n 60 "$log"
		return 1
	fi
	series_is_clean "$log"
}

# series_is_clean LOG: no warning is about a file of the series. The tree has some of its own.
series_is_clean() {
	local ours='(rust/kernel/vfio|rust/helpers/vfio|vfio/pci/rust|driver-api/vfio-pci-rust|sysfs-driver-vfio-pci|modpost)'
	has_none "(-->|[Ww]arning|WARNING|ERROR).*$ours|$ours.*([Ww]arning|WARNING|ERROR)" "$1"
}

# checkpatch asks whether MAINTAINERS has the new files, and does not look itself.
series_checkpatch() { in_series scripts/checkpatch.pl --strict --terse --no-summary --ignore FILE_PATH_CHANGES "$1"; }

series_is_maintained() {
	local file
	while read -r file; do
		in_series scripts/get_maintainer.pl --no-git --no-git-fallback --no-rolestats -f "$file" |
			grep 'vfio-pci-rust developers' || { echo "nobody maintains $file"; return 1; }
	done < <(sed -n 's/^ create mode [0-7]* //p' "$1")
}

series_is_formatted() {
	local root roots=()
	for root in rust/kernel/vfio.rs drivers/vfio/pci/rust/vfio_pci_rust.rs; do
		[ ! -e "$folder/linux/$root" ] || roots+=("$root")
	done
	[ ${#roots[@]} -eq 0 ] || in_series rustfmt --check --edition 2021 "${roots[@]}"
}

# series_guest CONSOLE COMMAND...
series_guest() {
	"$lab" run --kernel "$folder/build/arch/x86/boot/bzImage" --memory 1G --timeout 1800 \
		--device igb --device nvme --device igb --device vga --log "$1" "${@:2}"
}

# A PF can be bound to the driver that the tree has.
# shellcheck disable=SC2016 # the guest's shell expands it
series_boots() {
	local console=$out/series.console
	series_guest "$console" -- sh -ec '
		driver=vfio-pci
		! modinfo vfio_pci_rust || driver=vfio-pci-rust
		modprobe "$driver"
		cd /sys/bus/pci/devices/0000:01:00.0
		echo "$driver" >driver_override
		! test -e driver || echo 0000:01:00.0 >driver/unbind
		echo 0000:01:00.0 >/sys/bus/pci/drivers_probe
		test "$(basename "$(readlink driver)")" = "$driver"
		echo 0000:01:00.0 >driver/unbind' && ! reports "$console"
}

series_selftests() {
	in_series make -j"$(nproc)" -C tools/testing/selftests TARGETS=vfio_pci_rust O="$out/series-selftests/build" \
		INSTALL_PATH="$out/series-selftests/install" KHDR_INCLUDES='-isystem /build/usr/include' install >"$out/log.selftests" 2>&1
	cat "$out/log.selftests"
	! grep -q 'warning:' "$out/log.selftests" && [ -x "$out/series-selftests/install/run_kselftest.sh" ]
}

# The objects in C with more warnings, and the documentation of the Rust code.
series_lints() {
	local log=$out/series.lints
	if ! series_make W=1 rust/helpers/helpers.o drivers/vfio/pci/rust/module/params.o >"$log" 2>&1 ||
		! series_make rustdoc >>"$log" 2>&1; then
		tail -n 60 "$log"
		return 1
	fi
	series_is_clean "$log"
}

series_htmldocs() {
	in_series make -C "$source" O=/build SPHINXDIRS=driver-api/vfio-pci-rust htmldocs >"$out/log.docs" 2>&1
	local status=$?
	cat "$out/log.docs"
	[ "$status" -eq 0 ] && series_is_clean "$out/log.docs"
}

series() {
	local folder=${build%/build/*}/series patch name console
	mkdir "$out/patches"
	check 'series: there is a fresh tree' series_tree
	check 'series: the patches are made' in_series "$project/tools/series/series" "$source" "$out/patches"
	for patch in "$out"/patches/*.patch; do
		name=series:\ ${patch##*/}
		[[ $patch != */0000-* ]] || continue
		check "$name: checkpatch --strict" series_checkpatch "$patch"
		check "$name: applies" series_git am --quiet --whitespace=error "$patch"
		check "$name: its files have a maintainer" series_is_maintained "$patch"
		check "$name: rustfmt" series_is_formatted
		check "$name: builds, with clippy and without a warning" series_builds
		check "$name: boots" series_boots
	done
	check 'series: W=1 and rustdoc' series_lints
	check 'series: htmldocs' series_htmldocs
	check 'series: the headers for programs' series_make -s headers
	check 'series: the selftests build' series_selftests
	console=$out/series-selftests/console
	# shellcheck disable=SC2016 # the guest's shell expands it
	series_guest "$console" --share "$out/series-selftests/install" -- sh -c '
		cat /sys/kernel/debug/kunit/rust_vfio_region/results
		modprobe vfio_pci_rust && cat /sys/kernel/debug/kunit/vfio_pci_rust_*/results
		"$1" -t vfio_pci_rust:feature_test -t vfio_pci_rust:token_test -t vfio_pci_rust:race_test' - \
		"$out/series-selftests/install/run_kselftest.sh" 2>&1 | count_tap series '[# ]*'
	check 'series: nothing wrong in the kernel log' log_is_clean "$console"
}
