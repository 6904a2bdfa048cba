# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What `check` and `check-debug` share: counting, and the kselftests.

# shellcheck disable=SC2034,SC2154 # the files that read this one use and set them

project=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$project" || exit 1
lab=$project/tools/lab/lab

passed=0
failed=0

# result STATUS NAME [LOG]: counts a test, and shows why it failed.
result() {
	if [ "$1" -eq 0 ]; then
		passed=$((passed + 1))
		echo "ok - $2"
	else
		failed=$((failed + 1))
		echo "not ok - $2"
		[ -z "${3-}" ] || { tail -n 40 "$3" | sed 's/^/    /'; }
	fi
}

# check NAME COMMAND...: a test that passes if the command does.
check() {
	local name=$1 log=$out/log
	shift
	"$@" >"$log" 2>&1
	result $? "$name" "$log"
}

# count_tap HARNESS PREFIX LOG: counts the tests of a TAP output, in lines that start with a prefix.
# Whatever is skipped has not been shown to work.
count_tap() {
	local harness=$1 prefix=$2 log=$3 line tests=0
	while read -r line; do
		tests=$((tests + 1))
		case $line in
		*'# SKIP'*) result 1 "$harness: $line" ;;
		'not ok'*) result 1 "$harness: ${line#not ok * }" ;;
		*) result 0 "$harness: ${line#ok * }" ;;
		esac
	done < <(sed -nE "s/^$prefix((not )?ok [0-9]+ .*)/\1/p" "$log" | tr -d '\r')
	[ "$tests" -gt 0 ]
	result $? "$harness ran" "$log"
}

# reports LOG: the lines in which the kernel says that something is wrong with it.
reports() {
	grep -aE 'WARNING:|BUG:|Oops|UBSAN:|KASAN:|possible (recursive|circular) locking|inconsistent lock state|refcount_t:|unreferenced object|rust_kernel: panicked|panicked at|ODEBUG:|BUG [a-z]|INFO: task|corruption' "$1"
}

log_is_clean() {
	! reports "$1" && ! grep -aE 'Call Trace|cut here' "$1"
}

# start KERNEL: sets `source`, `build` and `out`, a folder that goes away at the end.
start() {
	local status
	status=$("$lab" status)
	field() { sed -n "s/^$1: //p" <<<"$status"; }
	source=$(field source)
	build=$(field "build-$1")
	out=$(mktemp -d "$(field lab)/check.XXXXXX") || exit 1
	trap 'rm -rf "$out"' EXIT
}

finish() {
	echo "$passed passed, $failed failed"
	[ "$failed" -eq 0 ]
}

build_selftests() {
	mkdir -p "$out/selftests"
	"$lab" root --out "$out/selftests" make -C "$source/tools/testing/selftests" \
		TARGETS=vfio_pci_rust O="$out/selftests/build" INSTALL_PATH="$out/selftests/install" \
		KHDR_INCLUDES="-isystem $build/usr/include" install >"$out/selftests/log" 2>&1
	cat "$out/selftests/log"
	! grep -q 'warning:' "$out/selftests/log" && [ -x "$out/selftests/install/run_kselftest.sh" ]
}
