// SPDX-License-Identifier: GPL-2.0-only
/*
 * Permissions: users with and without a device's node, with and without a token.
 */
#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define NOBODY 65534

FIXTURE(access) {
	const char *pf;
	char vf[BDF_LEN];
	struct device pf_device;
	struct device vf_device;
};

/* An open PF with two VFs, and token_a. */
FIXTURE_SETUP(access)
{
	const char *problem = setup_pf(&self->pf);

	self->pf_device = (struct device)DEVICE_CLOSED;
	self->vf_device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);
	/* New device nodes, with the permissions that the kernel gives them. */
	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	ASSERT_EQ(0, start_pf(&self->pf_device, self->pf, DRIVER, 2, PATH_GROUP));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
}

FIXTURE_TEARDOWN(access)
{
	close_device(&self->vf_device);
	close_device(&self->pf_device);
}

/* What a user does with a device: open it, and act on it. */
struct attempt {
	const char *bdf;
	const uint8_t *token;
	int (*act)(int fd);
};

enum refusal { AT_NODE = 1000, AT_TOKEN = 2000 };

/* The errno of opening and at which step, or of the action; or 0. */
static int try_it(const struct attempt *attempt, enum path path)
{
	struct device device;
	int ret;

	ret = prepare_device(&device, attempt->bdf, path);
	if (ret)
		return AT_NODE - ret;
	ret = present_token(&device, attempt->bdf, path, attempt->token);
	if (ret)
		ret = AT_TOKEN - ret;
	else if (attempt->act)
		ret = -attempt->act(device.fd);
	close_device(&device);
	return ret;
}

/* The same as an unprivileged user; -1 if that cannot be done. */
static int try_as_nobody(const struct attempt *attempt, enum path path)
{
	int result = -1;
	int pipe_fds[2];
	pid_t pid;

	if (pipe(pipe_fds))
		return -1;
	pid = fork();
	if (!pid) {
		if (!setgroups(0, NULL) && !setgid(NOBODY) && !setuid(NOBODY))
			result = try_it(attempt, path);
		_exit(write(pipe_fds[1], &result, sizeof(result)) != sizeof(result));
	}
	close(pipe_fds[1]);
	if (read(pipe_fds[0], &result, sizeof(result)) != sizeof(result))
		result = -1;
	close(pipe_fds[0]);
	waitpid(pid, NULL, 0);
	return result;
}

/* Gives the group of a device to the user nobody. */
static int give_to_nobody(const char *bdf)
{
	char path[PATH_MAX];
	int ret = group_node(bdf, path);

	return ret ? ret : chown(path, NOBODY, NOBODY);
}

static int set_token_b(int fd)
{
	return set_token(fd, token_b);
}

TEST_F(access, a_token_does_not_stand_in_for_the_node)
{
	struct attempt vf = { .bdf = self->vf, .token = token_a };

	EXPECT_EQ(AT_NODE + EACCES, try_as_nobody(&vf, PATH_GROUP));
	if (!setup_path(PATH_CDEV))
		EXPECT_EQ(AT_NODE + EACCES, try_as_nobody(&vf, PATH_CDEV));
}

TEST_F(access, the_node_does_not_stand_in_for_a_token)
{
	struct attempt without = { .bdf = self->vf };
	struct attempt wrong = { .bdf = self->vf, .token = token_b };
	struct attempt right = { .bdf = self->vf, .token = token_a };

	ASSERT_EQ(0, give_to_nobody(self->vf));
	EXPECT_EQ(AT_TOKEN + EACCES, try_as_nobody(&without, PATH_GROUP));
	EXPECT_EQ(AT_TOKEN + EACCES, try_as_nobody(&wrong, PATH_GROUP));
	EXPECT_EQ(0, try_as_nobody(&right, PATH_GROUP));
	/* Root needs it, too. */
	EXPECT_EQ(AT_TOKEN + EACCES, try_it(&without, PATH_GROUP));
}

static const char *vf_to_admit;

static int admit_the_vf(int fd)
{
	return admit(vf_to_admit, token_a);
}

TEST_F(access, only_root_admits_and_then_the_node_is_enough)
{
	struct attempt admits = { .bdf = self->vf, .token = token_a, .act = admit_the_vf };
	struct attempt without = { .bdf = self->vf };
	char other[BDF_LEN];
	struct attempt other_vf = { .bdf = other };

	ASSERT_EQ(0, vf_bdf(self->pf, 1, other));
	ASSERT_EQ(0, give_to_nobody(self->vf));
	vf_to_admit = self->vf;
	EXPECT_EQ(EACCES, try_as_nobody(&admits, PATH_GROUP));
	EXPECT_EQ(AT_TOKEN + EACCES, try_as_nobody(&without, PATH_GROUP));

	ASSERT_EQ(0, admit(self->vf, token_a));
	ASSERT_EQ(0, admit(other, token_a));
	EXPECT_EQ(0, try_as_nobody(&without, PATH_GROUP));
	EXPECT_EQ(AT_NODE + EACCES, try_as_nobody(&other_vf, PATH_GROUP));
}

TEST_F(access, the_user_of_a_vf_has_nothing_else)
{
	struct attempt set = { .bdf = self->vf, .token = token_a, .act = set_token_b };
	struct attempt pf = { .bdf = self->pf, .token = token_a };
	char other[BDF_LEN];
	struct attempt other_vf = { .bdf = other, .token = token_a };

	ASSERT_EQ(0, vf_bdf(self->pf, 1, other));
	ASSERT_EQ(0, give_to_nobody(self->vf));
	EXPECT_EQ(ENOTTY, try_as_nobody(&set, PATH_GROUP));
	EXPECT_EQ(AT_NODE + EACCES, try_as_nobody(&pf, PATH_GROUP));
	EXPECT_EQ(AT_NODE + EACCES, try_as_nobody(&other_vf, PATH_GROUP));
}

TEST_F(access, the_next_user_of_the_pf_does_not_get_its_vfs)
{
	struct attempt pf = { .bdf = self->pf };
	struct attempt set = { .bdf = self->pf, .act = set_token_b };

	close_device(&self->pf_device);
	ASSERT_EQ(0, give_to_nobody(self->pf));
	/* That user can open the PF while no VF is open, and the token stays. */
	EXPECT_EQ(0, try_as_nobody(&pf, PATH_GROUP));
	EXPECT_EQ(-EACCES, try_open(self->vf, PATH_GROUP, token_b));
	ASSERT_EQ(0, open_device(&self->vf_device, self->vf, PATH_GROUP, token_a));
	/* While a VF is open, the token is needed. */
	EXPECT_EQ(AT_TOKEN + EACCES, try_as_nobody(&pf, PATH_GROUP));
	pf.token = token_a;
	EXPECT_EQ(0, try_as_nobody(&pf, PATH_GROUP));
	/* Once no VF is open, the user can replace it, being the PF user. */
	close_device(&self->vf_device);
	EXPECT_EQ(0, try_as_nobody(&set, PATH_GROUP));
	EXPECT_EQ(-EACCES, try_open(self->vf, PATH_GROUP, token_a));
}

TEST_HARNESS_MAIN
