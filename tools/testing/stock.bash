# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The parts of `check` for the kernels of a distribution.

# shellcheck disable=SC2034,SC2154 # check and common.bash use and set them

# shellcheck source=../../packaging/kernels.bash
. "$project/packaging/kernels.bash"

# ---- which kernels ---------------------------------------------------------------------------------

# A kernel tree that consists only of the version.
old_tree() {
	local tree=$out/old
	mkdir -p "$tree/drivers/vfio/pci"
	touch "$tree/drivers/vfio/pci/Makefile"
	printf 'VERSION = 7\nPATCHLEVEL = 1\n' >"$tree/Makefile"
	says 2 "needs $oldest or newer" make install-tree KSRC="$tree"
}

# refused REASON MAJOR MINOR SED-SCRIPT: prepare-kernel refuses a kernel with this reason. The script changes its
# headers, which are faked.
# shellcheck disable=SC2016 # the root's shell expands it
refused() {
	local reason=$1
	shift
	says 77 "$reason" "$lab" root --packages stock sh -ec '
		mount -t tmpfs tmpfs /lib/modules
		build=/lib/modules/made-up/build
		version=include/generated/uapi/linux/version.h
		mkdir -p $build/${version%/*}
		printf "#define LINUX_VERSION_MAJOR %s\n#define LINUX_VERSION_PATCHLEVEL %s\n" $1 $2 >$build/$version
		printf "CONFIG_RUST=y\nCONFIG_VFIO_PCI_CORE=m\nCONFIG_RUSTC_VERSION_TEXT=\"%s\"\n" "$(rustc --version)" >$build/.config
		sed -i "$3" $build/.config
		packaging/prepare-kernel --check made-up' - "$@"
}

kernels() {
	local minor=${newest#*.}
	check 'install-tree: refuses a kernel that is too old' old_tree
	check 'prepare-kernel: refuses a kernel that is too old' refused 'too old' 7 1 ''
	check 'prepare-kernel: refuses a kernel that is too new' refused 'has not been tested' 7 $((minor + 1)) ''
	check 'prepare-kernel: refuses a kernel without Rust' refused 'without Rust' 7 "$minor" '/CONFIG_RUST=/d'
	check 'prepare-kernel: refuses a kernel without VFIO' refused 'without VFIO' 7 "$minor" '/VFIO/d'
	check 'prepare-kernel: refuses another rustc, and says which to install' \
		refused 'install that version (on Debian: rustc, without rustc-web' 7 "$minor" 's/rustc .*"/rustc 1.0"/'
	check "prepare-kernel: makes metadata of Debian's kernels only" refused 'no Rust metadata' 7 "$minor" ''
	check 'prepare-kernel: says that headers are missing' \
		says 77 'install linux-headers-none' "$lab" root --packages stock packaging/prepare-kernel --check none
}

# ---- the kselftests ----------------------------------------------------------------------------------

# stock_selftests KERNEL NAME PROGRAM...: the same programs as on the test kernel, but less of what is random or
# repeated, and without what needs an iommufd.
stock_selftests() {
	local kernel=$1 test=$2 name programs=()
	for name in "${@:3}"; do programs+=(-t "vfio_pci_rust:$name"); done
	may_skip='the kernel has no iommufd' guest "$kernel" "$test" env VFIO_PCI_RUST_OPERATIONS=500 VFIO_PCI_RUST_CALLS=20000 \
		VFIO_PCI_RUST_INDICES=500 "$out/selftests/install/run_kselftest.sh" "${programs[@]}"
}

stock_tokens() {
	check 'stock: the kernel has no iommufd' lab_kernel_has "stock-$newest" '# CONFIG_IOMMUFD is not set'
	stock_selftests "stock-$newest" stock "${programs_tokens[@]}"
}

stock_life() {
	local programs
	mapfile -t programs < <(programs_life)
	stock_selftests "stock-$newest" stock "${programs[@]}"
	check "stock: make demo's story on Linux $oldest" \
		says 0 'Every answer was the expected one' "$lab" run --arch "$arch" --kernel "stock-$oldest" -- tools/lab/demo.py
}

# A kernel with pages of 16 KB, which Debian has for arm64: what may depend on the size of a page.
stock_16k() {
	local kernel=stock-$newest-16k
	check 'stock-16k: the kernel has pages of 16 KB' lab_kernel_has "$kernel" CONFIG_ARM64_16K_PAGES=y
	stock_selftests "$kernel" stock-16k feature_test token_test device_test compare_test
	check "stock-16k: make demo's story" \
		says 0 'Every answer was the expected one' "$lab" run --arch "$arch" --kernel "$kernel" -- tools/lab/demo.py
}

# lab_kernel_has KERNEL LINE: the configuration of one of Debian's kernels.
lab_kernel_has() {
	local release
	"$lab" up --arch "$arch" --kernel "$1" && release=$(release_of "$(full_name "$1")") &&
		"$lab" root --packages stock grep -x "$2" "/usr/lib/modules/$release/config"
}

release_of() { "$lab" status | sed -n "s/^release-$1: //p"; }

# ---- arm64 -----------------------------------------------------------------------------------------

# The headers for programs, of which some depend on the architecture.
arm64_headers() { "$lab" root --out "$build" make -C "$source" O="$build" ARCH=arm64 headers; }

# What tells soonest that something is wrong there: --arch arm64 has the rest, and a kernel of its own for that. What
# is built comes from cross compilers, the machine is emulated.
# shellcheck disable=SC2016 # the guest's shell expands it
arm64() {
	local arch=arm64 out=$out/arm64 build=${build%/*}/stock-$newest-arm64/kernel version console
	mkdir "$out"
	check 'arm64: build outside of the tree, W=1' build w1 W=1
	build=$out/selftests/headers
	check 'arm64: headers for programs' arm64_headers
	check 'arm64: selftests build' build_selftests
	stock_selftests "stock-$newest" arm64 feature_test token_test
	for version in "$newest" "$oldest"; do
		console=$out/arm64-$version.console
		check "arm64: make demo's story on Linux $version" says 0 'Every answer was the expected one' \
			"$lab" run --arch arm64 --kernel "stock-$version" --cpus 1 --memory 1G --log "$console" -- \
			sh -ec 'test "$(uname -m)" = aarch64; exec tools/lab/demo.py'
		check "arm64: nothing wrong in the log of Linux $version" log_is_clean "$console"
	done
	check 'arm64: the packages are cross-built, and lintian finds nothing' \
		packaging/build-deb "$out/deb" "$(release_of "stock-$newest-arm64")"
	check "arm64: a package for one architecture does not take another one's kernel" says 1 'is not for amd64' \
		packaging/build-deb --arch amd64 "$out/deb" "$(release_of "stock-$newest-arm64")"
	check 'arm64: a package for a kernel that backports does not have (any more)' says 1 "has no kernel $newest.0" \
		packaging/build-deb "$out/deb" "$newest.0+deb13-arm64"
	check 'arm64: a package for what is no kernel of Debian' says 1 'such as 7.3.4' packaging/build-deb "$out/deb" "$newest"
	check 'arm64: the module and the vfioctl of the packages make VFs with a token' use_cross_built
	check 'arm64: says which kernels are there' says 2 "not 'rt'" "$lab" run --arch arm64 --kernel rt -- true
	check 'arm64: says that there is no other architecture' says 2 'amd64 or arm64' "$lab" up --arch riscv64 --kernel stock
}

# In the guest the packages are only unpacked.
# shellcheck disable=SC2016 # the guest's shell expands it
use_cross_built() {
	local package
	for package in "$out"/deb/*_arm64.deb; do dpkg-deb --extract "$package" "$out/unpacked" || return; done
	"$lab" run --arch arm64 --kernel "stock-$newest" --cpus 1 --memory 1G --share "$out/unpacked" -- sh -ec '
		PATH=$0/usr/sbin:$PATH
		modprobe vfio-pci-core
		insmod "$0"/usr/lib/modules/"$(uname -r)"/updates/vfio-pci-rust.ko takeover=1
		(umask 077 && cat /proc/sys/kernel/random/uuid >/run/card.token)
		sed "s|/etc/vfioctl|/run|" "$0/usr/share/doc/vfioctl/examples/dpdk-pf.toml" >/run/card.toml
		vfioctl apply /run/card.toml
		vfioctl list
		vfioctl doctor 0000:01:10.0 --file /run/card.token
		! cat /proc/sys/kernel/random/uuid | vfioctl token check 0000:01:10.0 --file -' "$out/unpacked"
}

# ---- the packages --------------------------------------------------------------------------------------

# make_machine [PACKAGE]...: creates an ordinary Debian, with the kernel of that release, except for what takes
# minutes: dpkg does not wait for the disk, and modules that a guest has no use for are left out, as depmod
# decompresses all of them several times.
make_machine() {
	local folder
	make_bare_machine || return
	for folder in sound drivers/{gpu,iio,infiniband,media,net/wireless,scsi,usb}; do
		echo "path-exclude=/usr/lib/modules/*/kernel/$folder/*"
	done >>"$machine/etc/dpkg/dpkg.cfg.d/lab"
	install_kernel "$release" "$@"
}

# make_bare_machine [PACKAGE]...: the same without a kernel.
make_bare_machine() {
	bash -c '. tools/lab/common.bash; . tools/lab/up.bash; make_debian "$@"' - "$machine" --architectures="$arch" --skip=check/qemu &&
		cp -L /etc/resolv.conf /etc/hosts "$machine/etc/" &&
		echo force-unsafe-io >"$machine/etc/dpkg/dpkg.cfg.d/lab" &&
		on_machine apt-get update && { [ $# -eq 0 ] || apt_install "$@"; }
}

# As on any machine, its root is a mount.
# shellcheck disable=SC2016 # that shell expands it
on_machine() {
	unshare --mount --pid --fork --kill-child --mount-proc sh -c 'mount --bind "$0" "$0" && exec tools/lab/enter "$0" "$@"' \
		"$machine" --ro "$packages" -- "$@"
}

apt_install() { on_machine apt-get install -y --no-install-recommends "$@"; }

# install_kernel RELEASE [PACKAGE]...
install_kernel() { apt_install linux-headers-"$1" linux-binary-"$1" linux-modules-"$1" "${@:2}"; }

install_package() {
	apt_install "$packages/$1"_*.deb || {
		cat "$machine"/var/lib/dkms/*/*/build/make.log
		return 1
	}
}

