// SPDX-License-Identifier: GPL-2.0-only
/*
 * Processes that come and go: users that are killed, descriptors that outlive the
 * process that opened them, signals during a wait, and two PFs at a time.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define STEPS	9
#define KILLS	20

FIXTURE(process) {
	const char *pf;
	char vf[BDF_LEN];
	struct device pf_device;
	struct device device;
};

FIXTURE_VARIANT(process) {
	enum path path;
};

FIXTURE_VARIANT_ADD(process, group) { .path = PATH_GROUP };
FIXTURE_VARIANT_ADD(process, cdev) { .path = PATH_CDEV };

/* An open PF with a VF, and token_a. */
FIXTURE_SETUP(process)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);

	self->pf_device = (struct device)DEVICE_CLOSED;
	self->device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, start_pf(&self->pf_device, self->pf, DRIVER, 1, variant->path));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	if (!is_bound(self->vf, DRIVER))
		ASSERT_EQ(0, bind_driver(self->vf, DRIVER));
}

FIXTURE_TEARDOWN(process)
{
	close_device(&self->device);
	close_device(&self->pf_device);
}

/* ---- users that are killed ---- */

/* One of the steps of a program that uses a PF, and then its VF. */
static int take_step(int step, const char *pf, const char *vf, enum path path,
		     struct device *pf_device, struct device *vf_device)
{
	switch (step) {
	case 0:
		return prepare_device(pf_device, pf, path);
	case 1:
		return present_token(pf_device, pf, path, NULL);
	case 2:
		return set_token(pf_device->fd, token_b);
	case 3:
		return prepare_device(vf_device, vf, path);
	case 4:
		return present_token(vf_device, vf, path, token_b);
	case 5:
		return ioctl(vf_device->fd, VFIO_DEVICE_RESET) ? -errno : 0;
	case 6:
		return set_token(pf_device->fd, token_a) == -EBUSY ? 0 : -EINVAL;
	case 7:
		close_device(vf_device);
		return 0;
	default:
		close_device(pf_device);
		return 0;
	}
}

/* Nothing is open, and the token is @token. */
static void check_unused(struct __test_metadata *_metadata, FIXTURE_DATA(process) * self,
			 const uint8_t *token)
{
	const uint8_t *other = token == token_a ? token_b : token_a;

	/* While a VF is open this would need the token. */
	ASSERT_EQ(0, open_device(&self->pf_device, self->pf, any_path(), NULL));
	EXPECT_EQ(-EACCES, try_open(self->vf, any_path(), other));
	EXPECT_EQ(0, try_open(self->vf, any_path(), token));
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_a));
	close_device(&self->pf_device);
}

TEST_F_TIMEOUT(process, a_user_can_be_killed_at_every_step, 600)
{
	struct device pf_device = DEVICE_CLOSED, vf_device = DEVICE_CLOSED;
	int last, step, answer, status, pipe_fds[2];
	pid_t pid;

	close_device(&self->pf_device);
	for (last = 0; last < STEPS; last++) {
		ASSERT_EQ(0, pipe(pipe_fds));
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			for (step = 0, answer = 0; step <= last && !answer; step++)
				answer = take_step(step, self->pf, self->vf, variant->path,
						   &pf_device, &vf_device);
			(void)!write(pipe_fds[1], &answer, sizeof(answer));
			pause();
			_exit(0);
		}
		EXPECT_EQ(sizeof(answer), read(pipe_fds[0], &answer, sizeof(answer)));
		EXPECT_EQ(0, answer) {
			TH_LOG("after step %d: %s", last, strerror(-answer));
		}
		EXPECT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_TRUE(WIFSIGNALED(status));
		close(pipe_fds[0]);
		close(pipe_fds[1]);
		check_unused(_metadata, self, last < 2 ? token_a : token_b);
	}
}

