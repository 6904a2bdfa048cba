// SPDX-License-Identifier: GPL-2.0-only
/*
 * Binding and unbinding, SR-IOV on and off, loading and removing the module.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "lib.h"

FIXTURE(lifecycle) {
	const char *pf;
	struct device device;
};

FIXTURE_SETUP(lifecycle)
{
	const char *problem = setup_pf(&self->pf);

	self->device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, ensure_pf(self->pf, DRIVER, 0));
}

FIXTURE_TEARDOWN(lifecycle)
{
	close_device(&self->device);
}

TEST_F(lifecycle, binds_and_unbinds_again_and_again)
{
	int i;

	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, bind_driver(self->pf, NULL));
		ASSERT_EQ(0, bind_driver(self->pf, DRIVER));
		EXPECT_EQ(0, try_open(self->pf, i % 2 ? any_path() : PATH_GROUP, NULL));
	}
}

TEST_F(lifecycle, vfs_come_and_go)
{
	char vf[BDF_LEN], text[16];
	int i, total;

	ASSERT_LT(0, read_sysfs(text, sizeof(text),
				"/sys/bus/pci/devices/%s/sriov_totalvfs", self->pf));
	total = atoi(text);
	ASSERT_EQ(0, try_open(self->pf, any_path(), token_a));
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, set_numvfs(self->pf, total));
		ASSERT_EQ(0, vf_bdf(self->pf, total - 1, vf));
		EXPECT_TRUE(is_bound(vf, DRIVER));
		EXPECT_EQ(0, try_open(vf, any_path(), token_a));
		ASSERT_EQ(0, set_numvfs(self->pf, 0));
		EXPECT_EQ(-ENOENT, vf_bdf(self->pf, 0, vf));
	}
}

TEST_F(lifecycle, vfs_go_with_the_driver)
{
	char vf[BDF_LEN];

	ASSERT_EQ(0, set_numvfs(self->pf, 2));
	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	EXPECT_EQ(-ENOENT, vf_bdf(self->pf, 0, vf));
	ASSERT_EQ(0, bind_driver(self->pf, DRIVER));
}

TEST_F(lifecycle, no_vfs_without_the_parameter)
{
	const char * const words[] = {
		self->pf, "/sys/module/vfio_pci_rust/parameters/enable_sriov", NULL
	};
	int log = open_log();

	ASSERT_LE(0, log);
	ASSERT_EQ(0, set_enable_sriov(DRIVER, false));
	EXPECT_EQ(-ENOENT, set_numvfs(self->pf, 1));
	EXPECT_TRUE(log_has(log, words));
	ASSERT_EQ(0, set_enable_sriov(DRIVER, true));
	EXPECT_EQ(0, set_numvfs(self->pf, 1));
}

TEST_F(lifecycle, binds_by_new_id)
{
	char vendor[16], device[16], ids[64];

	ASSERT_LT(0, read_sysfs(vendor, sizeof(vendor),
				"/sys/bus/pci/devices/%s/vendor", self->pf));
	ASSERT_LT(0, read_sysfs(device, sizeof(device),
				"/sys/bus/pci/devices/%s/device", self->pf));
	snprintf(ids, sizeof(ids), "%s %s", vendor, device);

	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	ASSERT_EQ(0, write_sysfs(ids, "/sys/bus/pci/drivers/" DRIVER "/new_id"));
	EXPECT_TRUE(is_bound(self->pf, DRIVER));
	EXPECT_EQ(0, try_open(self->pf, any_path(), NULL));
	EXPECT_EQ(0, write_sysfs(ids, "/sys/bus/pci/drivers/" DRIVER "/remove_id"));
}

TEST_F(lifecycle, binds_to_nothing_by_itself)
{
	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	/* Another driver may bind it, this one must not. */
	write_sysfs(self->pf, "/sys/bus/pci/drivers_probe");
	EXPECT_FALSE(is_bound(self->pf, DRIVER));
}

TEST_F(lifecycle, unbinding_asks_the_user_and_waits)
{
	struct pollfd poll_request = { .events = POLLIN };
	int event = eventfd(0, 0);
	int status;
	pid_t pid;

	ASSERT_LE(0, event);
	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), NULL));
	ASSERT_EQ(0, on_event(self->device.fd, VFIO_PCI_REQ_IRQ_INDEX, event));

	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close_device(&self->device);
		_exit(bind_driver(self->pf, NULL) ? 1 : 0);
	}
	poll_request.fd = event;
	EXPECT_EQ(1, poll(&poll_request, 1, 10000));
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));

	close_device(&self->device);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_FALSE(is_bound(self->pf, DRIVER));
	close(event);
}