# Uses the module that DKMS has built, in its kernel.
# shellcheck disable=SC2016 # the guest's shell expands it
use_package() {
	"$lab" run --arch "$arch" --kernel "stock-$newest" --share "$machine" -- sh -ec '
		for folder in proc sys dev; do mount --bind /$folder "$0/$folder"; done
		chroot "$0" modinfo -n vfio_pci_rust
		chroot "$0" modprobe vfio_pci_rust
		tools/lab/demo.py' "$machine"
}

# An initramfs created by Debian's tools, which also has the driver of two equal cards, and what the user guide puts
# into modprobe.d to bind the first card at boot. It mounts the lab's root, in which no file names a device. A second
# one without these settings mounts the machine itself, where everything that is written is lost with the guest.
# shellcheck disable=SC2016 # the initramfs expands it
make_initramfs() {
	local choice=$machine/etc/modprobe.d/early.conf
	sed -n 's/^  \(options vfio_pci_rust devices=.*\|softdep .*\)/\1/p' Documentation/user-guide.rst >"$choice" &&
		printf '%s\n' igb 9p 9pnet_virtio overlay >>"$machine/etc/initramfs-tools/modules" &&
		sed -i 's/^MODULES=.*/MODULES=list/' "$machine/etc/initramfs-tools/initramfs.conf" &&
		echo 'mountroot() { mount -t 9p -r $ROOTFLAGS /dev/root "$rootmnt"; }' \
			>"$machine/usr/share/initramfs-tools/scripts/lab" &&
		on_machine mkinitramfs -o /boot/early "$release" &&
		rm "$choice" &&
		sed "s|MACHINE|$machine|" >"$machine/usr/share/initramfs-tools/scripts/lab" <<-'END' &&
			mountroot() {
				mkdir /lab /written
				mount -t 9p -r $ROOTFLAGS /dev/root /lab
				mount -t tmpfs tmpfs /written
				mkdir /written/upper /written/work
				mount -t overlay -o lowerdir=/labMACHINE,upperdir=/written/upper,workdir=/written/work overlay "$rootmnt"
			}
		END
		on_machine mkinitramfs -o /boot/machine "$release"
}

