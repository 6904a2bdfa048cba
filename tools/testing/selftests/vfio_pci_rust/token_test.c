// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VF token: when it can be set, and what opens with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define PROBE_TOKEN (VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN)

FIXTURE(token) {
	const char *pf;
	char vf[BDF_LEN];
	char other_vf[BDF_LEN];
	struct device pf_device;
	struct device device;
};

FIXTURE_VARIANT(token) {
	enum path path;
};

FIXTURE_VARIANT_ADD(token, group) { .path = PATH_GROUP };
FIXTURE_VARIANT_ADD(token, cdev) { .path = PATH_CDEV };
FIXTURE_VARIANT_ADD(token, compat) { .path = PATH_COMPAT };

/* An open PF with two VFs, and token_a. */
FIXTURE_SETUP(token)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);

	self->pf_device = (struct device)DEVICE_CLOSED;
	self->device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);

	ASSERT_EQ(0, start_pf(&self->pf_device, self->pf, DRIVER, 2, variant->path));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, vf_bdf(self->pf, 1, self->other_vf));
}

FIXTURE_TEARDOWN(token)
{
	close_device(&self->device);
	close_device(&self->pf_device);
}

TEST_F(token, new_vfs_inherit_the_driver)
{
	EXPECT_TRUE(is_bound(self->vf, DRIVER));
	EXPECT_TRUE(is_bound(self->other_vf, DRIVER));
}

TEST_F(token, vf_opens_with_the_right_token_alone)
{
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_b));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));
	/* One match is not enough for later openings. */
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(0, try_open(self->other_vf, variant->path, token_a));
}

TEST_F(token, a_new_token_replaces_the_old_one)
{
	ASSERT_EQ(0, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_a));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_b));
}

TEST_F(token, set_is_refused_while_a_vf_is_open)
{
	struct device second;

	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_a));

	/* The old token still holds. */
	EXPECT_EQ(-EACCES, try_open(self->other_vf, variant->path, token_b));
	ASSERT_EQ(0, open_device(&second, self->other_vf, variant->path, token_a));

	close_device(&self->device);
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_b));
	close_device(&second);
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));
}

TEST_F(token, a_refused_open_does_not_count_as_open)
{
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_b));
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));
}

TEST_F(token, set_is_refused_without_vfs)
{
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	EXPECT_EQ(-ENODEV, set_token(self->pf_device.fd, token_b));

	/* The token has not changed. */
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_b));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));
}

TEST_F(token, the_token_outlives_the_user_of_the_pf)
{
	close_device(&self->pf_device);
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_b));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));
}

TEST_F(token, the_first_token_is_random)
{
	static const uint8_t nil[UUID_LEN];

	close_device(&self->pf_device);
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	ASSERT_EQ(0, bind_driver(self->pf, DRIVER));
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, nil));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_a));
}

TEST_F(token, who_cannot_open_the_pf_does_not_change_the_token)
{
	if (variant->path == PATH_CDEV) {
		EXPECT_EQ(-EINVAL, try_open(self->pf, variant->path, token_b));
	} else {
		/* Only one process can have a group open. */
		EXPECT_EQ(-EBUSY, try_open(self->pf, variant->path, token_b));
	}
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_b));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));
}

TEST_F(token, pf_without_open_vf_opens_without_token)
{
	close_device(&self->pf_device);
	EXPECT_EQ(0, try_open(self->pf, variant->path, NULL));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));
}

TEST_F(token, pf_without_open_vf_takes_any_token_over)
{
	close_device(&self->pf_device);
	EXPECT_EQ(0, try_open(self->pf, variant->path, token_b));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_a));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_b));
}

TEST_F(token, pf_takes_a_token_over_with_sriov_off)
{
	close_device(&self->pf_device);
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	EXPECT_EQ(0, try_open(self->pf, variant->path, token_b));
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_a));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_b));
}

TEST_F(token, pf_with_open_vf_needs_the_token)
{
	close_device(&self->pf_device);
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(-EACCES, try_open(self->pf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->pf, variant->path, token_b));
	EXPECT_EQ(0, try_open(self->pf, variant->path, token_a));
}

TEST_F(token, vf_has_no_token_feature)
{
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(-ENOTTY, feature(self->device.fd, PROBE_TOKEN, NULL, 0));
	EXPECT_EQ(-ENOTTY, set_token(self->device.fd, token_a));
}

