// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device that outlives its driver: closing a character device first ends its
 * use, for which unbinding waits, and then drops the reference to the device. In
 * between, the driver is unbound and its module removed.
 *
 * The scheduler makes this short interval long. Four threads share a processor,
 * and those of higher priority preempt the others at any point. From the lowest
 * to the highest priority:
 *
 *   closer       closes the character device, which wakes the unbinder
 *   hog          spins as soon as the unbinder no longer waits for the closer
 *   kdevtmpfs    the kernel's thread for which the unbinder has to wait
 *   unbinder     unbinds the driver, and removes its module
 *
 * VFIO_PCI_RUST_DRIVER in the environment names another driver. With vfio-pci the
 * kernel panics.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/socket.h>

#include <linux/netlink.h>

#include "../kselftest_harness.h"
#include "lib.h"

enum { CLOSER = 1, HOG, KDEVTMPFS, UNBINDER };	/* real-time priorities */

/* How long the closer is stopped, if the module is not removed before. */
#define PATIENCE (10 * NSEC_PER_SEC)

static struct {
	const char *bdf, *driver;
	int cdev, events;
	sem_t may_close;
	atomic_int unbinder;			/* its thread ID */
	atomic_bool is_waiting;			/* the unbinder, for the closer */
	atomic_bool is_past, is_closed;		/* what has happened */
	atomic_bool was_closed;			/* when the unbinder went on */
	atomic_bool is_gone;			/* the module */
	int unbound, removed;			/* the answers */
} test;

static void *run_closer(void *unused)
{
	sem_wait(&test.may_close);
	close(test.cdev);
	test.is_closed = true;
	return NULL;
}

/* A socket on which the kernel sends events of devices. */
static int open_events(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	if (fd >= 0 && !bind(fd, (void *)&address, sizeof(address)))
		return fd;
	close(fd);
	return -errno;
}

/* Waits until a device of this class is removed. */
static void wait_for_removal(int events, const char *class)
{
	char message[4096], subsystem[64];
	ssize_t len;

	snprintf(subsystem, sizeof(subsystem), "SUBSYSTEM=%s", class);
	for (;;) {
		const char *line;
		bool removed;

		len = recv(events, message, sizeof(message) - 1, 0);
		if (len <= 0)
			continue;
		message[len] = 0;
		removed = !strncmp(message, "remove@", 7);
		for (line = message; removed && line < message + len; line += strlen(line) + 1)
			if (!strcmp(line, subsystem))
				return;
	}
}

static void *run_hog(void *unused)
{
	int64_t end;

	/* The device is removed, then the unbinder waits, and then its group is removed. */
	wait_for_removal(test.events, "vfio-dev");
	test.is_waiting = true;
	wait_for_removal(test.events, "vfio");
	test.was_closed = test.is_closed;
	test.is_past = true;
	end = now(CLOCK_MONOTONIC) + PATIENCE;
	while (!test.is_gone && now(CLOCK_MONOTONIC) < end)
		;
	return NULL;
}

static void *run_unbinder(void *unused)
{
	test.unbinder = gettid();
	test.unbound = write_sysfs(test.bdf, "/sys/bus/pci/drivers/%s/unbind", test.driver);
	test.removed = remove_module(test.driver);
	test.is_gone = true;
	return NULL;
}

/* The kernel's thread for the files in /dev, or 0. */
static pid_t find_kdevtmpfs(void)
{
	char name[32];
	struct dirent *entry;
	DIR *proc = opendir("/proc");
	pid_t found = 0;

	while (proc && !found && (entry = readdir(proc))) {
		if (atoi(entry->d_name) &&
		    read_sysfs(name, sizeof(name), "/proc/%s/comm", entry->d_name) > 0 &&
		    !strcmp(name, "kdevtmpfs"))
			found = atoi(entry->d_name);
	}
	if (proc)
		closedir(proc);
	return found;
}