TEST_F_TIMEOUT(process, a_user_can_be_killed_at_any_time, 600)
{
	struct device pf_device = DEVICE_CLOSED, vf_device = DEVICE_CLOSED;
	unsigned int seed = env_number("VFIO_PCI_RUST_SEED", 1);
	int i, step, status, token_b_opens;
	struct timespec begin, end;
	long duration; /* microseconds */
	pid_t pid;

	close_device(&self->pf_device);
	srandom(seed);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (step = 0; step < STEPS; step++)
		ASSERT_EQ(0, take_step(step, self->pf, self->vf, variant->path, &pf_device,
				       &vf_device));
	clock_gettime(CLOCK_MONOTONIC, &end);
	duration = (end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000;
	check_unused(_metadata, self, token_b);

	for (i = 0; i < KILLS; i++) {
		pid = fork();
		ASSERT_LE(0, pid);
		if (!pid) {
			for (step = 0;; step = (step + 1) % STEPS)
				if (take_step(step, self->pf, self->vf, variant->path,
					      &pf_device, &vf_device))
					_exit(1);
		}
		usleep(random() % duration);
		EXPECT_EQ(0, kill(pid, SIGKILL));
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		/* Until then no call of it was refused. */
		EXPECT_TRUE(WIFSIGNALED(status));
		token_b_opens = !try_open(self->vf, any_path(), token_b);
		check_unused(_metadata, self, token_b_opens ? token_b : token_a);
	}
}

/* ---- descriptors that outlive their opener ---- */

static int send_fd(int socket, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {};
	struct iovec data = { .iov_base = "x", .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	return sendmsg(socket, &message, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int socket)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, byte;
	struct iovec data = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr message = {
		.msg_iov = &data,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd;

	if (recvmsg(socket, &message, 0) != 1 || !CMSG_FIRSTHDR(&message))
		return -1;
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(int));
	return fd;
}

TEST_F(process, a_vf_that_was_passed_on_is_open_until_it_is_closed_there)
{
	int sockets[2], status;
	pid_t pid;

	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		if (open_device(&self->device, self->vf, variant->path, token_a) ||
		    send_fd(sockets[1], self->device.fd))
			_exit(1);
		_exit(0);
	}
	self->device.fd = receive_fd(sockets[0]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	ASSERT_EQ(0, status);
	ASSERT_LE(0, self->device.fd);

	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_b));
	EXPECT_EQ(0, ioctl(self->device.fd, VFIO_DEVICE_RESET));
	close_device(&self->device);
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));
	close(sockets[0]);
	close(sockets[1]);
}

TEST_F(process, a_vf_is_open_until_the_last_child_has_closed_it)
{
	int pipe_fds[2], status;
	pid_t pid;
	char byte;

	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	ASSERT_EQ(0, pipe(pipe_fds));
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		close(pipe_fds[1]);
		(void)!read(pipe_fds[0], &byte, 1);
		_exit(0);
	}
	close_device(&self->device);
	EXPECT_EQ(-EBUSY, set_token(self->pf_device.fd, token_b));
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, set_token(self->pf_device.fd, token_b));
}

/* ---- signals during a wait for the user of a device ---- */

static int request_event(int device)
{
	int event = eventfd(0, 0);
	int ret = on_event(device, VFIO_PCI_REQ_IRQ_INDEX, event);

	return ret ? ret : event;
}

static void on_signal(int number)
{
}

static int unbind(const char *bdf)
{
	return bind_driver(bdf, NULL);
}

static int disable_vfs(const char *pf)
{
	return set_numvfs(pf, 0);
}

/*
 * A child begins to remove the open @device, gets a signal, and is killed. Nothing
 * happens to the device until it is closed; then it can be removed.
 */
static void interrupt(struct __test_metadata *_metadata, struct device *device,
		      int (*take)(const char *bdf), const char *bdf)
{
	struct pollfd event = { .events = POLLIN };
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct device other = *device;
	int status;
	pid_t pid;

	event.fd = request_event(device->fd);
	ASSERT_LE(0, event.fd);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid) {
		signal(SIGUSR1, on_signal);
		close_device(&other);
		_exit(take(bdf) ? 1 : 0);
	}
	EXPECT_EQ(1, poll(&event, 1, 20000));
	EXPECT_EQ(0, kill(pid, SIGUSR1));
	usleep(100000);
	EXPECT_EQ(0, kill(pid, SIGKILL));
	usleep(100000);
	EXPECT_EQ(0, ioctl(device->fd, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));

	close_device(device);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFSIGNALED(status));
	close(event.fd);
}

