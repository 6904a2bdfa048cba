# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# The tests, one function per section. `guest` reads this file.

# shellcheck disable=SC2154,SC2034 # guest sets them, and uses what is set here

# ---- tools that show and bind drivers ------------------------------------------------------------

driver_in_use() { lspci -D -k -s "$1" | sed -n 's/.*Kernel driver in use: //p'; }

driverctl_says() { driverctl --nosave list-overrides | sed -n "s/^$1 //p"; }

# The heading under which dpdk-devbind lists a device, and the driver that it names.
devbind_says() {
	dpdk-devbind.py -s | awk -v device="$1" '
		/^[A-Z]/ { heading = $0 }
		$1 == device && match($0, /drv=[^ ]*/) { print heading ": " substr($0, RSTART, RLENGTH) }'
}

# The drivers under their own names.
tools() {
	local name=vfio-pci
	[ "$driver" = c ] || name=vfio-pci-rust
	answer 'driverctl set-override, own name' 'done' driverctl --nosave set-override "$pf" "$name"
	answer 'driverctl list-overrides, own name' own own_name "$name" driverctl_says "$pf"
	answer 'lspci -k, own name' own own_name "$name" driver_in_use "$pf"
	answer 'driverctl unset-override' 'done' driverctl --nosave unset-override "$pf"
	unbind "$pf"
	modprobe -r "$name"
}

own_name() {
	local name=$1
	shift
	[ "$("$@")" = "$name" ] && echo own
}

# And under the name that they look for. From here on the driver is loaded in this way.
tools_by_name() {
	answer 'modprobe vfio-pci' 'done' load
	answer 'driverctl set-override vfio-pci' 'done' driverctl --nosave set-override "$pf" vfio-pci
	answer 'driverctl list-overrides' vfio-pci driverctl_says "$pf"
	answer 'lspci -k' vfio-pci driver_in_use "$pf"
	answer 'dpdk-devbind.py -s' 'Network devices using DPDK-compatible driver: drv=vfio-pci' \
		devbind_says "$pf"
	unbind "$pf"
	answer 'dpdk-devbind.py -b vfio-pci' 'done' dpdk-devbind.py -b vfio-pci "$pf"
	answer 'lspci -k after dpdk-devbind.py' vfio-pci driver_in_use "$pf"
	unbind "$pf"
}

# ---- the kernel's VFIO selftests -----------------------------------------------------------------

# selftest PROGRAM: runs it, with the kernel's own scripts to bind and unbind devices.
selftest() {
	local log=$logs/$1.log tests=$folder/selftests/vfio
	"$tests/setup.sh" "$pf" >"$log" && "$tests/run.sh" "$tests/$1" >>"$log" 2>&1
	"$tests/cleanup.sh" "$pf" >>"$log"
	sed -nE 's/^# Totals: pass:([0-9]+) fail:([0-9]+) .* skip:([0-9]+) error:([0-9]+)/\1 passed, \2 failed, \3 skipped, \4 errors/p
		s/^not ok [0-9]+ /failed: /p' "$log"
}

all_passed='[1-9]* passed, 0 failed, * skipped, 0 errors'

selftests() {
	local name
	for name in vfio_pci_sriov_uapi_test vfio_pci_device_test vfio_iommufd_setup_test \
		vfio_dma_mapping_test vfio_dma_mapping_mmio_test; do
		answer "$name" "$all_passed" selftest "$name"
	done
}

# This takes minutes, as the emulated card copies memory.
dma_selftest() {
	answer vfio_pci_driver_test "$all_passed" selftest vfio_pci_driver_test
}

# ---- DPDK ----------------------------------------------------------------------------------------

declare -A testpmd_pid testpmd_input

# start_testpmd NAME OPTION...: starts testpmd, and prints the state of its port.
start_testpmd() {
	local name=$1 fifo=/tmp/$1.fifo log=$logs/testpmd-$1.log input
	shift
	rm -f "$fifo"
	mkfifo "$fifo"
	exec {input}<>"$fifo"
	stdbuf -o0 dpdk-testpmd -l 0-1 -m 40 --in-memory --no-telemetry --file-prefix "$name" "$@" \
		-- -i --total-num-mbufs=2048 <"$fifo" >"$log" 2>&1 &
	testpmd_pid[$name]=$!
	testpmd_input[$name]=$input
	wait_for 120 "$log" '^Port 0: ([0-9A-F]{2}:){5}' 'No probed ethernet devices'
	case $matched in
	0) wait_for 60 "$log" '^Done|> Done' ;;
	esac
}

