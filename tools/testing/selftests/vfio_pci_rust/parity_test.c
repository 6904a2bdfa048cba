// SPDX-License-Identifier: GPL-2.0-only
/*
 * This driver does what vfio-pci does: every test runs with both.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <linux/pci_regs.h>

#include "../kselftest_harness.h"
#include "lib.h"

/* For a device named by VFIO_PCI_RUST_PF that supports neither VFs nor error reports. */
#define INCAPABLE	"the device is not capable of it"

FIXTURE(parity) {
	const char *pf;
	struct device device;
	struct device vf_device;
};

FIXTURE_VARIANT(parity) {
	const char *driver;
};

FIXTURE_VARIANT_ADD(parity, rust) { .driver = DRIVER };
FIXTURE_VARIANT_ADD(parity, c) { .driver = C_DRIVER };

/* A PF without VFs under the driver, and all parameters with their default values. */
FIXTURE_SETUP(parity)
{
	const char *problem = setup_pf(&self->pf);

	self->device = (struct device)DEVICE_CLOSED;
	self->vf_device = (struct device)DEVICE_CLOSED;
	if (!problem)
		problem = setup_c_driver();
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, ensure_pf(self->pf, variant->driver, 0));
}

FIXTURE_TEARDOWN(parity)
{
	close_device(&self->vf_device);
	close_device(&self->device);
	set_parameter(variant->driver, "disable_idle_d3", "0");
	set_parameter(variant->driver, "nointxmask", "0");
}

/* Waits up to two seconds for a power state of the device. */
static bool gets_to(const char *bdf, const char *state)
{
	char text[16];
	int i;

	for (i = 0; i < 200; i++) {
		if (read_sysfs(text, sizeof(text), "/sys/bus/pci/devices/%s/power_state",
			       bdf) > 0 && !strcmp(text, state))
			return true;
		usleep(10000);
	}
	return false;
}

static bool stays_in(const char *bdf, const char *state)
{
	usleep(300000);
	return gets_to(bdf, state);
}

static int rebind(const char *bdf, const char *driver)
{
	int ret = bind_driver(bdf, NULL);

	return ret ? ret : bind_driver(bdf, driver);
}

TEST_F(parity, a_device_sleeps_while_nobody_uses_it)
{
	EXPECT_TRUE(gets_to(self->pf, "D3hot"));
	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), NULL));
	EXPECT_TRUE(gets_to(self->pf, "D0"));
	close_device(&self->device);
	EXPECT_TRUE(gets_to(self->pf, "D3hot"));
	if (!is_pf(self->pf))
		return;
	/* VFs need their PF in D0. */
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	EXPECT_TRUE(stays_in(self->pf, "D0"));
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	EXPECT_TRUE(gets_to(self->pf, "D3hot"));
}

/* Whether debugfs shows this value of an option of the device, if the kernel has VFIO_DEBUGFS. */
static bool debugfs_shows(const char *bdf, const char *option, const char *value)
{
	char text[8];

	if (access("/sys/kernel/debug/vfio", F_OK))
		return true;
	return read_sysfs(text, sizeof(text), "/sys/kernel/debug/vfio/%s/pci/%s",
			  bdf, option) > 0 && !strcmp(text, value);
}

TEST_F(parity, disable_idle_d3_holds_from_bind_to_unbind)
{
	ASSERT_EQ(0, set_parameter(variant->driver, "disable_idle_d3", "1"));
	EXPECT_TRUE(gets_to(self->pf, "D3hot"));
	EXPECT_TRUE(debugfs_shows(self->pf, "disable_idle_d3", "N"));
	ASSERT_EQ(0, rebind(self->pf, variant->driver));
	EXPECT_TRUE(stays_in(self->pf, "D0"));
	EXPECT_TRUE(debugfs_shows(self->pf, "disable_idle_d3", "Y"));

	ASSERT_EQ(0, set_parameter(variant->driver, "disable_idle_d3", "0"));
	EXPECT_EQ(0, try_open(self->pf, any_path(), NULL));
	EXPECT_TRUE(stays_in(self->pf, "D0"));
	ASSERT_EQ(0, rebind(self->pf, variant->driver));
	EXPECT_TRUE(gets_to(self->pf, "D3hot"));
}

