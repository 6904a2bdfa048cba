// SPDX-License-Identifier: GPL-2.0-only
/*
 * The directory vf_token in sysfs: which devices open without a token, and what it
 * shows of a PF.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define DEVICES "/sys/bus/pci/devices/"

FIXTURE(admit) {
	const char *pf;
	char vf[BDF_LEN];
	char other_vf[BDF_LEN];
	struct device pf_device;
	struct device device;
};

FIXTURE_VARIANT(admit) {
	enum path path;
};

FIXTURE_VARIANT_ADD(admit, group) { .path = PATH_GROUP };
FIXTURE_VARIANT_ADD(admit, cdev) { .path = PATH_CDEV };

/* An open PF with two VFs that are not admitted, and token_a. */
FIXTURE_SETUP(admit)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);

	self->pf_device = (struct device)DEVICE_CLOSED;
	self->device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);

	ASSERT_EQ(0, start_pf(&self->pf_device, self->pf, DRIVER, 2, variant->path));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, vf_bdf(self->pf, 1, self->other_vf));
	ASSERT_EQ(0, admit(self->pf, NULL));
	ASSERT_EQ(0, admit(self->vf, NULL));
	ASSERT_EQ(0, admit(self->other_vf, NULL));
}

FIXTURE_TEARDOWN(admit)
{
	close_device(&self->device);
	close_device(&self->pf_device);
}

TEST_F(admit, an_admitted_vf_opens_without_a_token)
{
	EXPECT_EQ(0, token_file(self->vf, "admit"));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));

	ASSERT_EQ(0, admit(self->vf, token_a));
	EXPECT_EQ(1, token_file(self->vf, "admit"));
	/* An admission is not used up. */
	EXPECT_EQ(0, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(0, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(1, token_file(self->vf, "admit"));
	/* The token still opens it, and another one does not. */
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_b));
	/* The admission is for this VF only. */
	EXPECT_EQ(0, token_file(self->other_vf, "admit"));
	EXPECT_EQ(-EACCES, try_open(self->other_vf, variant->path, NULL));
}

TEST_F(admit, an_admitted_vf_that_is_open_keeps_the_token)
{
	ASSERT_EQ(0, admit(self->vf, token_a));
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, NULL));
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_b));
	close_device(&self->device);
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));
}

TEST_F(admit, a_wrong_token_admits_nobody)
{
	const char * const words[] = { "wrong VF token", self->vf, self->pf, "admit", NULL };
	const char * const of_pf[] = { "wrong VF token", self->pf, NULL };
	int log[2] = { open_log(), open_log() };

	ASSERT_LE(0, log[0]);
	ASSERT_LE(0, log[1]);
	EXPECT_EQ(-EACCES, admit(self->vf, token_b));
	EXPECT_EQ(0, token_file(self->vf, "admit"));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_TRUE(log_has(log[0], words));
	EXPECT_EQ(-EACCES, admit(self->pf, token_b));
	EXPECT_TRUE(log_has(log[1], of_pf));

	/* Nor does it end an admission. */
	ASSERT_EQ(0, admit(self->vf, token_a));
	EXPECT_EQ(-EACCES, admit(self->vf, token_b));
	EXPECT_EQ(0, try_open(self->vf, variant->path, NULL));
	close(log[0]);
	close(log[1]);
}

TEST_F(admit, an_admission_can_be_withdrawn)
{
	ASSERT_EQ(0, admit(self->vf, token_a));
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, NULL));
	ASSERT_EQ(0, admit(self->vf, NULL));
	EXPECT_EQ(0, token_file(self->vf, "admit"));
	/* A VF that is open stays open. */
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_b));
	close_device(&self->device);
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));
}

