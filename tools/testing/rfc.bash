# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The part `rfc` of `check`: what tools/series/rfc does to vfio-pci, and that the patches are fit to be sent.

# shellcheck disable=SC2034,SC2154,SC2317 # the files that read this one use and set them

rfc_patches=(tools/series/rfc/*.patch)

# rfc_tree FOLDER: a repository of the files that the patches change, as the kernel's source has them.
rfc_tree() {
	local name
	git init --quiet "$1" || return
	git -C "$1" config user.name check && git -C "$1" config user.email check@localhost || return
	git apply --numstat "${rfc_patches[@]}" | cut -f 3 | sort -u | while read -r name; do
		install -D -m 644 "$source/$name" "$1/$name" || exit
	done && git -C "$1" add . && git -C "$1" commit --quiet --message=before
}

rfc_checkpatch() {
	"$lab" root perl "$source/scripts/checkpatch.pl" --no-tree --strict --terse --no-summary "${rfc_patches[@]/#/$project/}"
}

# rfc_lay_in TREE: what is there becomes a part of the patched lab, which has to build its kernel anew.
rfc_lay_in() {
	mkdir -p "$PATCHED_LAB"/upper/{linux,stamp} &&
		git -C "$1" archive HEAD | tar -x -m -C "$PATCHED_LAB/upper/linux" &&
		: >"$PATCHED_LAB/upper/stamp/kernel-test"
}

# rfc_build TREE PATCH FOLDER: applies it, and compiles the core alone.
rfc_build() {
	git -C "$1" am --quiet "$project/$2" && rfc_lay_in "$1" && mkdir "$3" || return
	tools/testing/patched-lab root --out "$3" make -C "$build" M="$source/drivers/vfio/pci" MO="$3" LLVM=1 W=1 \
		vfio_pci_core.o >"$3/log" 2>&1 || { cat "$3/log"; return 1; }
	has_none 'warning|^WARNING' "$3/log" && [ -f "$3/vfio_pci_core.o" ]
}

# stale_openings TRANSCRIPT: of vfio-pci, "N of M".
stale_openings() {
	awk '/, PF vfio-pci, VF vfio-pci: / { sub(/.*VF opened in /, ""); opened += $1; its = 1 }
		/stale in / && its { sub(/.*stale in /, ""); stale += $1; its = 0 }
		END { print stale + 0, "of", opened + 0 }' "$1"
}

none_is_left() { [ "${1% of *}" -gt 0 ] && [ "${2% of *}" -eq 0 ] && [ "${2#* of }" -gt 0 ]; }

# What vfio-pci answers with the patches that it does not answer without.
rfc_deviations() {
	sed -i '/^"set-with-open-vf"/s/"OK"/"EBUSY"/; /^"stale-open"/s/"OK"/"EACCES"/' "$1" &&
		[ "$(diff "$1" Documentation/deviations.csv | grep -c '^<')" -eq 2 ]
}

rfc() {
	local -x PATCHED_LAB
	local common=$out patch before after transcript
	mkdir -p build && PATCHED_LAB=$(mktemp -d "$project/build/rfc.XXXXXX") || return
	# shellcheck disable=SC2064 # as it is now
	trap "rm -rf '$PATCHED_LAB'" EXIT
	# What is written in the lab does not come out of its copy.
	local out=$PATCHED_LAB/out
	mkdir "$out" && cp -a "$common/selftests" "$out" || return

	check 'rfc: checkpatch --strict' rfc_checkpatch
	check 'rfc: the files that the patches change' rfc_tree "$out/tree"
	for patch in "${rfc_patches[@]}"; do
		check "rfc: ${patch##*/}: git am, W=1" rfc_build "$out/tree" "$patch" "$out/${patch##*/}"
	done
	check 'rfc: a kernel with the patches' tools/testing/patched-lab up

	transcript=$out/before
	guest test 'rfc, without the patches' "$out/selftests/install/vfio_pci_rust/race_test" -v c_group -v c_cdev
	before=$(stale_openings "$transcript")

	check 'rfc: answers that are other ones' rfc_deviations "$out/selftests/install/vfio_pci_rust/deviations.csv"
	transcript=$out/after
	local lab=$project/tools/testing/patched-lab
	guest test 'rfc, with the patches' env VFIO_PCI_RUST_RFC=1 VFIO_PCI_RUST_INDICES=1000 \
		"$out/selftests/install/run_kselftest.sh" -t vfio_pci_rust:race_test -t vfio_pci_rust:token_test \
		-t vfio_pci_rust:feature_test -t vfio_pci_rust:compare_test
	after=$(stale_openings "$transcript")
	check "rfc: stale openings of vfio-pci: $before without the patches, $after with them" \
		none_is_left "$before" "$after"
}