TEST_F(process, unbinding_a_pf_can_be_interrupted)
{
	close_device(&self->pf_device);
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	ASSERT_EQ(0, open_device(&self->device, self->pf, variant->path, NULL));
	interrupt(_metadata, &self->device, unbind, self->pf);
	EXPECT_FALSE(is_bound(self->pf, DRIVER));
	ASSERT_EQ(0, bind_driver(self->pf, DRIVER));
	EXPECT_EQ(0, try_open(self->pf, variant->path, NULL));
}

TEST_F(process, unbinding_a_vf_can_be_interrupted)
{
	/* The child would keep the PF open, too. */
	close_device(&self->pf_device);
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	interrupt(_metadata, &self->device, unbind, self->vf);
	EXPECT_FALSE(is_bound(self->vf, DRIVER));
	ASSERT_EQ(0, bind_driver(self->vf, DRIVER));
	check_unused(_metadata, self, token_a);
}

TEST_F(process, turning_sriov_off_can_be_interrupted)
{
	close_device(&self->pf_device);
	ASSERT_EQ(0, open_device(&self->device, self->vf, variant->path, token_a));
	interrupt(_metadata, &self->device, disable_vfs, self->pf);
	EXPECT_EQ(-ENOENT, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	check_unused(_metadata, self, token_a);
}

/* ---- two PFs ---- */

FIXTURE(two_pfs) {
	const char *pfs[2];
	char vfs[2][BDF_LEN];
	struct device pf_devices[2];
	struct device device;
};

/* Two open PFs with a VF each; the first has token_a, the second token_b. */
FIXTURE_SETUP(two_pfs)
{
	const char *problem = setup_pf(&self->pfs[0]);
	int i;

	for (i = 0; i < 2; i++)
		self->pf_devices[i] = (struct device)DEVICE_CLOSED;
	self->device = (struct device)DEVICE_CLOSED;
	if (!problem)
		problem = setup_second_pf(self->pfs[0], &self->pfs[1]);
	if (problem)
		SKIP(return, "%s", problem);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, start_pf(&self->pf_devices[i], self->pfs[i], DRIVER, 1, any_path()));
		ASSERT_EQ(0, vf_bdf(self->pfs[i], 0, self->vfs[i]));
	}
	ASSERT_EQ(0, set_token(self->pf_devices[1].fd, token_b));
}

FIXTURE_TEARDOWN(two_pfs)
{
	close_device(&self->device);
	close_device(&self->pf_devices[0]);
	close_device(&self->pf_devices[1]);
	restore_device(self->pfs[1]);
}

TEST_F(two_pfs, each_has_a_token_of_its_own)
{
	EXPECT_EQ(0, try_open(self->vfs[0], any_path(), token_a));
	EXPECT_EQ(-EACCES, try_open(self->vfs[0], any_path(), token_b));
	EXPECT_EQ(-EACCES, try_open(self->vfs[1], PATH_GROUP, token_a));
	EXPECT_EQ(0, try_open(self->vfs[1], PATH_GROUP, token_b));
}

TEST_F(two_pfs, an_open_vf_of_the_one_is_nothing_to_the_other)
{
	ASSERT_EQ(0, open_device(&self->device, self->vfs[0], any_path(), token_a));
	EXPECT_EQ(-EBUSY, set_token(self->pf_devices[0].fd, token_b));
	EXPECT_EQ(0, set_token(self->pf_devices[1].fd, token_a));
	EXPECT_EQ(0, try_open(self->vfs[1], any_path(), token_a));
}

TEST_F(two_pfs, the_one_stays_when_the_other_goes)
{
	close_device(&self->pf_devices[1]);
	ASSERT_EQ(0, open_device(&self->device, self->vfs[0], any_path(), token_a));
	ASSERT_EQ(0, bind_driver(self->pfs[1], NULL));
	EXPECT_EQ(-EBUSY, set_token(self->pf_devices[0].fd, token_b));
	EXPECT_EQ(0, ioctl(self->device.fd, VFIO_DEVICE_RESET));
	close_device(&self->device);
	EXPECT_EQ(0, set_token(self->pf_devices[0].fd, token_b));
	EXPECT_EQ(0, try_open(self->vfs[0], any_path(), token_b));
}

TEST_HARNESS_MAIN