TEST_F(token, refusals_are_explained_and_show_no_token)
{
	const char * const missing[] = { "missing VF token", self->vf, self->pf,
				  "VFIO_DEVICE_FEATURE", "--vfio-vf-token", NULL };
	const char * const wrong[] = { "wrong VF token", self->vf, self->pf, NULL };
	const char * const busy[] = { "VF token not set", self->pf, "open", NULL };
	const char * const secret_a[] = { "1b4e28ba", NULL };
	const char * const secret_b[] = { "1B4E28BA", NULL };
	char name[128];
	int log[5], i;

	for (i = 0; i < 5; i++) {
		log[i] = open_log();
		ASSERT_LE(0, log[i]);
	}
	device_name(name, self->vf, token_a);
	ASSERT_NE(NULL, strstr(name, secret_a[0]));

	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_b));
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_b));

	EXPECT_TRUE(log_has(log[0], missing));
	EXPECT_TRUE(log_has(log[1], wrong));
	EXPECT_TRUE(log_has(log[2], busy));
	EXPECT_FALSE(log_has(log[3], secret_a));
	EXPECT_FALSE(log_has(log[4], secret_b));
}

TEST_F(token, refusals_do_not_flood_the_log)
{
	const char * const words[] = { "missing VF token", NULL };
	int log = open_log(), lines = 0, i;
	time_t begin = time(NULL);

	ASSERT_LE(0, log);
	for (i = 0; i < 50; i++)
		EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	while (log_has(log, words))
		lines++;
	EXPECT_LE(1, lines);
	/* Ten in five seconds; the interval may have begun before the test. */
	EXPECT_GE(10 * ((time(NULL) - begin) / 5 + 2), lines);
}

/* An open PF with token_a, under lenient_token=Y; and a VF of it under some driver. */
FIXTURE(lenient) {
	const char *pf;
	char vf[BDF_LEN];
	struct device pf_device;
	struct device device;
};

FIXTURE_VARIANT(lenient) {
	enum path path;
	const char *vf_driver;
};

FIXTURE_VARIANT_ADD(lenient, group) { PATH_GROUP, DRIVER };
FIXTURE_VARIANT_ADD(lenient, cdev) { PATH_CDEV, DRIVER };
FIXTURE_VARIANT_ADD(lenient, vf_c_group) { PATH_GROUP, C_DRIVER };
FIXTURE_VARIANT_ADD(lenient, vf_c_cdev) { PATH_CDEV, C_DRIVER };

FIXTURE_SETUP(lenient)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);

	self->pf_device = (struct device)DEVICE_CLOSED;
	self->device = (struct device)DEVICE_CLOSED;
	if (!problem)
		problem = setup_c_driver();
	if (problem)
		SKIP(return, "%s", problem);

	ASSERT_EQ(0, set_parameter(DRIVER, "lenient_token", "Y"));
	ASSERT_EQ(0, start_pf(&self->pf_device, self->pf, DRIVER, 1, variant->path));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, bind_driver(self->vf, variant->vf_driver));
}

FIXTURE_TEARDOWN(lenient)
{
	set_parameter(DRIVER, "lenient_token", "N");
	close_device(&self->device);
	close_device(&self->pf_device);
}

TEST_F(lenient, set_needs_no_vfs)
{
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));

	/* VFs created later have it. */
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	ASSERT_EQ(0, bind_driver(self->vf, variant->vf_driver));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_a));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_b));
}

TEST_F(lenient, the_same_token_again_changes_nothing)
{
	long generation = token_file(self->pf, "generation");

	ASSERT_LT(0, generation);
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_a));
	EXPECT_EQ(generation, token_file(self->pf, "generation"));
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(generation, token_file(self->pf, "generation"));
	close_device(&self->device);
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));
}

TEST_F(lenient, the_choice_holds_from_the_next_set_on)
{
	const char * const words[] = { "VF token not set", self->pf, "lenient_token", NULL };
	int log = open_log();

	ASSERT_LE(0, log);
	ASSERT_EQ(0, set_parameter(DRIVER, "lenient_token", "N"));
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_a));
	close_device(&self->device);

	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	EXPECT_EQ(-ENODEV, set_token(self->pf_device.fd, token_b));
	EXPECT_TRUE(log_has(log, words));
	close(log);
	ASSERT_EQ(0, set_parameter(DRIVER, "lenient_token", "Y"));
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));
}

/*
 * Openings of a PF that fail after the token was checked: no VF is open, so any
 * token would be accepted.
 */
FIXTURE(late) {
	const char *pf;
	char vf[BDF_LEN];
	struct device device;
	struct device vf_device;
};

