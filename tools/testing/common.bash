# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Code shared by the checks: counting, the kernel's log, builds, the kselftests.

# shellcheck disable=SC2034,SC2154 # the files that read this one use and set them

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$project" || exit 1
lab=$project/tools/lab/lab

# The architecture of the guests and their programs: amd64 or arm64. That of this machine, unless --arch says another.
host_arch=$(dpkg --print-architecture)
arch=$host_arch

# full_name KERNEL: its name in `lab status`.
full_name() { if [ "$arch" = amd64 ]; then echo "$1"; else echo "$1-$arch"; fi; }

# Further words for a kernel's make, which builds with LLVM for another architecture. Debian's kernels know their own
# compiler.
cross() { [ "$arch" = amd64 ] || [[ $build == */stock-* ]] || printf '%s\n' LLVM=1 "ARCH=$arch"; }

# ---- counting ------------------------------------------------------------------------------------

# The file of results, one per line: ok or not, the time in microseconds, the name. Parts that run at the same
# time add to the same file.
results=

now() { echo "${EPOCHREALTIME//[.,]/}"; }

# The latest time at which the test of the next result can have begun.
since=$(now)

# result STATUS NAME [LOG]: counts a test, and shows why it failed.
result() {
	local at verdict=ok why=
	at=$(now)
	if [ "$1" -ne 0 ]; then
		verdict='not ok'
		[ -z "${3-}" ] || why=$(printf '\n%s' '' && tail -n 40 "$3" | sed 's/^/    /')
	fi
	# In one call, as others print, too.
	printf '%s - %s%s\n' "$verdict" "$2" "$why"
	printf '%s\t%s\t%s\n' "$verdict" $((at - since)) "$2" >>"$results"
	since=$at
}

# check NAME COMMAND...: a test that passes if the command does.
check() {
	local name=$1 log=$out/log.$BASHPID
	shift
	since=$(now)
	"$@" >"$log" 2>&1
	result $? "$name" "$log"
}

# count_tap HARNESS PREFIX: counts the tests of a TAP output while it is printed, in lines that start with the
# prefix, a pattern without groups; if one fails, shows the lines since the previous test. A skipped test counts as
# failed, unless its reason matches the pattern `may_skip`: then it is reported, and not counted.
may_skip=nothing
count_tap() {
	local harness=$1 prefix=$2 log=$out/tap.$BASHPID line tests=0 left_out=0
	: >"$log"
	while IFS= read -r line; do
		line=${line%$'\r'}
		printf '%s\n' "$line" >>"$log"
		[[ $line =~ ^$prefix((not )?ok [0-9]+ (.*)) ]] || continue
		tests=$((tests + 1))
		line=${BASH_REMATCH[1]}
		case $line in
		*'# SKIP'*)
			if [[ $line =~ '# SKIP '($may_skip)$ ]]; then left_out=$((left_out + 1)); else result 1 "$harness: $line"; fi ;;
		'not ok'*) result 1 "$harness: ${BASH_REMATCH[3]}" "$log" ;;
		*) result 0 "$harness: ${BASH_REMATCH[3]}" ;;
		esac
		: >"$log"
	done
	[ "$left_out" -eq 0 ] || echo "# $harness: $left_out tests skipped, which cannot run there"
	[ "$tests" -gt "$left_out" ]
	result $? "$harness ran" "$log"
}

count() { grep -c "^$1"$'\t' "$results"; }

seconds() { printf '%d.%d s' $(($1 / 1000000)) $(($1 / 100000 % 10)); }

finish() {
	local verdict took name
	echo '# what took longest'
	sort -t $'\t' -k 2,2nr "$results" | head -n 10 | while IFS=$'\t' read -r verdict took name; do
		printf '#%10s  %s\n' "$(seconds "$took")" "$name"
	done
	echo "$(count ok) passed, $(count 'not ok') failed"
	[ "$(count 'not ok')" -eq 0 ] && [ "$(count ok)" -gt 0 ]
}

# ---- the kernel's log ----------------------------------------------------------------------------

# reports LOG: the lines in which the kernel reports a problem of its own.
reports() {
	grep -aE 'WARNING:|BUG:|Oops|UBSAN:|KASAN:|possible (recursive|circular) locking|inconsistent lock state|refcount_t:|unreferenced object|rust_kernel: panicked|panicked at|ODEBUG:|BUG [a-z]|INFO: task|corruption' "$1"
}