stop_testpmd() {
	local name=$1
	tell_testpmd "$name" quit
	wait "${testpmd_pid[$name]}"
}

# tell_testpmd NAME COMMAND...: sends commands to its prompt.
tell_testpmd() {
	local name=$1
	shift
	printf '%s\n' "$@" >&"${testpmd_input[$name]}"
}

# The result of starting testpmd, from its log.
testpmd_says() {
	local log=$logs/testpmd-$1.log
	grep -aq 'No probed ethernet devices' "$log" && grep -ao 'Getting a vfio_dev_fd for .* failed' "$log" && return
	grep -aqE '^Port 0: ([0-9A-F]{2}:){5}' "$log" && echo 'port is up'
}

testpmd_mac() { sed -nE 's/^Port 0: (([0-9A-F]{2}:){5}..).*/\1/p' "$logs/testpmd-$1.log" | head -n 1; }

# packets FROM TO [MAC]: 64 packets from one process to the other, which prints each of them. A VF's
# packets to the PF's own address do not reach it under emulation, broadcasts do.
packets() {
	local from=$1 to=$2 mac=${3-$(testpmd_mac "$2")} log=$logs/testpmd-$2.log pattern i
	pattern="src=$(testpmd_mac "$from") - dst=${mac^^} "
	tell_testpmd "$to" 'set fwd rxonly' 'set promisc all off' 'set verbose 1' start
	tell_testpmd "$from" 'set verbose 0' 'set fwd rxonly' "set eth-peer 0 $mac" 'start tx_first 2'
	for ((i = 0; i < 60; i++)); do
		[ "$(grep -acF "$pattern" "$log")" -lt 64 ] || break
		sleep 0.5
	done
	tell_testpmd "$from" stop
	tell_testpmd "$to" stop
	sleep 1
	echo "$(grep -acF "$pattern" "$log") of 64 received"
}

dpdk() {
	bind "$pf"
	vfs "$pf" 2
	start_testpmd pf --vfio-vf-token="$token" -a "$pf"
	answer 'testpmd: PF, token' 'port is up' testpmd_says pf
	start_testpmd none -a "${vf[0]}"
	answer 'testpmd: VF, no token' "Getting a vfio_dev_fd for ${vf[0]} failed" testpmd_says none
	stop_testpmd none
	start_testpmd wrong --vfio-vf-token="$wrong" -a "${vf[0]}"
	answer 'testpmd: VF, wrong token' "Getting a vfio_dev_fd for ${vf[0]} failed" testpmd_says wrong
	stop_testpmd wrong
	start_testpmd vf --vfio-vf-token="$token" -a "${vf[0]}"
	answer 'testpmd: VF, right token' 'port is up' testpmd_says vf
	answer 'testpmd: packets from the VF to the PF' '64 of 64 received' packets vf pf ff:ff:ff:ff:ff:ff
	answer 'testpmd: packets from the PF to the VF' '64 of 64 received' packets pf vf
	start_testpmd vf1 --vfio-vf-token="$token" -a "${vf[1]}"
	answer 'testpmd: other VF, right token' 'port is up' testpmd_says vf1
	answer 'testpmd: packets from one VF to the other' '64 of 64 received' packets vf vf1
	stop_testpmd vf1
	stop_testpmd vf
	stop_testpmd pf
	unbind "$pf"
}

# ---- a program in Rust on the crate vfio-ioctls ---------------------------------------------------

denied='failed: Permission denied (os error 13)'

# vfio_read WAY DEVICE OFFSET [TOKEN]: see vfio-read/src/main.rs for how it presents a token.
vfio_read() {
	local way=$1 device=/sys/bus/pci/devices/$2 offset=$3 name=$2 token=${4-}
	if [ -n "$token" ]; then
		ln -sfn "$device" "/tmp/$name vf_token=$token"
		device="/tmp/$name vf_token=$token"
	fi
	"$folder/vfio-read" "$way" "$device" "$offset" 2>&1 | sed 's/^vfio-read: .*: //'
	return "${PIPESTATUS[0]}"
}