/* A PF with a VF and token_a, neither of them open. */
FIXTURE_SETUP(late)
{
	const char *problem = setup_pf(&self->pf);

	self->device = (struct device)DEVICE_CLOSED;
	self->vf_device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, ensure_pf(self->pf, DRIVER, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, try_open(self->pf, any_path(), token_a));
}

FIXTURE_TEARDOWN(late)
{
	close_device(&self->vf_device);
	close_device(&self->device);
}

/* Whether the token is still token_a. */
static bool is_token_a(const char *vf)
{
	return try_open(vf, any_path(), token_b) == -EACCES &&
	       !try_open(vf, any_path(), token_a);
}

TEST_F(late, without_an_iommufd_nothing_changes)
{
	if (setup_path(PATH_CDEV))
		SKIP(return, "the kernel has no iommufd");
	ASSERT_EQ(0, prepare_device(&self->device, self->pf, PATH_CDEV));
	close(self->device.iommu);
	EXPECT_EQ(-EBADF, present_token(&self->device, self->pf, PATH_CDEV, token_b));
	EXPECT_TRUE(is_token_a(self->vf));

	self->device.iommu = open("/dev/null", O_RDWR);
	ASSERT_LE(0, self->device.iommu);
	EXPECT_EQ(-EBADFD, present_token(&self->device, self->pf, PATH_CDEV, token_b));
	EXPECT_TRUE(is_token_a(self->vf));
}

TEST_F(late, without_a_container_nothing_changes)
{
	char path[PATH_MAX];

	ASSERT_EQ(0, group_node(self->pf, path));
	self->device.group = open(path, O_RDWR);
	ASSERT_LE(0, self->device.group);
	EXPECT_EQ(-EINVAL, present_token(&self->device, self->pf, PATH_GROUP, token_b));
	EXPECT_TRUE(is_token_a(self->vf));
}

/* Presents the token while no descriptor is left. */
static int present_without_descriptors(struct device *device, const char *bdf,
				       enum path path, const uint8_t *token)
{
	struct rlimit limit, none;
	int ret;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return -errno;
	none = (struct rlimit) { .rlim_max = limit.rlim_max };
	if (setrlimit(RLIMIT_NOFILE, &none))
		return -errno;
	ret = present_token(device, bdf, path, token);
	return setrlimit(RLIMIT_NOFILE, &limit) ? -errno : ret;
}

TEST_F(late, without_a_descriptor_nothing_changes)
{
	const enum path paths[] = { PATH_GROUP, PATH_COMPAT };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(paths) && !setup_path(paths[i]); i++) {
		ASSERT_EQ(0, prepare_device(&self->device, self->pf, paths[i]));
		EXPECT_EQ(-EMFILE, present_without_descriptors(&self->device, self->pf,
							       paths[i], token_b));
		EXPECT_TRUE(is_token_a(self->vf));
		close_device(&self->device);
	}
}

/* A group can open a device any number of times; the core calls the driver only once. */
TEST_F(late, of_an_open_pf_nothing_changes)
{
	const enum path paths[] = { PATH_GROUP, PATH_COMPAT };
	const uint8_t * const tokens[] = { NULL, token_a, token_b };
	struct device second;
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(paths) && !setup_path(paths[i]); i++) {
		ASSERT_EQ(0, open_device(&self->device, self->pf, paths[i], NULL));
		for (j = 0; j < ARRAY_SIZE(tokens); j++) {
			second = self->device;
			EXPECT_EQ(tokens[j] == token_b ? -EACCES : 0,
				  present_token(&second, self->pf, paths[i], tokens[j]));
			EXPECT_TRUE(is_token_a(self->vf));
			if (second.fd >= 0)
				close(second.fd);
		}
		close_device(&self->device);
	}
}

/* The driver enables the device before the core finds that it cannot write the answer. */
TEST_F(late, without_a_place_for_the_answer_nothing_changes)
{
	struct vfio_device_bind_iommufd *bind;
	long page = sysconf(_SC_PAGESIZE);

	if (setup_path(PATH_CDEV))
		SKIP(return, "the kernel has no iommufd");
	bind = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, bind);
	ASSERT_EQ(0, prepare_device(&self->device, self->pf, PATH_CDEV));
	*bind = (struct vfio_device_bind_iommufd) {
		.argsz = sizeof(*bind),
		.flags = VFIO_DEVICE_BIND_FLAG_TOKEN,
		.iommufd = self->device.iommu,
		.token_uuid_ptr = (uintptr_t)token_b,
	};
	ASSERT_EQ(0, mprotect(bind, page, PROT_READ));
	EXPECT_EQ(-1, ioctl(self->device.fd, VFIO_DEVICE_BIND_IOMMUFD, bind));
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(is_token_a(self->vf));
}

