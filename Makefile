# SPDX-License-Identifier: GPL-2.0-only
#
# The commands for people. What kbuild builds is in Kbuild.

lab := tools/lab/lab

# The kernel to build for outside of its tree, and where the result goes.
KDIR ?= /lib/modules/$(shell uname -r)/build
MO ?= $(CURDIR)/build
# The compiler of the kernel by default.
LLVM ?= $(shell grep -qs '^CONFIG_CC_IS_CLANG=y' $(KDIR)/.config && echo 1)
# A distribution's headers have neither the signing key nor the System.map that kbuild needs for depmod.
sign = $(if $(wildcard $(KDIR)/certs/signing_key.*),,CONFIG_MODULE_SIG_ALL=)
depmod = $(if $(wildcard $(KDIR)/System.map),,depmod $(if $(INSTALL_MOD_PATH),-b '$(INSTALL_MOD_PATH)') \
	'$(shell cat '$(KDIR)/include/config/kernel.release')')

# Where `make vfioctl_install` installs the tool and its files, below DESTDIR.
prefix ?= /usr/local
zsh_folder ?= $(prefix)/share/zsh/site-functions
vfioctl := $(CURDIR)/build/vfioctl
# The machine that it is built for, such as aarch64-unknown-linux-gnu, if it is another one than this.
RUST_TARGET ?=
for_target := $(vfioctl)$(if $(RUST_TARGET),/$(RUST_TARGET))
cargo = cargo $(1) --release --locked --manifest-path tools/vfioctl/Cargo.toml --target-dir '$(vfioctl)'

.PHONY: help demo check check-builds check-clients check-debug check-host check-series bench docs deb dkms modules modules_install \
	vfioctl vfioctl_install interfaces install-tree remove-tree series clean

help:
	@echo 'In the lab, as root, without any preparation:'
	@echo '  make demo            show the VF token on an SR-IOV card, step by step'
	@echo '  make demo ARCH=arm64 the same on an emulated arm64 machine'
	@echo '  make check           run all tests; make check PARTS="sources host" runs some of them'
	@echo '  make check ARCH=arm64         run those that an emulated arm64 machine can run'
	@echo '  make check-clients   run DPDK, QEMU and other programs on vfio-pci and on this driver'
	@echo '  make check-clients ARCH=arm64 run DPDK on an emulated arm64 machine'
	@echo '  make check-debug     test on a debug kernel: faults, load, races, leaks, fuzzing'
	@echo '  make check-builds    compile for kernels with other options: PREEMPT_RT, CFI, no IOMMUFD, ...'
	@echo '  make check-host      run the tests that need no kernel (needs cargo)'
	@echo '  make check-series    apply the series of patches one by one; build and boot each, test the last one'
	@echo '  make docs            build the documentation as HTML, in build/docs'
	@echo '  make bench           compare the cost of operations with vfio-pci, in instructions'
	@echo '  make bench KERNEL=test       the same on the lab'\''s kernel, with character devices'
	@echo '  make bench ARCH=arm64        the same on an emulated arm64 machine'
	@echo '  make bench WALL=1    the same in nanoseconds, for machines with KVM (VFIO_LAB_KVM=1)'
	@echo
	@echo 'For your own kernel:'
	@echo '  make install-tree KSRC=TREE   install the driver into a kernel tree'
	@echo '  make remove-tree KSRC=TREE    remove it again'
	@echo '  make series KSRC=TREE [OUT=FOLDER]   write the driver as patches for that tree, in build/series'
	@echo '  make modules [KDIR=BUILD]     build the module out of tree, in build/'
	@echo '  make modules_install          install that module (as root)'
	@echo '  make deb [PREBUILT=RELEASE]   build Debian packages in build/deb: DKMS, vfioctl, the module for RELEASE'
	@echo '  make deb ARCH=arm64           the same for arm64, cross-built'
	@echo '  make dkms                     register the sources with DKMS and build for the running kernel (as root)'
	@echo '  make vfioctl                  build vfioctl, in build/vfioctl (needs cargo and scdoc)'
	@echo '  make vfioctl_install [prefix=/usr/local]   install it with its man pages, completions and service (as root)'
	@echo '  make bench PF=ADDRESS         compare with vfio-pci on this machine, with that device'
	@echo '  make interfaces               list the kernel symbols that the module in build/ uses'
	@echo '  make clean                    remove build/'