TEST_F(admit, another_token_ends_every_admission)
{
	ASSERT_EQ(0, admit(self->vf, token_a));
	ASSERT_EQ(0, admit(self->other_vf, token_a));
	/* The same one does not. */
	ASSERT_EQ(0, set_token(self->pf_device.fd, token_a));
	EXPECT_EQ(1, token_file(self->vf, "admit"));
	EXPECT_EQ(0, try_open(self->vf, variant->path, NULL));

	ASSERT_EQ(0, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(0, token_file(self->vf, "admit"));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->other_vf, variant->path, NULL));
	/* Setting the old token again does not restore it. */
	ASSERT_EQ(0, set_token(self->pf_device.fd, token_a));
	EXPECT_EQ(0, token_file(self->vf, "admit"));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
}

TEST_F(admit, a_token_that_opens_the_pf_ends_every_admission)
{
	ASSERT_EQ(0, admit(self->vf, token_a));
	close_device(&self->pf_device);
	EXPECT_EQ(0, try_open(self->vf, variant->path, NULL));
	ASSERT_EQ(0, try_open(self->pf, variant->path, token_b));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
}

TEST_F(admit, unbinding_ends_an_admission)
{
	ASSERT_EQ(0, admit(self->vf, token_a));
	ASSERT_EQ(0, bind_driver(self->vf, NULL));
	ASSERT_EQ(0, bind_driver(self->vf, DRIVER));
	EXPECT_EQ(0, token_file(self->vf, "admit"));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
}

TEST_F(admit, an_admitted_pf_opens_beside_open_vfs)
{
	EXPECT_EQ(1, token_file(self->pf, "admit"));
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	close_device(&self->pf_device);
	EXPECT_EQ(0, token_file(self->pf, "admit"));
	EXPECT_EQ(-EACCES, try_open(self->pf, variant->path, NULL));

	ASSERT_EQ(0, admit(self->pf, token_a));
	EXPECT_EQ(1, token_file(self->pf, "admit"));
	EXPECT_EQ(0, try_open(self->pf, variant->path, NULL));
	EXPECT_EQ(0, try_open(self->pf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->pf, variant->path, token_b));
	/* Admitting the PF does not admit its VFs. */
	EXPECT_EQ(-EACCES, try_open(self->other_vf, variant->path, NULL));

	ASSERT_EQ(0, admit(self->pf, NULL));
	EXPECT_EQ(-EACCES, try_open(self->pf, variant->path, NULL));
	close_device(&self->device);
	EXPECT_EQ(0, try_open(self->pf, variant->path, NULL));
}

TEST_F(admit, only_a_uuid_or_none_is_taken)
{
	char uuid[37], text[64];
	const char * const bad[] = {
		"\n", "1", "none ", "None", "%s ", " %s", "%s\n\n", "%.35s", "%s0", "{%.34s}",
		"%.35sg", "vf_token=%s",
	};
	const char * const good[] = { "%s", "%s\n" };
	size_t i;

	token_text(uuid, token_a);
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), bad[i], uuid);
		EXPECT_EQ(-EINVAL, write_sysfs(text, DEVICES "%s/vf_token/admit", self->vf)) {
			TH_LOG("text %zu", i);
		}
		EXPECT_EQ(0, token_file(self->vf, "admit"));
	}
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		snprintf(text, sizeof(text), good[i], uuid);
		EXPECT_EQ(0, write_sysfs(text, DEVICES "%s/vf_token/admit", self->vf));
		EXPECT_EQ(1, token_file(self->vf, "admit"));
		EXPECT_EQ(0, write_sysfs("none\n", DEVICES "%s/vf_token/admit", self->vf));
		EXPECT_EQ(0, token_file(self->vf, "admit"));
	}
	for (i = 0; uuid[i]; i++)
		uuid[i] = toupper(uuid[i]);
	EXPECT_EQ(0, write_sysfs(uuid, DEVICES "%s/vf_token/admit", self->vf));
	EXPECT_EQ(1, token_file(self->vf, "admit"));
}

/* The permissions of a file in the directory vf_token, or a negative errno. */
static int mode_of(const char *bdf, const char *name)
{
	char path[PATH_MAX];
	struct stat stat_;

	snprintf(path, sizeof(path), DEVICES "%s/vf_token/%s", bdf, name);
	return stat(path, &stat_) ? -errno : (int)(stat_.st_mode & 07777);
}