/* The group's descriptor may be closed if its container is an iommufd. */
TEST_F(late, beside_somebody_who_closed_the_group_nothing_changes)
{
	if (setup_path(PATH_CDEV))
		SKIP(return, "the kernel has no iommufd");
	ASSERT_EQ(0, open_device(&self->device, self->pf, PATH_COMPAT, NULL));
	close(self->device.group);
	self->device.group = -1;
	EXPECT_EQ(-EINVAL, try_open(self->pf, PATH_CDEV, token_b));
	EXPECT_TRUE(is_token_a(self->vf));
	/* It is the same with the current token. */
	EXPECT_EQ(-EINVAL, try_open(self->pf, PATH_CDEV, token_a));
}

TEST_F(late, bound_twice_nothing_changes)
{
	if (setup_path(PATH_CDEV))
		SKIP(return, "the kernel has no iommufd");
	ASSERT_EQ(0, open_device(&self->device, self->pf, PATH_CDEV, NULL));
	EXPECT_EQ(-EINVAL, present_token(&self->device, self->pf, PATH_CDEV, token_b));
	EXPECT_TRUE(is_token_a(self->vf));
}

static int disable_vfs(const char *pf)
{
	return set_numvfs(pf, 0);
}

/*
 * The device cannot be reset, since its lock is taken by a thread that turns SR-IOV
 * off, and waits for a program that has the VF's file open but has not opened the VF.
 */
TEST_F(late, of_a_device_that_cannot_be_enabled_nothing_changes)
{
	const enum path paths[] = { PATH_GROUP, PATH_CDEV, PATH_COMPAT };
	struct action disabling = { .act = disable_vfs, .bdf = self->pf };
	size_t i;

	if (setup_path(PATH_CDEV))
		SKIP(return, "the kernel has no iommufd");
	ASSERT_EQ(0, prepare_device(&self->vf_device, self->vf, PATH_CDEV));
	ASSERT_EQ(0, start_action(&disabling));
	while (is_registered(self->vf))
		usleep(1000);
	for (i = 0; i < ARRAY_SIZE(paths); i++)
		EXPECT_EQ(-EAGAIN, try_open(self->pf, paths[i], token_b));
	EXPECT_FALSE(has_ended(&disabling));
	close_device(&self->vf_device);
	ASSERT_EQ(0, result_of(&disabling));

	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	EXPECT_TRUE(is_token_a(self->vf));
}

/* A PF and its VFs under different VFIO drivers. The PF's driver decides. */
FIXTURE(mixed) {
	const char *pf;
	char vf[BDF_LEN];
	struct device pf_device;
	struct device device;
};

FIXTURE_VARIANT(mixed) {
	const char *pf_driver;
	const char *vf_driver;
	enum path path;
};

FIXTURE_VARIANT_ADD(mixed, both_ours_group) { DRIVER, DRIVER, PATH_GROUP };
FIXTURE_VARIANT_ADD(mixed, both_ours_cdev) { DRIVER, DRIVER, PATH_CDEV };
FIXTURE_VARIANT_ADD(mixed, pf_ours_group) { DRIVER, C_DRIVER, PATH_GROUP };
FIXTURE_VARIANT_ADD(mixed, pf_ours_cdev) { DRIVER, C_DRIVER, PATH_CDEV };
FIXTURE_VARIANT_ADD(mixed, vf_ours_group) { C_DRIVER, DRIVER, PATH_GROUP };
FIXTURE_VARIANT_ADD(mixed, vf_ours_cdev) { C_DRIVER, DRIVER, PATH_CDEV };

FIXTURE_SETUP(mixed)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);

	self->pf_device = (struct device)DEVICE_CLOSED;
	self->device = (struct device)DEVICE_CLOSED;
	if (!problem)
		problem = setup_c_driver();
	if (problem)
		SKIP(return, "%s", problem);

	ASSERT_EQ(0, start_pf(&self->pf_device, self->pf, variant->pf_driver, 1, variant->path));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, bind_driver(self->vf, variant->vf_driver));
}

FIXTURE_TEARDOWN(mixed)
{
	close_device(&self->device);
	close_device(&self->pf_device);
}

TEST_F(mixed, vf_opens_with_the_token_of_the_pf_alone)
{
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_b));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));

	ASSERT_EQ(0, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_a));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_b));
}

TEST_F(mixed, vf_opens_with_the_token_that_opened_the_pf)
{
	close_device(&self->pf_device);
	ASSERT_EQ(0, try_open(self->pf, variant->path, token_b));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_a));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_b));
}