# has_worked LOG: a VFIO driver had a device there. The log of a guest in which nothing ran is clean, too, but
# proves nothing.
has_worked() {
	grep -qaE 'vfio-pci(-rust)? [0-9a-f]{4}:[0-9a-f]{2}:' "$1" && return
	echo "no VFIO driver had a device, so nothing was tested: $1"
	return 1
}

log_is_clean() {
	has_worked "$1" && ! reports "$1" && ! grep -aE 'Call Trace|cut here' "$1"
}

# ---- builds and guests ---------------------------------------------------------------------------

# start KERNEL: sets `source`, `build` and `out`, a directory that is removed at the end.
start() {
	local status
	status=$("$lab" status)
	field() { sed -n "s/^$1: //p" <<<"$status"; }
	source=$(field source)
	build=$(field "build-$(full_name "$1")")
	out=$(mktemp -d "$(field lab)/check.XXXXXX") || exit 1
	trap 'rm -rf "$out"' EXIT
	results=$out/results
	: >"$results"
}

build_selftests() {
	local words
	mapfile -t words < <(cross)
	[ ${#words[@]} -eq 0 ] || words+=(LDFLAGS=-fuse-ld=lld)
	mkdir -p "$out/selftests"
	"$lab" root --out "$out/selftests" make -j"$(nproc)" -C "$source/tools/testing/selftests" \
		TARGETS=vfio_pci_rust O="$out/selftests/build" INSTALL_PATH="$out/selftests/install" \
		KHDR_INCLUDES="-isystem $build/usr/include" "${words[@]}" install >"$out/selftests/log" 2>&1
	cat "$out/selftests/log"
	! grep -q 'warning:' "$out/selftests/log" && [ -x "$out/selftests/install/run_kselftest.sh" ]
}

# has_none PATTERN FILE...: the files are readable, and no line matches.
has_none() {
	grep -nE -- "$@"
	[ $? -eq 1 ]
}

# build DIR MAKE-ARGUMENT...: builds the module out of tree, in $out/DIR, without a warning.
build() {
	local folder=$out/$1 words
	shift
	mapfile -t words < <(cross)
	mkdir -p "$folder"
	"$lab" root --out "$folder" make modules KDIR="$build" MO="$folder" "${words[@]}" "$@" >"$folder/log" 2>&1 || {
		cat "$folder/log"
		return 1
	}
	cat "$folder/log"
	has_none 'warning|^WARNING' "$folder/log" && [ -f "$folder/vfio-pci-rust.ko" ]
}

# guest KERNEL NAME COMMAND...: counts the tests of the kselftests and of KUnit in the output of the command, in a
# guest with that kernel. If `repeat` is set, the timeout is so many times as long. The first devices are those
# that the tests look for. The output is also written to the file `transcript`.
more_devices=()
transcript=/dev/null
guest() {
	local kernel=$1 name=$2 console=$out/$arch-$1.$BASHPID.console
	shift 2
	"$lab" run --arch "$arch" --kernel "$kernel" --memory 1G --timeout $((1800 * ${repeat:-1})) \
		--device igb --device nvme --device igb --device vga "${more_devices[@]}" \
		--share "$out/selftests/install" --monitor --log "$console" -- "$@" 2>&1 |
		tee "$transcript" |
		# The kselftests' runner comments out what its programs print.
		count_tap "$name" '[# ]*'
	check "$name: the guest came to its end" grep -a 'script returned' "$console"
	check "$name: nothing wrong in the kernel log" log_is_clean "$console"
}

# The options for the card of igd_test. The machine has 128 MB of its memory above 4 GB, so that huge pages come from
# both places.
igd_card=(--memory 3G --append mem=4224M --device card=tools/lab/card/cards/igd.toml)

# quirky_cards: sets `quirky` to the options for the cards of cards_test: those with a quirk, the example with every
# key, and each device on the denylist, whose VFs differ from their PFs only in the device ID.
quirky_cards() {
	local card vf folder=tools/lab/card/cards
	quirky=()
	for card in noreset oddbar nodisintx nointxmask hiddenintx vanishes example qat-c3xxx qat-c62x qat-dh895xcc dsa iax; do
		quirky+=(--device "card=$folder/$card.toml")
	done
	for vf in qat-c3xxx=0x19e3 qat-c62x=0x37c9 qat-dh895xcc=0x0443; do
		sed "s/^device = .*/device = ${vf#*=}/" "$folder/${vf%=*}.toml" >"$out/${vf%=*}-vf.toml"
		quirky+=(--device "card=$out/${vf%=*}-vf.toml")
	done
}