/* Whether the interrupt is masked in the device, by a bit of its command register. */
static int masks_in_device(const char *bdf, int fd)
{
	int event = eventfd(0, 0);
	uint16_t command = 0;
	char path[128];
	int config, ret;

	ret = on_event(fd, VFIO_PCI_INTX_IRQ_INDEX, event);
	if (!ret)
		ret = set_irq(fd, VFIO_IRQ_SET_ACTION_MASK | VFIO_IRQ_SET_DATA_NONE,
			      VFIO_PCI_INTX_IRQ_INDEX, 0);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	config = open(path, O_RDONLY);
	if (!ret && pread(config, &command, sizeof(command), PCI_COMMAND) != sizeof(command))
		ret = -EIO;
	close(config);
	close(event);
	return ret ? ret : !!(command & PCI_COMMAND_INTX_DISABLE);
}

TEST_F(parity, nointxmask_holds_from_bind_to_unbind)
{
	ASSERT_EQ(0, set_parameter(variant->driver, "nointxmask", "1"));
	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), NULL));
	EXPECT_EQ(1, masks_in_device(self->pf, self->device.fd));
	close_device(&self->device);
	EXPECT_TRUE(debugfs_shows(self->pf, "nointxmask", "N"));

	ASSERT_EQ(0, rebind(self->pf, variant->driver));
	EXPECT_TRUE(debugfs_shows(self->pf, "nointxmask", "Y"));
	ASSERT_EQ(0, set_parameter(variant->driver, "nointxmask", "0"));
	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), NULL));
	EXPECT_EQ(0, masks_in_device(self->pf, self->device.fd));
}

TEST_F(parity, vfs_are_kept_for_the_driver_of_the_pf)
{
	char vf[BDF_LEN], text[32];

	if (!is_pf(self->pf))
		SKIP(return, INCAPABLE);
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	ASSERT_LT(0, read_sysfs(text, sizeof(text),
				"/sys/bus/pci/devices/%s/driver_override", vf));
	EXPECT_STREQ(variant->driver, text);
	EXPECT_TRUE(is_bound(vf, variant->driver));
}

TEST_F(parity, a_vf_under_another_driver_is_warned_of)
{
	char vf[BDF_LEN];
	const char * const words[] = { self->pf, vf, "igbvf", NULL };
	int log = open_log();

	if (!is_pf(self->pf))
		SKIP(return, INCAPABLE);
	if (system("modprobe -q igbvf"))
		SKIP(return, "there is no module igbvf");
	ASSERT_LE(0, log);
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	/* Whether igbvf can use it does not matter here. */
	bind_driver(vf, "igbvf");
	EXPECT_TRUE(log_has(log, words));
	close(log);
}

TEST_F(parity, a_user_can_reset_what_is_his)
{
	struct {
		struct vfio_pci_hot_reset_info info;
		struct vfio_pci_dependent_device devices[8];
	} known = { .info.argsz = sizeof(known) };
	struct {
		struct vfio_pci_hot_reset reset;
		int32_t group;
	} reset = { .reset.argsz = sizeof(reset), .reset.count = 1 };

	ASSERT_EQ(0, open_device(&self->device, self->pf, PATH_GROUP, NULL));
	ASSERT_EQ(0, ioctl(self->device.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &known));
	EXPECT_EQ(1, known.info.count);
	reset.group = self->device.group;
	/* An emulated port may have no link in time; the answer is ENOTTY then. */
	EXPECT_TRUE(!ioctl(self->device.fd, VFIO_DEVICE_PCI_HOT_RESET, &reset) ||
		    errno == ENOTTY);
	/* The user must show that the group is open, or the reset is refused. */
	reset.group = self->device.fd;
	EXPECT_EQ(-1, ioctl(self->device.fd, VFIO_DEVICE_PCI_HOT_RESET, &reset));
	EXPECT_EQ(EINVAL, errno);
}