TEST_F(mixed, the_first_token_is_random)
{
	static const uint8_t nil[UUID_LEN];

	close_device(&self->pf_device);
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	ASSERT_EQ(0, ensure_pf(self->pf, variant->pf_driver, 1));
	ASSERT_EQ(0, bind_driver(self->vf, variant->vf_driver));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, nil));
	EXPECT_EQ(-EACCES, try_open(self->vf, variant->path, token_a));
}

TEST_F(mixed, set_with_an_open_vf_is_as_the_driver_of_the_pf_has_it)
{
	bool ours = !strcmp(variant->pf_driver, DRIVER);
	/* The C driver sets a token whether a VF is open or not. */
	int other = ours || core_keeps_token() ? -EBUSY : 0;

	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(ours ? -EBUSY : 0, set_token(self->pf_device.fd, token_a));
	EXPECT_EQ(other, set_token(self->pf_device.fd, token_b));
	close_device(&self->device);

	/* A refused token changes nothing. */
	EXPECT_EQ(0, try_open(self->vf, variant->path, other ? token_a : token_b));
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_b));
}

TEST_F(mixed, pf_with_an_open_vf_needs_the_token)
{
	close_device(&self->pf_device);
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	EXPECT_EQ(-EACCES, try_open(self->pf, variant->path, NULL));
	EXPECT_EQ(-EACCES, try_open(self->pf, variant->path, token_b));
	EXPECT_EQ(0, try_open(self->pf, variant->path, token_a));
	close_device(&self->device);
	EXPECT_EQ(0, try_open(self->vf, variant->path, token_a));
}

/* A PF that is bound to its network driver, and a VF of it. */
FIXTURE(foreign_pf) {
	const char *pf;
	char vf[BDF_LEN];
};

FIXTURE_VARIANT(foreign_pf) {
	enum path path;
};

FIXTURE_VARIANT_ADD(foreign_pf, group) { .path = PATH_GROUP };
FIXTURE_VARIANT_ADD(foreign_pf, cdev) { .path = PATH_CDEV };

FIXTURE_SETUP(foreign_pf)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);

	if (problem)
		SKIP(return, "%s", problem);
	if (system("modprobe -q igb") || bind_driver(self->pf, "igb")) {
		bind_driver(self->pf, NULL);
		SKIP(self->pf = NULL; return, "the device is not for the driver igb");
	}
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, bind_driver(self->vf, DRIVER));
}

FIXTURE_TEARDOWN(foreign_pf)
{
	if (self->pf) {
		EXPECT_EQ(0, set_numvfs(self->pf, 0));
		EXPECT_EQ(0, bind_driver(self->pf, NULL));
	}
}

TEST_F(foreign_pf, vf_opens_without_token)
{
	EXPECT_EQ(0, try_open(self->vf, variant->path, NULL));
}

TEST_F(foreign_pf, vf_with_token_is_einval)
{
	EXPECT_EQ(-EINVAL, try_open(self->vf, variant->path, token_a));
}

/* A device that has nothing to do with SR-IOV. */
FIXTURE(plain) {
	const char *bdf;
	struct device device;
};

FIXTURE_VARIANT(plain) {
	enum path path;
};

FIXTURE_VARIANT_ADD(plain, group) { .path = PATH_GROUP };
FIXTURE_VARIANT_ADD(plain, cdev) { .path = PATH_CDEV };

FIXTURE_SETUP(plain)
{
	const char *problem = setup_path(variant->path);

	self->device = (struct device)DEVICE_CLOSED;
	if (!problem)
		problem = setup_plain(&self->bdf);
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, bind_driver(self->bdf, DRIVER));
}

FIXTURE_TEARDOWN(plain)
{
	close_device(&self->device);
	if (self->bdf)
		EXPECT_EQ(0, bind_driver(self->bdf, NULL));
}

TEST_F(plain, opens_without_token)
{
	EXPECT_EQ(0, try_open(self->bdf, variant->path, NULL));
}

TEST_F(plain, with_token_is_einval)
{
	EXPECT_EQ(-EINVAL, try_open(self->bdf, variant->path, token_a));
}

TEST_F(plain, has_no_token_feature)
{
	ASSERT_EQ(0, open_device(&self->device, self->bdf, variant->path, NULL));
	EXPECT_EQ(-ENOTTY, feature(self->device.fd, PROBE_TOKEN, NULL, 0));
	EXPECT_EQ(-ENOTTY, set_token(self->device.fd, token_a));
}

TEST_HARNESS_MAIN