# Offset 8 of BAR0 is the status of an igb.
rust_program() {
	bind "$pf"
	vfs "$pf" 1
	answer 'vfio-ioctls: PF by cdev' '8086:10c9, config 4096, BAR0 131072, \[8] = 800c*' vfio_read cdev "$pf" 8
	answer 'vfio-ioctls: PF by group, sets the token' '8086:10c9, config 4096, BAR0 131072, \[8] = 800c*' vfio_read group "$pf" 8 "$token"
	answer 'vfio-ioctls: VF by group, no token' "$denied" vfio_read group "${vf[0]}" 8
	answer 'vfio-ioctls: VF by group, wrong token' "$denied" vfio_read group "${vf[0]}" 8 "$wrong"
	answer 'vfio-ioctls: VF by group, right token' '8086:10ca, config 4096, BAR0 16384, \[8] = 800c*' vfio_read group "${vf[0]}" 8 "$token"
	answer 'vfio-ioctls: VF by cdev, no token' "$denied" vfio_read cdev "${vf[0]}" 8
	unbind "$pf"
}

# ---- a PF daemon that sets the token before there are VFs ------------------------------------------

daemon_pid=
daemon_input=

# It reads tokens to set from its standard input.
start_daemon() {
	local fifo=/tmp/daemon.fifo log=$logs/pf-daemon.log
	rm -f "$fifo"
	mkfifo "$fifo"
	exec {daemon_input}<>"$fifo"
	"$folder/pf-daemon" "$pf" "$token" <"$fifo" >"$log" 2>&1 &
	daemon_pid=$!
	wait_for 30 "$log" . 2>>"$logs/log"
}

stop_daemon() {
	kill "$daemon_pid" 2>/dev/null # it may have ended
	wait "$daemon_pid"
	exec {daemon_input}>&-
}

daemon_says() { tail -n 1 "$logs/pf-daemon.log"; }

# daemon_sets TOKEN: its answer when it sets the token while it runs.
daemon_sets() {
	local log=$logs/pf-daemon.log lines i
	lines=$(wc -l <"$log")
	echo "$1" >&"$daemon_input"
	for ((i = 0; i < 100; i++)); do
		[ "$(wc -l <"$log")" -eq "$lines" ] || break
		sleep 0.1
	done
	daemon_says
}

# admit DEVICE: presents the token for a program that cannot, as the administrator does.
admit() { echo "$token" >"/sys/bus/pci/devices/$1/vf_token/admit"; }

# vfio-pci has neither the parameter nor the file. With the parameter, this driver's SET answers as
# vfio-pci's, but for another token while a VF is open.
pf_daemon() {
	pf_daemon_with N
	pf_daemon_with Y
}

pf_daemon_with() {
	local lenient=$1 daemon="PF daemon, lenient_token=$1" refused='VFIO_GROUP_GET_DEVICE_FD: Permission denied'
	local early=ready again='VFIO_DEVICE_FEATURE: set' admitted=ready
	if [ "$driver" = c ]; then
		admitted=$refused
	else
		echo "$lenient" >/sys/module/vfio_pci_rust/parameters/lenient_token
	fi
	if [ "$driver$lenient" = rustN ]; then
		early='VFIO_DEVICE_FEATURE: No such device'
		again='VFIO_DEVICE_FEATURE: Device or resource busy'
		admitted=$again
	fi
	bind "$pf"
	dmesg --clear
	start_daemon
	answer "$daemon: sets the token, then VFs" "$early" daemon_says
	if [ "$lenient" = N ]; then
		answer "$daemon: the log says what to do" "$(on_each nothing 'VF token not set: * /sys/module/vfio_pci_rust/parameters/lenient_token')" \
			log_says 'VF token not set: .*'
		stop_daemon
		vfs "$pf" 1
		start_daemon
		answer "$daemon: VFs, then sets the token" ready daemon_says
	else
		vfs "$pf" 1
	fi
	answer "$daemon: VF, no token" "$denied" vfio_read group "${vf[0]}" 8
	start_testpmd vf --vfio-vf-token="$token" -a "${vf[0]}"
	answer "$daemon: testpmd on the VF, right token" 'port is up' testpmd_says vf
	answer "$daemon: the same token again, VF open" "$again" daemon_sets "$token"
	answer "$daemon: another token, VF open" \
		"VFIO_DEVICE_FEATURE: $(on_each 'set' 'Device or resource busy')" daemon_sets "$wrong"
	stop_daemon
	start_daemon
	answer "$daemon: restarted, VF open" "$refused" daemon_says
	stop_daemon
	answer "$daemon: the PF is admitted" "$(on_each failed 'done')" admit "$pf"
	start_daemon
	answer "$daemon: restarted after that" "$admitted" daemon_says
	stop_daemon
	stop_testpmd vf
	unbind "$pf"
}