/* Whether the event comes within ten seconds. */
static bool comes(int event)
{
	struct pollfd wait = { .fd = event, .events = POLLIN };

	return poll(&wait, 1, 10000) == 1;
}

static int remove_device(const char *bdf)
{
	return write_sysfs("1", "/sys/bus/pci/devices/%s/remove", bdf);
}

static int unbind_device(const char *bdf)
{
	return bind_driver(bdf, NULL);
}

static bool is_there(const char *bdf)
{
	char text[16];

	return read_sysfs(text, sizeof(text), "/sys/bus/pci/devices/%s/vendor", bdf) > 0;
}

TEST_F(parity, removing_a_pf_waits_for_its_user)
{
	int event = eventfd(0, 0);
	struct action removal = { .act = remove_device, .bdf = self->pf };

	ASSERT_EQ(0, open_device(&self->device, self->pf, PATH_GROUP, NULL));
	ASSERT_EQ(0, on_event(self->device.fd, VFIO_PCI_REQ_IRQ_INDEX, event));
	ASSERT_EQ(0, start_action(&removal));
	EXPECT_TRUE(comes(event));
	EXPECT_FALSE(has_ended(&removal));

	close_device(&self->device);
	EXPECT_EQ(0, result_of(&removal));
	EXPECT_FALSE(is_there(self->pf));
	ASSERT_EQ(0, write_sysfs("1", "/sys/bus/pci/rescan"));
	ASSERT_TRUE(is_there(self->pf));
	EXPECT_EQ(0, ensure_pf(self->pf, variant->driver, 0));
	close(event);
}

static void *set_tokens(void *fd)
{
	const uint8_t *tokens[] = { token_a, token_b };
	int i;

	for (i = 0; i < 20000; i++)
		set_token(*(int *)fd, tokens[i % 2]);
	return NULL;
}

TEST_F(parity, removing_a_pf_waits_for_the_users_of_its_vfs)
{
	int event = eventfd(0, 0);
	char vf[BDF_LEN];
	struct action removal = { .act = remove_device, .bdf = self->pf };
	pthread_t setter;

	if (!is_pf(self->pf))
		SKIP(return, INCAPABLE);
	ASSERT_EQ(0, set_numvfs(self->pf, 2));
	ASSERT_EQ(0, vf_bdf(self->pf, 1, vf));
	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), token_a));
	ASSERT_EQ(0, open_device(&self->vf_device, vf, any_path(), token_a));
	ASSERT_EQ(0, on_event(self->vf_device.fd, VFIO_PCI_REQ_IRQ_INDEX, event));
	ASSERT_EQ(0, pthread_create(&setter, NULL, set_tokens, &self->device.fd));
	ASSERT_EQ(0, start_action(&removal));
	EXPECT_TRUE(comes(event));
	EXPECT_FALSE(has_ended(&removal));

	close_device(&self->vf_device);
	ASSERT_EQ(0, pthread_join(setter, NULL));
	close_device(&self->device);
	EXPECT_EQ(0, result_of(&removal));
	EXPECT_FALSE(is_there(self->pf));
	EXPECT_FALSE(is_there(vf));
	ASSERT_EQ(0, write_sysfs("1", "/sys/bus/pci/rescan"));
	EXPECT_EQ(0, ensure_pf(self->pf, variant->driver, 1));
	close(event);
}