TEST_F(admit, files_are_where_they_mean_something)
{
	EXPECT_EQ(0600, mode_of(self->pf, "admit"));
	EXPECT_EQ(0444, mode_of(self->pf, "generation"));
	EXPECT_EQ(0444, mode_of(self->pf, "open_vfs"));
	EXPECT_EQ(0444, mode_of(self->pf, "state"));
	EXPECT_EQ(0600, mode_of(self->vf, "admit"));
	EXPECT_EQ(-ENOENT, mode_of(self->vf, "generation"));
	EXPECT_EQ(-ENOENT, mode_of(self->vf, "open_vfs"));
	EXPECT_EQ(-ENOENT, mode_of(self->vf, "state"));

	/* They exist only while the driver is bound. */
	ASSERT_EQ(0, bind_driver(self->vf, NULL));
	EXPECT_EQ(-ENOENT, mode_of(self->vf, "admit"));
	ASSERT_EQ(0, bind_driver(self->vf, DRIVER));
	EXPECT_EQ(0600, mode_of(self->vf, "admit"));
}

TEST_F(admit, a_function_without_sriov_has_no_folder)
{
	const char *plain;

	if (setup_plain(&plain))
		SKIP(return, "there is no such function");
	ASSERT_EQ(0, bind_driver(plain, DRIVER));
	EXPECT_EQ(-ENOENT, mode_of(plain, "."));
	EXPECT_EQ(-ENOENT, mode_of(plain, "admit"));
	EXPECT_EQ(0, bind_driver(plain, NULL));
}

TEST_F(admit, open_vfs_are_counted)
{
	struct device other = DEVICE_CLOSED;

	EXPECT_EQ(0, token_file(self->pf, "open_vfs"));
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(1, token_file(self->pf, "open_vfs"));
	ASSERT_EQ(0, open_device(&other, self->other_vf, variant->path, token_a));
	EXPECT_EQ(2, token_file(self->pf, "open_vfs"));
	close_device(&other);
	close_device(&self->device);
	EXPECT_EQ(0, token_file(self->pf, "open_vfs"));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_b));
	EXPECT_EQ(0, token_file(self->pf, "open_vfs"));
}

TEST_F(admit, open_vfs_under_another_driver_are_counted_and_beside_them_the_pf_is_admitted)
{
	const char *problem = setup_c_driver();

	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, bind_driver(self->vf, C_DRIVER));
	EXPECT_EQ(0, token_file(self->pf, "open_vfs"));
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(1, token_file(self->pf, "open_vfs"));

	close_device(&self->pf_device);
	EXPECT_EQ(0, token_file(self->pf, "admit"));
	EXPECT_EQ(-EACCES, try_open(self->pf, variant->path, NULL));
	ASSERT_EQ(0, admit(self->pf, token_a));
	EXPECT_EQ(0, try_open(self->pf, variant->path, NULL));
	close_device(&self->device);
	EXPECT_EQ(0, token_file(self->pf, "open_vfs"));
	EXPECT_EQ(0, bind_driver(self->vf, DRIVER));
}

/* Waits a second for a change of a file, and reads it. */
static long next_value(int fd)
{
	struct pollfd poll_ = { .fd = fd, .events = POLLPRI };
	char text[32] = {};

	if (poll(&poll_, 1, 1000) != 1)
		return -ETIMEDOUT;
	if (pread(fd, text, sizeof(text) - 1, 0) < 0)
		return -errno;
	return atol(text);
}

TEST_F(admit, who_polls_open_vfs_is_woken)
{
	char path[PATH_MAX], text[32];
	int fd;

	snprintf(path, sizeof(path), DEVICES "%s/vf_token/open_vfs", self->pf);
	fd = open(path, O_RDONLY);
	ASSERT_LE(0, fd);
	ASSERT_LT(0, pread(fd, text, sizeof(text), 0));

	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(1, next_value(fd));
	close_device(&self->device);
	EXPECT_EQ(0, next_value(fd));
	EXPECT_EQ(-ETIMEDOUT, next_value(fd));
	close(fd);
}