# ---- another kind of card: NVMe ------------------------------------------------------------------

# Offset 8 of BAR0 is the version (1.4), offset 1c the status: a VF that its PF has not put online is
# one that has failed, by the standard.
nvme_card() {
	bind "$nvme"
	vfs "$nvme" 4
	answer 'nvme: VFs that are bound' '4' bound_vfs
	answer 'nvme: PF, sets the token' '1b36:0010, config 4096, BAR0 16384, \[8] = 00010400' vfio_read group "$nvme" 8 "$token"
	answer 'nvme: VF, no token' "$denied" vfio_read group "${vf[3]}" 1c
	answer 'nvme: VF, wrong token' "$denied" vfio_read group "${vf[3]}" 1c "$wrong"
	answer 'nvme: VF, right token' '1b36:0010, config 4096, BAR0 16384, \[1c] = 00000002' vfio_read group "${vf[3]}" 1c "$token"
	unbind "$nvme"
}

bound_vfs() {
	local each count=0
	for each in "${vf[@]}"; do
		[ "$(bound_to "$each")" != vfio-pci ] || count=$((count + 1))
	done
	echo "$count"
}

# ---- QEMU in the guest ---------------------------------------------------------------------------

inner_words='console=ttyS0 quiet nokaslr tsc=reliable kunit.enable=0 panic=-1'

# The VF that the machine has found, or why QEMU has not started it.
inner_says() {
	tr -d '\r' | grep -aoE '^inner: 8086:10ca|vfio [^ ]*: error (getting|bind) device.*' |
		sed -E 's/from group [0-9]*/from its group/; s/ to iommufd=[0-9]*/ to the iommufd/; s/ fd=[0-9]*//'
}

# inner_qemu VF[,OPTION...] [QEMU-OPTION...]: a machine with the VF in it, whose user space is inner-init.
# There is no KVM, so its kernel takes minutes.
inner_qemu() {
	local log=$logs/qemu.log status=0
	timeout 900 qemu-system-x86_64 -accel tcg -cpu max -machine q35 -m 128 -nodefaults -display none \
		-serial stdio -no-reboot -kernel "$folder/bzImage" -initrd "$folder/initramfs" \
		-append "$inner_words" "${@:2}" -device "vfio-pci,host=$1" >"$log" 2>&1 </dev/null || status=$?
	cat "$log" >&2
	inner_says <"$log"
	return "$status"
}

qemu() {
	local refused
	bind "$pf"
	vfs "$pf" 1
	refused="failed: vfio ${vf[0]}: error getting device from its group: Permission denied"
	vfio_read group "$pf" 8 "$token" >/dev/null
	answer 'QEMU: VF, no token' "$refused" inner_qemu "${vf[0]}"
	answer 'QEMU: VF, wrong token' "$refused" inner_qemu "${vf[0]},vf-token=$wrong"
	answer 'QEMU: VF, right token' 'inner: 8086:10ca' inner_qemu "${vf[0]},vf-token=$token"
	admitted 'QEMU, iommufd' "failed: vfio ${vf[0]}: error bind device to the iommufd: Permission denied" \
		inner_qemu "${vf[0]},iommufd=i" -object iommufd,id=i
	unbind "$pf"
}

