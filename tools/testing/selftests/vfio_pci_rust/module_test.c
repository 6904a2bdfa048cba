// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loading the module: its parameters compared with those of vfio-pci, and standing
 * in for vfio-pci.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/utsname.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "../kselftest_harness.h"
#include "lib.h"

__printf(1, 2) static int run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	return system(command) ? -1 : 0;
}

static int unload(const char *driver)
{
	return run("modprobe -q -r %s", module_of(driver));
}

static int load(const char *driver, const char *parameters)
{
	return run("modprobe %s %s 2>/dev/null", module_of(driver), parameters);
}

/* Neither driver is loaded, and the kernel has chosen a driver for the PF. */
static const char *start(const char **pf)
{
	const char *problem = setup_pf(pf);

	if (!problem)
		problem = setup_c_driver();
	if (problem)
		return problem;
	if (!is_loaded(DRIVER) || !is_loaded(C_DRIVER))
		return "a driver is built in";
	if (bind_driver(*pf, NULL) || unload(DRIVER) || unload(C_DRIVER))
		return "a driver is in use";
	return NULL;
}

/* The state from which the other test programs start. */
static void end(const char *pf)
{
	bind_driver(pf, NULL);
	unload(DRIVER);
	unload(C_DRIVER);
	load(DRIVER, "");
}

FIXTURE(parameters) {
	const char *pf;
	int log;
};

FIXTURE_VARIANT(parameters) {
	const char *driver;
};

FIXTURE_VARIANT_ADD(parameters, rust) { .driver = DRIVER };
FIXTURE_VARIANT_ADD(parameters, c) { .driver = C_DRIVER };

FIXTURE_SETUP(parameters)
{
	const char *problem = start(&self->pf);

	if (problem)
		SKIP(return, "%s", problem);
	self->log = open_log();
	ASSERT_LE(0, self->log);
}

FIXTURE_TEARDOWN(parameters)
{
	close(self->log);
	end(self->pf);
}

TEST_F(parameters, ids_names_the_devices_to_take)
{
	static const char * const bad[] = { "invalid id string ", "nonsense", NULL };
	static const char * const half[] = { "invalid id string ", "8086:", NULL };
	const bool is_c = !strcmp(variant->driver, C_DRIVER);
	const char * const other[] = {
		is_c ? "add [1234:5678[0001:0002]] class 0x020000/00ffff00" :
		       "add 1234:5678:1:2:20000:ffff00", NULL
	};
	char vendor[16], device[16], ids[256], line[128];
	const char * const added[] = { line, NULL };

	ASSERT_LT(0, read_sysfs(vendor, sizeof(vendor),
				"/sys/bus/pci/devices/%s/vendor", self->pf));
	ASSERT_LT(0, read_sysfs(device, sizeof(device),
				"/sys/bus/pci/devices/%s/device", self->pf));
	snprintf(ids, sizeof(ids),
		 "'ids=nonsense,,8086:,1234:5678:1:2:20000:ffff00, %s:%s'", vendor, device);
	if (is_c)
		snprintf(line, sizeof(line),
			 "add [%s:%s[ffffffff:ffffffff]] class 0x000000/00000000",
			 vendor + 2, device + 2);
	else
		snprintf(line, sizeof(line), "add %s:%s", vendor, device);

	ASSERT_EQ(0, load(variant->driver, ids));
	EXPECT_TRUE(is_bound(self->pf, variant->driver));
	EXPECT_TRUE(log_has(self->log, bad));
	EXPECT_TRUE(log_has(self->log, half));
	EXPECT_TRUE(log_has(self->log, other));
	EXPECT_TRUE(log_has(self->log, added));
}

TEST_F(parameters, disable_denylist_is_told)
{
	static const char * const words[] = { "device denylist disabled", NULL };

	ASSERT_EQ(0, load(variant->driver, "disable_denylist=1"));
	EXPECT_TRUE(log_has(self->log, words));
}