# shellcheck disable=SC2016 # the guest's shell expands it
use_initramfs() {
	"$lab" run --kernel "stock-$newest" --initramfs "$machine/boot/early" --append boot=lab \
		--device igb --device igb -- sh -ec '
		cd /sys/bus/pci/devices
		for driver in 0000:0[12]:00.0/driver; do basename "$(readlink "$driver")"; done | xargs'
}

# ---- the package of vfioctl ----------------------------------------------------------------------------

# shellcheck disable=SC2016 # the machine's shell expands it
has_pages() {
	on_machine sh -ec 'for page in vfioctl vfioctl-token-set vfioctl-apply vfioctl.toml; do
		man --warnings --local-file "$(man --where "$page")" 2>&1 >/dev/null | { ! grep .; }
	done'
}

# As bash-completion does when a user presses the tab key.
# shellcheck disable=SC2016 # the machine's shell expands it
completes() {
	says 0 'check set withdraw' on_machine bash -ec '. /usr/share/bash-completion/bash_completion
		_comp_load vfioctl || _completion_loader vfioctl
		COMP_WORDS=(vfioctl token "")
		COMP_CWORD=2
		_vfioctl vfioctl "" token
		printf "%s\n" "${COMPREPLY[@]}" | grep -v -e - -e help | sort | xargs'
}