# admitted NAME REFUSED COMMAND...: a machine that cannot present a token, with a VF whose PF has one and is
# driven by testpmd. vfio-pci cannot admit the VF.
admitted() {
	local name=$1 refused=$2
	shift 2
	start_testpmd pf --vfio-vf-token="$token" -a "$pf"
	answer "$name: the PF is under testpmd" 'port is up' testpmd_says pf
	dmesg --clear
	answer "$name: not admitted" "$refused" "$@"
	answer "$name: the log says what to do" "$(on_each 'VF token required to access device' \
		"missing VF token: PF $pf * write it to the VF's vf_token/admit for programs that cannot")" \
		log_says '(VF token required|missing VF token).*'
	answer "$name: the VF is admitted" "$(on_each failed 'done')" admit "${vf[0]}"
	answer "$name: admitted" "$(on_each "$refused" 'inner: 8086:10ca')" "$@"
	stop_testpmd pf
	start_testpmd pf --vfio-vf-token="$wrong" -a "$pf"
	answer "$name: the PF has another token" 'port is up' testpmd_says pf
	answer "$name: not admitted any more" "$refused" "$@"
	stop_testpmd pf
}

# ---- libvirt -------------------------------------------------------------------------------------

export LIBVIRT_DEFAULT_URI=qemu:///system

# There is no service manager here, no D-Bus, and no user but root. Without udev libvirt does not notice devices
# that appear later, so it is started when all exist.
libvirt_pid=
start_libvirt() {
	local i
	cat >/etc/libvirt/qemu.conf <<-END
		user = "root"
		group = "root"
		dynamic_ownership = 0
		security_driver = "none"
		cgroup_controllers = [ ]
		namespaces = [ ]
		stdio_handler = "file"
	END
	printf '%s\n' 'auth_unix_ro = "none"' 'auth_unix_rw = "none"' >/etc/libvirt/libvirtd.conf
	libvirtd >>"$logs/libvirtd.log" 2>&1 &
	libvirt_pid=$!
	for ((i = 0; i < 60; i++)); do
		! virsh uri >/dev/null 2>&1 || return 0
		sleep 0.5
	done
}

stop_libvirt() {
	kill "$libvirt_pid"
	wait "$libvirt_pid"
}

# node DEVICE: libvirt's name of a PCI device.
node() { echo "pci_${1//[:.]/_}"; }

# detach DEVICE DRIVER: detaches it, and prints the driver that it has then.
detach() {
	virsh -q nodedev-detach --driver "$2" "$(node "$1")" >&2 && bound_to "$1"
}

# domain VF: inner_qemu's machine as a domain of libvirt.
domain() {
	local bus slot function
	IFS=:. read -r _ bus slot function <<<"$1"
	cat <<-END
		<domain type='qemu'>
		  <name>inner</name>
		  <memory unit='MiB'>128</memory>
		  <os>
		    <type arch='x86_64' machine='q35'>hvm</type>
		    <kernel>$folder/bzImage</kernel>
		    <initrd>$folder/initramfs</initrd>
		    <cmdline>$inner_words</cmdline>
		  </os>
		  <features><acpi/></features>
		  <cpu mode='maximum'/>
		  <devices>
		    <serial type='file'><source path='$logs/libvirt-serial.log'/></serial>
		    <hostdev mode='subsystem' type='pci' managed='no'>
		      <source><address domain='0' bus='0x$bus' slot='0x$slot' function='0x$function'/></source>
		    </hostdev>
		    <memballoon model='none'/>
		  </devices>
		</domain>
	END
}

inner_libvirt() {
	local log=$logs/libvirt-serial.log i
	domain "$1" >/tmp/inner.xml
	: >"$log"
	if ! virsh -q create /tmp/inner.xml >"$log.create" 2>&1; then
		cat "$log.create" >&2
		inner_says <"$log.create"
		return 1
	fi
	wait_for 900 "$log" '^inner: end'
	for ((i = 0; i < 60; i++)); do # it ends by itself
		[ "$(virsh -q list --name)" ] || break
		sleep 0.5
	done
	((i < 60)) || virsh -q destroy inner >&2
	cat "$log" >&2
	inner_says <"$log"
}

# This driver has both names now; DPDK accepts the PF only under the name vfio-pci.
libvirt() {
	local name=vfio-pci
	[ "$driver" = c ] || name=vfio-pci-rust
	bind "$pf"
	vfs "$pf" 1
	unbind "${vf[0]}"
	start_libvirt
	answer 'libvirt: nodedev-detach --driver, own name' own own_name "$name" detach "${vf[0]}" "$name"
	admitted 'libvirt' "failed: vfio ${vf[0]}: error getting device from its group: Permission denied" \
		inner_libvirt "${vf[0]}"
	stop_libvirt
	unbind "$pf"
}