/* Only kernels for x86 can have VFIO_PCI_VGA. */
static bool kernel_has_vga(void)
{
	struct utsname name;

	return !uname(&name) && (!strcmp(name.machine, "x86_64") || !strcmp(name.machine, "i686"));
}

/* The size of the region of legacy VGA resources, or -errno. */
static int vga_region(const char *bdf)
{
	struct vfio_region_info region = {
		.argsz = sizeof(region),
		.index = VFIO_PCI_VGA_REGION_INDEX,
	};
	struct device device;
	int ret;

	ret = open_device(&device, bdf, any_path(), NULL);
	if (!ret)
		ret = ioctl(device.fd, VFIO_DEVICE_GET_REGION_INFO, &region) ? -errno : region.size;
	close_device(&device);
	return ret;
}

TEST_F(parameters, disable_vga_hides_legacy_resources)
{
	const char *vga, *problem = setup_vga(&vga);

	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, load(variant->driver, ""));
	ASSERT_EQ(0, bind_driver(vga, variant->driver));
	EXPECT_EQ(kernel_has_vga() ? 0xc0000 : -EINVAL, vga_region(vga));

	ASSERT_EQ(0, bind_driver(vga, NULL));
	ASSERT_EQ(0, unload(variant->driver));
	ASSERT_EQ(0, load(variant->driver, "disable_vga=1"));
	ASSERT_EQ(0, bind_driver(vga, variant->driver));
	EXPECT_EQ(-EINVAL, vga_region(vga));
	EXPECT_EQ(0, bind_driver(vga, NULL));
}

/* The permissions of a parameter in sysfs, 0 if it does not exist. */
static int mode_of(const char *driver, const char *parameter)
{
	struct stat status;
	char path[256];

	snprintf(path, sizeof(path), "/sys/module/%s/parameters/%s", module_of(driver),
		 parameter);
	return stat(path, &status) ? 0 : status.st_mode & 0777;
}

TEST_F(parameters, are_in_sysfs)
{
	ASSERT_EQ(0, load(variant->driver, ""));
	EXPECT_EQ(0, mode_of(variant->driver, "ids"));
	EXPECT_EQ(0644, mode_of(variant->driver, "nointxmask"));
	EXPECT_EQ(kernel_has_vga() ? 0444 : 0, mode_of(variant->driver, "disable_vga"));
	EXPECT_EQ(0644, mode_of(variant->driver, "disable_idle_d3"));
	EXPECT_EQ(0644, mode_of(variant->driver, "enable_sriov"));
	EXPECT_EQ(0444, mode_of(variant->driver, "disable_denylist"));
}

FIXTURE(devices) {
	const char *pf, *other;
	char vf[BDF_LEN];
	int log;
};

FIXTURE_SETUP(devices)
{
	const char *problem = start(&self->pf);

	if (!problem)
		problem = setup_second_pf(self->pf, &self->other);
	if (problem)
		SKIP(return, "%s", problem);
	restore_device(self->other);
	self->log = open_log();
	ASSERT_LE(0, self->log);
}

FIXTURE_TEARDOWN(devices)
{
	close(self->log);
	end(self->pf);
	restore_device(self->other);
}

/* A driver_override that is not set reads as "(null)". */
static bool is_override(const char *bdf, const char *name)
{
	char text[32];

	return read_sysfs(text, sizeof(text), "/sys/bus/pci/devices/%s/driver_override", bdf) > 0 &&
	       !strcmp(text, name ? name : "(null)");
}

static int load_devices(const char *entries, const char *more)
{
	char parameters[256];

	snprintf(parameters, sizeof(parameters), "'devices=%s' %s", entries, more);
	return load(DRIVER, parameters);
}

static int plug_again(const char *bdf)
{
	int ret = write_sysfs("1", "/sys/bus/pci/devices/%s/remove", bdf);

	return ret ? ret : write_sysfs("1", "/sys/bus/pci/rescan");
}