# Configures vfioctl with the example for DPDK, and modprobe with the lines in it, and adds a service that checks the
# result when the machine boots.
configure_vfioctl() {
	local etc=$machine/etc example=$machine/usr/share/doc/vfioctl/examples/dpdk-pf.toml
	mkdir "$etc/vfioctl.d" "$etc/vfioctl" &&
		sed 's/^vfs = .*/vfs = 2/' "$example" >"$etc/vfioctl.d/card.toml" &&
		sed -nE 's/^# +((options|alias) )/\1/p' "$example" >"$etc/modprobe.d/dpdk.conf" &&
		install -m 600 /dev/null "$etc/vfioctl/card.token" &&
		on_machine uuidgen >"$etc/vfioctl/card.token" &&
		install tools/testing/boot-guest "$machine/usr/local/sbin" &&
		printf '%s\n' '[Service]' 'ExecStart=boot-guest /etc/vfioctl/card.token' >"$etc/systemd/system/boot-guest.service" &&
		ln -s ../boot-guest.service "$etc/systemd/system/multi-user.target.wants/"
}

# The machine boots as on real hardware, with systemd from Debian's initramfs. Other messages of it do not matter.
boot_machine() {
	"$lab" run --kernel "stock-$newest" --initramfs "$machine/boot/machine" --append boot=lab --append init=/sbin/init \
		--timeout 1800 --share "$machine" --device igb --device igb --log "$out/boot.console" -- true
}

# The files of the package are gone, and those that the user has written are not.
# shellcheck disable=SC2016 # the machine's shell expands it
purge_vfioctl() {
	local left
	on_machine apt-get purge -y vfioctl && ! grep 'Package: vfioctl' "$machine/var/lib/dpkg/status" || return
	left=$(on_machine sh -c 'find / -xdev -path "$0" -prune -o -name "*vfioctl*" -print | sort | xargs' "${out%/*}")
	echo "there are: $left"
	[ "$left" = '/etc/vfioctl /etc/vfioctl.d' ] && [ -s "$machine/etc/vfioctl/card.token" ] && [ -s "$machine/etc/vfioctl.d/card.toml" ]
}

# Everything from the packages is gone: files, modules, and their entries of depmod.
purge_package() {
	on_machine apt-get purge -y "$1" || return
	nothing_left "$release" && ! grep vfio-pci-rust "$machine/var/lib/dpkg/status"
}

# nothing_left RELEASE: neither a file nor an entry of depmod.
nothing_left() {
	local left
	# Except for the directory that had the packages, whose name may be like theirs.
	left=$(on_machine find / -xdev -path "${out%/*}" -prune -o \
		\( -name '*vfio-pci-rust*' -o -name '*vfio_pci_rust*' \) -print) || return
	[ -z "$left" ] || { echo "left behind: $left"; return 1; }
	! grep -r vfio-pci-rust "$machine/lib/modules/$1"/modules.*
}

