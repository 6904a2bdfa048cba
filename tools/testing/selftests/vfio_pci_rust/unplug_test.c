// SPDX-License-Identifier: GPL-2.0-only
/*
 * The card is unplugged while it is in use, and plugged in again.
 *
 * This needs QEMU: the tests send commands to its monitor by a virtio port. Devices are
 * named after their buses: dev0 on rp0 is 0000:01:00.0.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define PORTS		"/sys/class/virtio-ports"
#define SECONDS		60	/* that a slow guest may take */

FIXTURE(unplug) {
	const char *pf, *victim;
	char vf[BDF_LEN];
	struct device pf_device, vf_device;
	int pf_asked, vf_asked;	/* events: the kernel asks for the device */
	int monitor;
	int slot;
};

static int open_monitor(void)
{
	DIR *ports = opendir(PORTS);
	struct dirent *port;
	char path[PATH_MAX], name[64];
	int fd = -1, file;

	while (ports && fd < 0 && (port = readdir(ports))) {
		snprintf(path, sizeof(path), PORTS "/%s/name", port->d_name);
		memset(name, 0, sizeof(name));
		file = open(path, O_RDONLY);
		if (file < 0 || read(file, name, sizeof(name) - 1) < 0)
			name[0] = 0;
		close(file);
		if (strncmp(name, "qemu-monitor", strlen("qemu-monitor")))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", port->d_name);
		fd = open(path, O_RDWR);
	}
	if (ports)
		closedir(ports);
	return fd;
}

static bool is_there(const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", bdf);
	return !access(path, F_OK);
}

/* Waits until the device exists, or does not. */
static bool gets_there(const char *bdf, bool there)
{
	int i;

	for (i = 0; i < SECONDS * 10 && is_there(bdf) != there; i++)
		usleep(100000);
	return is_there(bdf) == there;
}

/* QEMU accepts it when the slot has released the old one, a while after Linux has. */
static bool plug(int monitor, int slot, const char *bdf)
{
	int i;

	for (i = 0; i < SECONDS && !is_there(bdf); i++) {
		dprintf(monitor, "device_add igb,id=dev%d,bus=rp%d,netdev=net%d\n",
			slot, slot, slot);
		sleep(1);
	}
	return is_there(bdf);
}

/* A card that was just plugged in exists for a while before a driver can bind it. */
static int give_to_driver(const char *bdf)
{
	int ret, i;

	for (i = 0; i < SECONDS; i++) {
		ret = ensure_pf(bdf, DRIVER, 1);
		if (ret != -ENODEV)
			break;
		sleep(1);
	}
	return ret;
}

FIXTURE_SETUP(unplug)
{
	const char *problem = setup_pf(&self->pf);

	self->pf_device = (struct device)DEVICE_CLOSED;
	self->vf_device = (struct device)DEVICE_CLOSED;
	self->pf_asked = eventfd(0, 0);
	self->vf_asked = eventfd(0, 0);
	self->monitor = open_monitor();
	if (!problem)
		problem = setup_second_pf(self->pf, &self->victim);
	if (!problem && self->monitor < 0)
		problem = "this is no guest with a port to QEMU's monitor";
	if (problem)
		SKIP(return, "%s", problem);

	self->slot = strtol(self->victim + strlen("0000:"), NULL, 16) - 1;
	ASSERT_EQ(0, give_to_driver(self->victim));
	ASSERT_EQ(0, vf_bdf(self->victim, 0, self->vf));
	ASSERT_EQ(0, open_device(&self->pf_device, self->victim, any_path(), token_a));
	ASSERT_EQ(0, open_device(&self->vf_device, self->vf, any_path(), token_a));
	ASSERT_EQ(0, on_event(self->pf_device.fd, VFIO_PCI_REQ_IRQ_INDEX, self->pf_asked));
	ASSERT_EQ(0, on_event(self->vf_device.fd, VFIO_PCI_REQ_IRQ_INDEX, self->vf_asked));
}

FIXTURE_TEARDOWN(unplug)
{
	close_device(&self->vf_device);
	close_device(&self->pf_device);
	close(self->vf_asked);
	close(self->pf_asked);
	if (self->monitor >= 0 && !is_there(self->victim))
		plug(self->monitor, self->slot, self->victim);
	if (self->victim && is_there(self->victim))
		restore_device(self->victim);
	close(self->monitor);
}

static bool comes(int event)
{
	struct pollfd wait = { .fd = event, .events = POLLIN };

	return poll(&wait, 1, SECONDS * 1000) == 1;
}

static bool has_come(int event)
{
	struct pollfd wait = { .fd = event, .events = POLLIN };

	return poll(&wait, 1, 0) == 1;
}

/* The VF's user is asked first, then the PF's: the VFs go before their PF. */
TEST_F_TIMEOUT(unplug, users_are_asked_before_the_card_goes, 5 * SECONDS)
{
	dprintf(self->monitor, "device_del dev%d\n", self->slot);
	ASSERT_TRUE(comes(self->vf_asked));
	EXPECT_FALSE(has_come(self->pf_asked));
	/* So far nothing has changed. */
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(0, feature(self->pf_device.fd, VFIO_DEVICE_FEATURE_PROBE |
			     VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, NULL, 0));

	close_device(&self->vf_device);
	ASSERT_TRUE(comes(self->pf_asked));
	EXPECT_FALSE(is_there(self->vf));
	/* The token is gone, and so are the VFs. */
	EXPECT_EQ(-ENODEV, set_token(self->pf_device.fd, token_b));

	EXPECT_TRUE(is_there(self->victim));
	close_device(&self->pf_device);
	EXPECT_TRUE(gets_there(self->victim, false));
}

TEST_F_TIMEOUT(unplug, a_card_that_comes_back_has_a_new_token, 5 * SECONDS)
{
	close_device(&self->vf_device);
	close_device(&self->pf_device);
	dprintf(self->monitor, "device_del dev%d\n", self->slot);
	ASSERT_TRUE(gets_there(self->victim, false));
	ASSERT_TRUE(plug(self->monitor, self->slot, self->victim));

	ASSERT_EQ(0, give_to_driver(self->victim));
	ASSERT_EQ(0, vf_bdf(self->victim, 0, self->vf));
	EXPECT_EQ(-EACCES, try_open(self->vf, any_path(), token_a));
	ASSERT_EQ(0, open_device(&self->pf_device, self->victim, any_path(), NULL));
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(0, try_open(self->vf, any_path(), token_b));
}

TEST_HARNESS_MAIN