TEST_F(devices, are_taken_without_a_driver_alone)
{
	static const char * const bad[] = { "not a device address", ": 8086:10c9", NULL };
	static const char * const missing[] = { "no device 0000:fe:1f.7 yet", NULL };
	const char * const kept[] = { self->other, "not given to " DRIVER, "has a driver", NULL };
	char entries[128];

	/* An address without the domain, with blanks, and twice. */
	snprintf(entries, sizeof(entries), "8086:10c9,, %s ,%s,fe:1f.7,%s", self->pf + 5,
		 self->other, self->pf);
	ASSERT_EQ(0, load_devices(entries, ""));
	EXPECT_TRUE(is_bound(self->pf, DRIVER));
	EXPECT_TRUE(is_override(self->pf, DRIVER));
	EXPECT_EQ(0, try_open(self->pf, any_path(), NULL));
	EXPECT_FALSE(is_bound(self->other, DRIVER));
	EXPECT_TRUE(is_override(self->other, NULL));
	EXPECT_TRUE(log_has(self->log, bad));
	EXPECT_TRUE(log_has(self->log, kept));
	EXPECT_TRUE(log_has(self->log, missing));

	ASSERT_EQ(0, unload(DRIVER));
	EXPECT_TRUE(is_override(self->pf, NULL));
}

TEST_F(devices, the_log_has_the_command_that_moves_them)
{
	ASSERT_EQ(0, load_devices(self->other, ""));
	EXPECT_FALSE(is_bound(self->other, DRIVER));
	ASSERT_EQ(0, run("dmesg | sed -n 's/.*%s: not given .* to move it: //p' | tail -n 1 | sh",
			 self->other));
	EXPECT_TRUE(is_bound(self->other, DRIVER));
	/* That override was not the driver's, so it stays. */
	ASSERT_EQ(0, unload(DRIVER));
	EXPECT_TRUE(is_override(self->other, DRIVER));
}

TEST_F(devices, are_taken_when_they_come)
{
	ASSERT_EQ(0, load_devices(self->other, ""));
	EXPECT_FALSE(is_bound(self->other, DRIVER));
	ASSERT_EQ(0, plug_again(self->other));
	EXPECT_TRUE(is_bound(self->other, DRIVER));
	EXPECT_TRUE(is_override(self->other, DRIVER));

	ASSERT_EQ(0, unload(DRIVER));
	EXPECT_TRUE(is_override(self->other, NULL));
	/* Without the module nothing gives it to the driver. */
	ASSERT_EQ(0, plug_again(self->other));
	EXPECT_TRUE(is_override(self->other, NULL));
}

TEST_F(devices, what_others_override_stays)
{
	const char * const kept[] = { self->pf, "not given to " DRIVER, "driver_override", NULL };
	const char *path = "/sys/bus/pci/devices/%s/driver_override";

	ASSERT_EQ(0, write_sysfs("nobody", path, self->pf));
	ASSERT_EQ(0, load_devices(self->pf, ""));
	EXPECT_FALSE(is_bound(self->pf, DRIVER));
	EXPECT_TRUE(log_has(self->log, kept));
	ASSERT_EQ(0, unload(DRIVER));
	EXPECT_TRUE(is_override(self->pf, "nobody"));

	/* The same name, but not written by the driver. */
	ASSERT_EQ(0, write_sysfs(DRIVER, path, self->pf));
	ASSERT_EQ(0, load_devices(self->pf, ""));
	EXPECT_TRUE(is_bound(self->pf, DRIVER));
	ASSERT_EQ(0, unload(DRIVER));
	EXPECT_TRUE(is_override(self->pf, DRIVER));

	/* First written by the driver, then overwritten. */
	ASSERT_EQ(0, write_sysfs("\n", path, self->pf));
	ASSERT_EQ(0, load_devices(self->pf, ""));
	EXPECT_TRUE(is_bound(self->pf, DRIVER));
	ASSERT_EQ(0, write_sysfs("nobody", path, self->pf));
	ASSERT_EQ(0, unload(DRIVER));
	EXPECT_TRUE(is_override(self->pf, "nobody"));
}