TEST_F(parity, unbinding_a_vf_waits_for_its_user_alone)
{
	int event = eventfd(0, 0);
	char vf[BDF_LEN];
	struct action removal = { .act = unbind_device, .bdf = vf };

	if (!is_pf(self->pf))
		SKIP(return, INCAPABLE);
	ASSERT_EQ(0, set_numvfs(self->pf, 2));
	ASSERT_EQ(0, vf_bdf(self->pf, 1, vf));
	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), token_a));
	ASSERT_EQ(0, open_device(&self->vf_device, vf, any_path(), token_a));
	ASSERT_EQ(0, on_event(self->vf_device.fd, VFIO_PCI_REQ_IRQ_INDEX, event));
	ASSERT_EQ(0, start_action(&removal));
	EXPECT_TRUE(comes(event));
	close_device(&self->vf_device);
	EXPECT_EQ(0, result_of(&removal));
	EXPECT_FALSE(is_bound(vf, variant->driver));
	/* It no longer counts as open. */
	EXPECT_EQ(0, set_token(self->device.fd, token_b));
	close(event);
}

/* What the kernel's drivers/pci/pcie/aer_inject.c reads. */
struct aer_error {
	uint8_t bus;
	uint8_t dev;
	uint8_t fn;
	uint32_t uncor_status;
	uint32_t cor_status;
	uint32_t header_log[4];
	uint32_t domain;
};

TEST_F(parity, an_error_of_the_bus_is_told_to_the_user)
{
	struct aer_error error = { .uncor_status = PCI_ERR_UNC_COMP_TIME };
	int event = eventfd(0, 0);
	unsigned int domain, bus, dev, fn;
	ssize_t written;
	int fd, fields;

	if (system("modprobe -q aer_inject"))
		SKIP(return, "there is no module aer_inject");
	fields = sscanf(self->pf, "%x:%x:%x.%x", &domain, &bus, &dev, &fn);
	ASSERT_EQ(4, fields);
	error.domain = domain;
	error.bus = bus;
	error.dev = dev;
	error.fn = fn;

	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), NULL));
	ASSERT_EQ(0, on_event(self->device.fd, VFIO_PCI_ERR_IRQ_INDEX, event));
	fd = open("/dev/aer_inject", O_WRONLY);
	ASSERT_LE(0, fd);
	written = write(fd, &error, sizeof(error));
	if (written < 0 && errno == EPROTONOSUPPORT)
		SKIP(return, INCAPABLE);
	ASSERT_EQ(sizeof(error), written);
	EXPECT_TRUE(comes(event));
	close(fd);
	close(event);
}

TEST_F(parity, a_device_that_is_being_unbound_does_not_open)
{
	const bool has_token = is_pf(self->pf);
	const int answer = has_token && !strcmp(variant->driver, DRIVER) ? -ENODEV : -EAGAIN;
	struct action unbinding = { .act = unbind_device, .bdf = self->pf };

	if (setup_path(PATH_CDEV))
		SKIP(return, "the kernel has no iommufd");
	/* An open file delays the unbinding, and the device is not open. */
	ASSERT_EQ(0, prepare_device(&self->device, self->pf, PATH_CDEV));
	ASSERT_EQ(0, start_action(&unbinding));
	while (is_registered(self->pf))
		usleep(1000);
	EXPECT_EQ(answer, present_token(&self->device, self->pf, PATH_CDEV, NULL));
	EXPECT_EQ(has_token ? answer : -EINVAL,
		  present_token(&self->device, self->pf, PATH_CDEV, token_a));
	EXPECT_FALSE(has_ended(&unbinding));
	close_device(&self->device);
	EXPECT_EQ(0, result_of(&unbinding));
}

TEST_F(parity, new_id_takes_no_driver_data)
{
	const char *file = "/sys/bus/pci/drivers/%s/%s";
	const char *id = "1234 5678 ffffffff ffffffff 0 0";

	EXPECT_EQ(-EINVAL, write_sysfs("1234 5678 ffffffff ffffffff 0 0 1", file,
				       variant->driver, "new_id"));
	EXPECT_EQ(-ENODEV, write_sysfs(id, file, variant->driver, "remove_id"));

	EXPECT_EQ(0, write_sysfs("1234 5678 ffffffff ffffffff 0 0 0", file,
				 variant->driver, "new_id"));
	EXPECT_EQ(0, write_sysfs(id, file, variant->driver, "remove_id"));
}

TEST_HARNESS_MAIN