package() {
	local machine=$out/machine packages=$out/deb release
	"$lab" up --kernel "stock-$newest" || return
	release=$(release_of "stock-$newest")
	check 'package: make deb, and lintian finds nothing' packaging/build-deb "$packages" "$release"
	check 'package: a clean Debian with the kernel' make_machine linux-headers-amd64 initramfs-tools-core \
		systemd-sysv udev uuid-runtime man-db bash-completion pci.ids
	check 'package: apt installs it, DKMS builds for the kernel' \
		says 0 "Installing /lib/modules/$release/updates/dkms/vfio-pci-rust.ko" install_package vfio-pci-rust-dkms
	check 'package: a kernel that is too old is skipped' \
		says 77 'is too old' on_machine dkms install "$(on_machine dkms status vfio-pci-rust | sed 's/[,:].*//')" \
		-k "$(basename "$machine"/lib/modules/6.12.*)"
	check 'package: the module of the package is used' says 0 "updates/dkms/vfio-pci-rust.ko" use_package
	check 'package: mkinitramfs takes the module with it' make_initramfs
	check 'package: from the initramfs one of two cards of a kind is taken' says 0 'vfio-pci-rust igb' use_initramfs
	check 'package: apt installs vfioctl' install_package vfioctl
	check 'package: man finds its pages' has_pages
	check 'package: bash completes its words' completes
	check 'package: a configuration for the next boot' configure_vfioctl
	boot_machine 2>&1 | count_tap package ''
	check 'package: nothing wrong in the log of that boot' log_is_clean "$out/boot.console"
	check 'package: nothing is left of vfioctl after a purge but what people wrote' purge_vfioctl
	check 'package: nothing is left after a purge' purge_package vfio-pci-rust-dkms
	check 'package: one with a module for a release' install_package "vfio-pci-rust-modules-$release"
	check 'package: the module of that is found' \
		says 0 "updates/vfio-pci-rust.ko" on_machine modinfo -k "$release" -n vfio_pci_rust
	check 'package: nothing is left of that, either' purge_package "vfio-pci-rust-modules-$release"
}

# ---- the package on arm64 ------------------------------------------------------------------------------

# emulation on|off: lets this machine run programs for arm64, if it does not yet. The kernel opens the interpreter now,
# so it is then the same in every root. Where the file system of such entries is not mounted on the machine, they go
# with the last mount.
emulated=
mounted=
emulation() {
	local entries=/proc/sys/fs/binfmt_misc
	case $1 in
	on)
		[ "$host_arch" != arm64 ] && ! [ -e $entries/qemu-aarch64 ] || return 0
		mountpoint -q $entries || { mount -t binfmt_misc binfmt_misc $entries && mounted=yes; } || return
		emulated=yes
		"$lab" root --packages qemu-user sh -ec "mount -t binfmt_misc binfmt_misc $entries
			cat /usr/lib/binfmt.d/qemu-aarch64.conf >$entries/register" ;;
	off)
		[ ! "$emulated" ] || echo -1 >$entries/qemu-aarch64
		[ ! "$mounted" ] || umount $entries ;;
	esac
}

# A Debian for arm64, whose programs this machine emulates without a guest, compiles the metadata and the module.
native_package() {
	local machine=$out/native-machine packages=$out/native release
	release=$(release_of "stock-$newest-arm64")
	check 'native-package: make deb' packaging/build-deb "$packages"
	check 'native-package: a clean Debian with the kernel' make_machine
	check 'native-package: apt installs it, DKMS builds for the kernel' \
		says 0 "Installing /lib/modules/$release/updates/dkms/vfio-pci-rust.ko" install_package vfio-pci-rust-dkms
	check 'native-package: the module of the package is used' says 0 "updates/dkms/vfio-pci-rust.ko" use_package
	check 'native-package: nothing is left after a purge' purge_package vfio-pci-rust-dkms
}

# The lab on a machine that is not amd64, with nothing but git and make: a clone of what is committed.
native_lab() {
	local machine=$out/native-lab packages=$out/native-clone
	check 'native-lab: a clone' git clone -q "$project" "$packages"
	check 'native-lab: a clean Debian' make_bare_machine git make mount
	check 'native-lab: the story on a kernel of Debian, from nothing' \
		says 0 'Every answer was the expected one' on_machine "$packages/tools/lab/lab" run --kernel stock --cpus 1 --memory 1G \
		--timeout 3600 -- "$packages/tools/lab/demo.py"
	check 'native-lab: says that it has no machine for amd64' \
		says 2 'works on x86-64 machines only' on_machine "$packages/tools/lab/lab" up --arch amd64
}