/* The VF is created after the module is loaded, and its PF is under the network driver. */
TEST_F(devices, can_be_vfs)
{
	ASSERT_EQ(0, set_numvfs(self->other, 2));
	ASSERT_EQ(0, vf_bdf(self->other, 1, self->vf));
	ASSERT_EQ(0, set_numvfs(self->other, 0));

	ASSERT_EQ(0, load_devices(self->vf, ""));
	ASSERT_EQ(0, set_numvfs(self->other, 2));
	EXPECT_TRUE(is_bound(self->vf, DRIVER));
	EXPECT_EQ(0, try_open(self->vf, any_path(), NULL));
	ASSERT_EQ(0, vf_bdf(self->other, 0, self->vf));
	EXPECT_FALSE(is_bound(self->vf, DRIVER));
	ASSERT_EQ(0, set_numvfs(self->other, 0));
}

TEST_F(devices, go_to_the_name_that_is_taken_over)
{
	ASSERT_EQ(0, load_devices(self->pf, "takeover=1"));
	EXPECT_TRUE(is_bound(self->pf, C_DRIVER));
	EXPECT_TRUE(is_override(self->pf, C_DRIVER));
	ASSERT_EQ(0, unload(DRIVER));
	EXPECT_TRUE(is_override(self->pf, NULL));
}

/* A device that is bound under the driver's own name is not reported as another driver's. */
TEST_F(devices, keep_its_own_name_under_takeover)
{
	const char * const kept[] = { self->pf, "not given to ", NULL };
	char parameters[192], vendor[16], device[16];

	ASSERT_EQ(0, write_sysfs(DRIVER, "/sys/bus/pci/devices/%s/driver_override", self->pf));
	ASSERT_LT(0, read_sysfs(vendor, sizeof(vendor),
				"/sys/bus/pci/devices/%s/vendor", self->pf));
	ASSERT_LT(0, read_sysfs(device, sizeof(device),
				"/sys/bus/pci/devices/%s/device", self->pf));
	snprintf(parameters, sizeof(parameters), "takeover=1 ids=%s:%s", vendor, device);
	ASSERT_EQ(0, load_devices(self->pf, parameters));
	EXPECT_TRUE(is_bound(self->pf, DRIVER));
	EXPECT_FALSE(log_has(self->log, kept));
	ASSERT_EQ(0, unload(DRIVER));
	EXPECT_TRUE(is_override(self->pf, DRIVER));
}

TEST_F(devices, ids_tells_which_ones_are_kept)
{
	const char * const kept[] = { self->other, "not given to " DRIVER, "has a driver", NULL };
	char vendor[16], device[16], ids[64];

	ASSERT_LT(0, read_sysfs(vendor, sizeof(vendor),
				"/sys/bus/pci/devices/%s/vendor", self->other));
	ASSERT_LT(0, read_sysfs(device, sizeof(device),
				"/sys/bus/pci/devices/%s/device", self->other));
	snprintf(ids, sizeof(ids), "ids=1234:5678,%s:%s", vendor, device);
	ASSERT_EQ(0, load(DRIVER, ids));
	EXPECT_FALSE(is_bound(self->other, DRIVER));
	EXPECT_TRUE(log_has(self->log, kept));
}

FIXTURE(takeover) {
	const char *pf;
	struct device device;
};

FIXTURE_SETUP(takeover)
{
	const char *problem = start(&self->pf);

	self->device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);
}

FIXTURE_TEARDOWN(takeover)
{
	close_device(&self->device);
	end(self->pf);
}

TEST_F(takeover, stands_in_for_vfio_pci)
{
	char vf[BDF_LEN], text[32];

	ASSERT_EQ(0, load(DRIVER, "takeover=1 enable_sriov=1"));
	ASSERT_EQ(0, bind_driver(self->pf, C_DRIVER));
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	EXPECT_TRUE(is_bound(vf, C_DRIVER));
	ASSERT_LT(0, read_sysfs(text, sizeof(text),
				"/sys/bus/pci/devices/%s/driver_override", vf));
	EXPECT_STREQ(C_DRIVER, text);

	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), token_a));
	EXPECT_EQ(-EACCES, try_open(vf, any_path(), token_b));
	EXPECT_EQ(0, try_open(vf, any_path(), token_a));
	/* vfio-pci would bind it. */
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	EXPECT_EQ(-ENODEV, set_token(self->device.fd, token_b));
}