/* Whether a thread of this process is in an interruptible sleep. */
static bool is_asleep(pid_t thread)
{
	char text[256];
	const char *end;

	if (read_sysfs(text, sizeof(text), "/proc/self/task/%d/stat", thread) <= 0)
		return false;
	end = strrchr(text, ')');
	return end && end[1] == ' ' && end[2] == 'S';
}

FIXTURE(lifetime) {
	const char *pf, *driver;
	pid_t kdevtmpfs;
	cpu_set_t processors;	/* of kdevtmpfs */
};

FIXTURE_SETUP(lifetime)
{
	struct sched_param urgent = { .sched_priority = KDEVTMPFS };
	const char *problem = setup_path(PATH_CDEV) ?: setup_pf(&self->pf);
	cpu_set_t last;

	self->driver = getenv("VFIO_PCI_RUST_DRIVER");
	if (!self->driver)
		self->driver = DRIVER;
	if (!problem && !strcmp(self->driver, C_DRIVER))
		problem = setup_c_driver();
	if (!problem && !is_loaded(self->driver))
		problem = "the driver is built in";
	if (problem)
		SKIP(return, "%s", problem);

	self->kdevtmpfs = find_kdevtmpfs();
	if (self->kdevtmpfs) {
		CPU_ZERO(&last);
		CPU_SET(last_processor(), &last);
		ASSERT_EQ(0, sched_getaffinity(self->kdevtmpfs, sizeof(last),
					       &self->processors));
		ASSERT_EQ(0, sched_setaffinity(self->kdevtmpfs, sizeof(last), &last));
		ASSERT_EQ(0, sched_setscheduler(self->kdevtmpfs, SCHED_FIFO, &urgent));
	}
}

FIXTURE_TEARDOWN(lifetime)
{
	struct sched_param normal = {};

	if (self->kdevtmpfs) {
		EXPECT_EQ(0, sched_setscheduler(self->kdevtmpfs, SCHED_OTHER, &normal));
		EXPECT_EQ(0, sched_setaffinity(self->kdevtmpfs, sizeof(self->processors),
					       &self->processors));
	}
}

TEST_F_TIMEOUT(lifetime, the_module_goes_while_a_file_is_being_closed, 120)
{
	pthread_t closer, hog, unbinder;
	struct device device;
	int processor = last_processor();

	ASSERT_EQ(0, bind_driver(self->pf, self->driver));
	/* It is not bound to an iommufd, since an open device would keep the module. */
	ASSERT_EQ(0, prepare_device(&device, self->pf, PATH_CDEV));
	test.bdf = self->pf;
	test.driver = self->driver;
	test.cdev = device.fd;
	test.events = open_events();
	ASSERT_LE(0, test.events);
	ASSERT_EQ(0, sem_init(&test.may_close, 0, 0));

	ASSERT_EQ(0, start_urgent(&closer, CLOSER, processor, run_closer, NULL));
	ASSERT_EQ(0, start_urgent(&hog, HOG, processor, run_hog, NULL));
	ASSERT_EQ(0, start_urgent(&unbinder, UNBINDER, processor, run_unbinder, NULL));
	while (!test.is_waiting || !is_asleep(test.unbinder))
		usleep(1000);
	ASSERT_FALSE(atomic_load(&test.is_past));
	ksft_print_msg("%s: closing\n", self->driver);
	sem_post(&test.may_close);

	ASSERT_EQ(0, pthread_join(hog, NULL));
	ASSERT_EQ(0, pthread_join(unbinder, NULL));
	ASSERT_EQ(0, pthread_join(closer, NULL));
	device.fd = -1;
	close_device(&device);
	close(test.events);

	/* Otherwise the interval was missed, and nothing was tested. */
	EXPECT_FALSE(atomic_load(&test.was_closed));
	EXPECT_EQ(0, test.unbound);
	EXPECT_EQ(0, test.removed);
	EXPECT_FALSE(is_loaded(self->driver));
}

TEST_HARNESS_MAIN