# ---- upgrades ---------------------------------------------------------------------------------------------

# Builds packages of these sources, and of the same with a later version.
build_two() {
	local copy=$out/next name=packaging/debian/changelog
	packaging/build-deb "$packages" && mkdir "$copy" && copy_folders "$copy" tools packaging Documentation README.md Makefile && copy_kernel_files "$copy" &&
		sed -i '1s/(.*)/(9.9)/' "$copy/$name" && ! cmp "$copy/$name" "$name" &&
		"$copy/packaging/build-deb" "$packages/next"
}

# built_for RELEASE: the module that DKMS has built for it, as "package/version".
built_for() { on_machine dkms status -k "$1" | sed -n 's/,.*: installed.*//p'; }

# is_built VERSION RELEASE...: it is built for all of these, in only this version, and modprobe finds it.
is_built() {
	local version=$1 kernel
	for kernel in "${@:2}"; do
		[ "$(built_for "$kernel")" = "vfio-pci-rust/$version" ] || { on_machine dkms status; return 1; }
		says 0 updates/dkms/vfio-pci-rust.ko on_machine modinfo -k "$kernel" -n vfio_pci_rust || return
	done
}

# The headers of the newer kernel are installed before its source.
kernel_is_upgraded() {
	says 0 "linux-source-$newest is missing" install_kernel "$new" "linux-image-$new" &&
		[ -z "$(built_for "$new")" ] &&
		apt_install "linux-source-$newest" &&
		is_built "$version" "$release" "$new"
}

kernel_is_removed() {
	[ -e "$machine/lib/modules/$release/updates" ] &&
		on_machine apt-get purge -y "linux-headers-$release" "linux-image-$release" "linux-binary-$release" \
			"linux-modules-$release" &&
		[ -z "$(built_for "$release")" ] &&
		[ ! -e "$machine/lib/modules/$release/updates" ]
}

package_is_upgraded() {
	apt_install "$packages"/next/vfio-pci-rust-dkms_*.deb &&
		is_built 9.9 "$new" &&
		[ "$(on_machine sh -c 'cd /usr/src && ls -d vfio-pci-rust-*')" = vfio-pci-rust-9.9 ]
}

# Removes it in a machine that seems to run that kernel.
install_by_make() {
	printf '#!/bin/sh\n[ "$*" = -r ] || exec /usr/bin/uname "$@"\necho %s\n' "$new" >"$machine/usr/local/bin/uname" &&
		chmod +x "$machine/usr/local/bin/uname" &&
		cp -r "$out/next" "$machine/srv/project" &&
		cp packaging/debian/changelog "$machine/srv/project/packaging/debian/" &&
		on_machine make -C /srv/project dkms &&
		is_built "$version" "$new"
}

removed_by_dkms() {
	on_machine dkms remove "vfio-pci-rust/$version" --all &&
		rm -r "$machine/srv/project" "$machine/usr/src/vfio-pci-rust-$version" &&
		nothing_left "$new"
}

upgrades() {
	local machine=$out/machine packages=$out/deb release new version
	"$lab" up --kernel "stock-$newest" && "$lab" up --kernel "stock-$oldest" || return
	release=$(release_of "stock-$oldest")
	new=$(release_of "stock-$newest")
	version=$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
	check 'upgrades: packages of two versions' build_two
	# The usual kernel package: linux-image informs DKMS when it is removed.
	check "upgrades: a clean Debian with Linux $oldest" \
		make_machine "linux-image-$release" linux-base/trixie-backports "linux-source-$oldest" initramfs-tools
	check 'upgrades: apt installs it' install_package vfio-pci-rust-dkms
	check 'upgrades: DKMS has built it' is_built "$version" "$release"
	check "upgrades: Linux $newest comes, and then its source" kernel_is_upgraded
	check "upgrades: Linux $oldest goes, and its module with it" kernel_is_removed
	release=$new
	check 'upgrades: a new version takes the place of the old one' package_is_upgraded
	check 'upgrades: nothing is left after a purge' purge_package vfio-pci-rust-dkms
	check 'upgrades: make dkms' install_by_make
	check 'upgrades: nothing is left of that, either' removed_by_dkms
}