/* The driver can also be used by its own name. */
TEST_F(takeover, answers_to_its_own_name_too)
{
	char vf[BDF_LEN];

	ASSERT_EQ(0, load(DRIVER, "takeover=1 enable_sriov=1"));
	ASSERT_EQ(0, bind_driver(self->pf, DRIVER));
	ASSERT_EQ(0, set_numvfs(self->pf, 2));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	EXPECT_TRUE(is_bound(vf, C_DRIVER));
	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), token_a));
	EXPECT_EQ(-EACCES, try_open(vf, any_path(), token_b));
	EXPECT_EQ(0, try_open(vf, any_path(), token_a));
	/* A VF of the other name is not foreign: it counts as open even before its reset. */
	ASSERT_EQ(0, bind_driver(vf, DRIVER));
	EXPECT_EQ(-EACCES, try_open(vf, any_path(), token_b));
	EXPECT_EQ(0, try_open(vf, any_path(), token_a));
	ASSERT_EQ(0, vf_bdf(self->pf, 1, vf));
	ASSERT_EQ(0, set_token(self->device.fd, token_b));
	EXPECT_EQ(0, try_open(vf, any_path(), token_b));
	close_device(&self->device);
	EXPECT_EQ(0, unload(DRIVER));
	EXPECT_FALSE(is_bound(self->pf, DRIVER));
}

TEST_F(takeover, is_refused_while_vfio_pci_is_there)
{
	static const char * const words[] = { "vfio_pci_rust:", "modprobe -r vfio-pci", NULL };
	int log = open_log();

	ASSERT_LE(0, log);
	ASSERT_EQ(0, load(C_DRIVER, ""));
	ASSERT_EQ(0, bind_driver(self->pf, C_DRIVER));
	EXPECT_NE(0, load(DRIVER, "takeover=1"));
	EXPECT_FALSE(is_loaded(DRIVER));
	EXPECT_TRUE(log_has(log, words));
	EXPECT_TRUE(is_bound(self->pf, C_DRIVER));
	EXPECT_EQ(0, try_open(self->pf, any_path(), NULL));
	/* Under its own name the driver can be loaded beside vfio-pci. */
	EXPECT_EQ(0, load(DRIVER, ""));
	close(log);
}

TEST_F(takeover, keeps_vfio_pci_out)
{
	char path[PATH_MAX] = "";

	ASSERT_EQ(0, load(DRIVER, "takeover=1"));
	EXPECT_LT(0, readlink("/sys/module/vfio_pci", path, sizeof(path) - 1));
	EXPECT_STREQ("vfio_pci_rust", path);
	ASSERT_EQ(0, bind_driver(self->pf, C_DRIVER));
	/* A program that loads vfio-pci finds that it is loaded. */
	EXPECT_EQ(0, load(C_DRIVER, ""));
	EXPECT_EQ(0, run("! grep -q '^vfio_pci ' /proc/modules"));
	EXPECT_TRUE(is_bound(self->pf, C_DRIVER));
	EXPECT_EQ(0, try_open(self->pf, any_path(), NULL));
	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	ASSERT_EQ(0, unload(DRIVER));
	EXPECT_NE(0, access("/sys/module/vfio_pci", F_OK));
}

TEST_F(takeover, no_device_loads_the_module_by_itself)
{
	/* vfio-pci has an alias for every device, which programs look up. */
	EXPECT_EQ(0, run("modinfo -F alias vfio_pci | grep -q vfio_pci:"));
	EXPECT_EQ(0, run("! modinfo -F alias vfio_pci_rust | grep -q pci:"));
}

TEST_HARNESS_MAIN