static int disable_vfs(const char *pf)
{
	return set_numvfs(pf, 0);
}

static int read_numvfs(const char *pf)
{
	char text[16];

	return read_sysfs(text, sizeof(text), "/sys/bus/pci/devices/%s/sriov_numvfs", pf);
}

TEST_F(lifecycle, disabling_vfs_waits_and_the_pf_cannot_be_opened_meanwhile)
{
	struct action disable = { .act = disable_vfs, .bdf = self->pf };
	struct action look = { .act = read_numvfs, .bdf = self->pf };
	int ret = 0, tries = 0;
	char vf[BDF_LEN];

	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	ASSERT_EQ(0, try_open(self->pf, any_path(), token_a));
	ASSERT_EQ(0, open_device(&self->device, vf, any_path(), token_a));

	ASSERT_EQ(0, start_action(&disable));
	while (!ret && tries++ < 100) {
		usleep(100000);
		ret = try_open(self->pf, any_path(), token_a);
	}
	EXPECT_EQ(-EAGAIN, ret);
	/* Reading sriov_numvfs blocks, so a program must not do that before it closes the VF. */
	ASSERT_EQ(0, start_action(&look));
	usleep(100000);
	EXPECT_FALSE(has_ended(&look));

	close_device(&self->device);
	EXPECT_EQ(0, result_of(&disable));
	EXPECT_LT(0, result_of(&look));
	EXPECT_EQ(0, try_open(self->pf, any_path(), NULL));
}

/* Whether one of this program's descriptors or mappings has a target of such a name. */
static bool proc_has(const char *what, const char *name)
{
	static const char * const formats[] = {
		"ls -l /proc/%d/%s/ 2>/dev/null | grep -qF '%s'",
		"grep -qF '%3$s' /proc/%1$d/%2$s 2>/dev/null",
	};
	char command[256];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(formats); i++) {
		snprintf(command, sizeof(command), formats[i], getpid(), what, name);
		if (!system(command))
			return true;
	}
	return false;
}

/* The user guide finds the users of a device in this way. */
TEST_F(lifecycle, users_are_found_in_proc)
{
	static const enum path paths[] = { PATH_GROUP, PATH_CDEV };
	struct vfio_region_info region = { .argsz = sizeof(region) };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paths); i++) {
		const char *name = paths[i] == PATH_GROUP ? "anon_inode:[vfio-device]" :
							   "/dev/vfio/devices/vfio";
		void *registers;

		if (paths[i] != PATH_GROUP && any_path() == PATH_GROUP)
			continue;
		ASSERT_EQ(0, open_device(&self->device, self->pf, paths[i], NULL));
		ASSERT_EQ(0, ioctl(self->device.fd, VFIO_DEVICE_GET_REGION_INFO, &region));
		registers = mmap(NULL, region.size, PROT_READ, MAP_SHARED, self->device.fd,
				 region.offset);
		ASSERT_NE(MAP_FAILED, registers);
		EXPECT_TRUE(proc_has("fd", name));

		/* A mapping alone keeps the device in use. */
		close_device(&self->device);
		EXPECT_FALSE(proc_has("fd", name));
		EXPECT_TRUE(proc_has("maps", name));
		ASSERT_EQ(0, munmap(registers, region.size));
		EXPECT_FALSE(proc_has("maps", name));
	}
}

TEST_F(lifecycle, module_stays_while_a_device_is_open)
{
	if (is_builtin())
		SKIP(return, "the driver is built in");
	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), NULL));
	EXPECT_EQ(-EAGAIN, remove_module(DRIVER));
	EXPECT_TRUE(is_bound(self->pf, DRIVER));
}

TEST_F(lifecycle, module_goes_while_devices_are_bound)
{
	char vf[BDF_LEN];
	int i;

	if (is_builtin())
		SKIP(return, "the driver is built in");
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, set_enable_sriov(DRIVER, true));
		ASSERT_EQ(0, set_numvfs(self->pf, 2));
		ASSERT_EQ(0, remove_module(DRIVER));
		EXPECT_FALSE(is_bound(self->pf, DRIVER));
		EXPECT_EQ(-ENOENT, vf_bdf(self->pf, 0, vf));
		ASSERT_EQ(NULL, setup_modules());
		ASSERT_EQ(0, bind_driver(self->pf, DRIVER));
	}
}

TEST_HARNESS_MAIN