/* One of them reads the new number at once, the other after another change. */
TEST_F(admit, all_who_poll_open_vfs_are_woken)
{
	char path[PATH_MAX], text[32];
	int fds[2], i;

	snprintf(path, sizeof(path), DEVICES "%s/vf_token/open_vfs", self->pf);
	for (i = 0; i < 2; i++) {
		fds[i] = open(path, O_RDONLY);
		ASSERT_LE(0, fds[i]);
		ASSERT_LT(0, pread(fds[i], text, sizeof(text), 0));
	}

	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(1, next_value(fds[0]));
	close_device(&self->device);
	EXPECT_EQ(0, next_value(fds[1]));
	EXPECT_EQ(0, next_value(fds[0]));

	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	close_device(&self->device);
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(0, next_value(fds[i]));
		close(fds[i]);
	}
}

TEST_F(admit, generation_and_state_tell_of_the_token)
{
	char state[16];

	close_device(&self->pf_device);
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	ASSERT_EQ(0, ensure_pf(self->pf, DRIVER, 1));
	EXPECT_EQ(0, token_file(self->pf, "generation"));
	EXPECT_LT(0, read_sysfs(state, sizeof(state), DEVICES "%s/vf_token/state", self->pf));
	EXPECT_STREQ("random", state);

	ASSERT_EQ(0, open_device(&self->pf_device, self->pf, variant->path, NULL));
	EXPECT_EQ(0, token_file(self->pf, "generation"));
	ASSERT_EQ(0, set_token(self->pf_device.fd, token_a));
	ASSERT_EQ(0, set_token(self->pf_device.fd, token_a));
	EXPECT_EQ(1, token_file(self->pf, "generation"));
	EXPECT_LT(0, read_sysfs(state, sizeof(state), DEVICES "%s/vf_token/state", self->pf));
	EXPECT_STREQ("set", state);
	ASSERT_EQ(0, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(2, token_file(self->pf, "generation"));
}

/* VFs whose PF is not under this driver. */
FIXTURE(foreign_pf) {
	const char *pf;
	char vf[BDF_LEN];
};

FIXTURE_SETUP(foreign_pf)
{
	const char *problem = setup_pf(&self->pf);

	if (!problem)
		problem = setup_c_driver();
	if (problem)
		SKIP(return, "%s", problem);
}

FIXTURE_TEARDOWN(foreign_pf)
{
	set_numvfs(self->pf, 0);
	bind_driver(self->pf, NULL);
}

TEST_F(foreign_pf, under_another_vfio_driver_admits_nobody)
{
	const char * const words[] = { "not admitted", self->vf, NULL };
	int log = open_log();

	ASSERT_LE(0, log);
	ASSERT_EQ(0, ensure_pf(self->pf, C_DRIVER, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, bind_driver(self->vf, DRIVER));
	ASSERT_EQ(0, try_open(self->pf, any_path(), token_a));
	EXPECT_EQ(-EOPNOTSUPP, admit(self->vf, token_a));
	EXPECT_TRUE(log_has(log, words));
	EXPECT_EQ(0, token_file(self->vf, "admit"));
	EXPECT_EQ(-EACCES, try_open(self->vf, any_path(), NULL));
	close(log);
}

TEST_F(foreign_pf, under_no_vfio_driver_needs_no_admission)
{
	const char * const words[] = { "VF token given", self->vf, NULL };
	int log = open_log();

	ASSERT_LE(0, log);
	if (system("modprobe -q igb") || bind_driver(self->pf, "igb"))
		SKIP(return, "the device is not for the driver igb");
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, bind_driver(self->vf, DRIVER));
	EXPECT_EQ(-EINVAL, admit(self->vf, token_a));
	EXPECT_TRUE(log_has(log, words));
	EXPECT_EQ(1, token_file(self->vf, "admit"));
	EXPECT_EQ(0, try_open(self->vf, any_path(), NULL));
	close(log);
}

TEST_HARNESS_MAIN