demo:
	$(lab) run --kernel stock $(if $(ARCH),--arch '$(ARCH)') --cpus 1 --memory 1G -- $(CURDIR)/tools/lab/demo.py

check:
	tools/testing/check $(if $(ARCH),--arch '$(ARCH)') $(PARTS)

check-clients:
	tools/testing/check-clients $(if $(ARCH),--arch '$(ARCH)')

check-debug:
	tools/testing/check-debug

check-builds:
	tools/testing/check-builds

check-series:
	tools/testing/check series

bench:
	tools/bench/bench $(if $(KERNEL),--kernel '$(KERNEL)') $(if $(ARCH),--arch '$(ARCH)') $(if $(WALL),--wall) $(if $(PF),--host '$(PF)')

docs:
	$(lab) root --packages docs --out '$(CURDIR)/build/docs' \
		sphinx-build -E -W --keep-going -q -b html '$(CURDIR)/Documentation' '$(CURDIR)/build/docs'

deb:
	packaging/build-deb $(if $(ARCH),--arch '$(ARCH)') '$(CURDIR)/build/deb' '$(PREBUILT)'

dkms:
	packaging/install-dkms

check-host:
	cargo test --manifest-path tools/testing/host/Cargo.toml

modules modules_install:
	@test -e '$(KDIR)/Makefile' || { \
		echo "make: '$(KDIR)' is not a kernel's build directory: set KDIR to one that has CONFIG_RUST=y" >&2; exit 1; }
	@test '$@' = modules_install || grep -qs '^CONFIG_RUST=y' '$(KDIR)/.config' || { \
		echo "make: the kernel in '$(KDIR)' was configured without CONFIG_RUST=y, which this driver needs" >&2; exit 1; }
	@test '$@' = modules_install || test -e '$(KDIR)/rust/libkernel.rmeta' || { \
		echo "make: '$(KDIR)' has no Rust metadata (rust/libkernel.rmeta): make it with 'packaging/prepare-kernel RELEASE FOLDER', then set KDIR=FOLDER" >&2; exit 1; }
	@mkdir -p '$(MO)'
	+$(MAKE) -C '$(KDIR)' M='$(CURDIR)' MO='$(abspath $(MO))' $(if $(LLVM),LLVM=$(LLVM)) \
		CONFIG_VFIO_PCI_RUST=m $(sign) $@
	@$(if $(filter modules_install,$@),$(depmod))

vfioctl:
	$(call cargo,build) $(if $(RUST_TARGET),--target '$(RUST_TARGET)')
	$(call cargo,run) --quiet --example pages -- '$(for_target)/pages'
	scdoc <tools/vfioctl/vfioctl.toml.5.scd >'$(for_target)/pages/vfioctl.toml.5'

vfioctl_install:
	@test -e '$(for_target)/pages/vfioctl.toml.5' || { echo "make: there is no vfioctl yet: 'make vfioctl' first" >&2; exit 1; }
	install -D -t '$(DESTDIR)$(prefix)/sbin' '$(for_target)/release/vfioctl'
	install -D -m 644 -t '$(DESTDIR)$(prefix)/share/man/man8' '$(for_target)'/pages/*.8
	install -D -m 644 -t '$(DESTDIR)$(prefix)/share/man/man5' '$(for_target)'/pages/*.5
	install -D -m 644 '$(for_target)/pages/vfioctl.bash' '$(DESTDIR)$(prefix)/share/bash-completion/completions/vfioctl'
	install -D -m 644 -t '$(DESTDIR)$(prefix)/share/fish/vendor_completions.d' '$(for_target)/pages/vfioctl.fish'
	install -D -m 644 -t '$(DESTDIR)$(zsh_folder)' '$(for_target)/pages/_vfioctl'
	install -D -m 644 -t '$(DESTDIR)$(prefix)/lib/systemd/system' tools/vfioctl/vfioctl-apply.service

interfaces:
	@tools/interfaces '$(MO)'

series:
	@test -n '$(KSRC)' || { echo 'make: say which kernel tree: make $@ KSRC=TREE' >&2; exit 2; }
	tools/series/series '$(KSRC)' '$(or $(OUT),build/series)'

install-tree remove-tree:
	@test -n '$(KSRC)' || { echo 'make: KSRC is not set: run make $@ KSRC=TREE' >&2; exit 2; }
	tools/kernel-tree $(@:-tree=) '$(KSRC)'

clean:
	rm -rf build
