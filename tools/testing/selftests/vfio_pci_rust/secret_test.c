// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is left of a token that is no longer used: all of the kernel's memory is
 * searched for it, by /proc/kcore.
 *
 * For the search to find nothing of its own, the token is never whole in this
 * program's memory, except in the buffer of the call that sets it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include <linux/elf.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define CHUNK (1024 * 1024)

/* For all of the memory, read twice, on an emulated machine. */
#define SECONDS 300

/* The token is what these are by exclusive or. */
static uint8_t part[2][UUID_LEN];

/*
 * The bytes are atomic, so that no wider register takes them: those are saved in
 * the kernel's memory.
 */
static struct {
	struct vfio_device_feature header;
	atomic_uchar token[UUID_LEN];
} request;

static int make_secret(void)
{
	return getrandom(part, sizeof(part), 0) == sizeof(part) ? 0 : -EIO;
}

static int set_secret(int fd)
{
	size_t i;
	int ret;

	request.header.argsz = sizeof(request);
	request.header.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
	for (i = 0; i < UUID_LEN; i++)
		request.token[i] = part[0][i] ^ part[1][i];
	ret = ioctl(fd, VFIO_DEVICE_FEATURE, &request) ? -errno : 0;
	for (i = 0; i < UUID_LEN; i++)
		request.token[i] = 0;
	return ret;
}

/* A half of the token is enough: memory that is freed is partly overwritten. */
#define HALF (UUID_LEN / 2)

static bool is_half(const uint8_t *bytes, size_t first)
{
	size_t i;

	for (i = 0; i < HALF; i++) {
		if (bytes[i] != (part[0][first + i] ^ part[1][first + i]))
			return false;
	}
	return true;
}

static int count_half(const uint8_t *bytes, size_t size, size_t first)
{
	const uint8_t *at = bytes, *end = bytes + size;
	int found = 0;

	while (end - at >= HALF) {
		at = memchr(at, part[0][first] ^ part[1][first], end - at - HALF + 1);
		if (!at)
			break;
		found += is_half(at++, first);
	}
	return found;
}

static int count_in(const uint8_t *bytes, size_t size)
{
	return count_half(bytes, size, 0) + count_half(bytes, size, HALF);
}

/*
 * How often a half of the token is in memory, or -errno. Reads with an overlap,
 * for it may be at any address; no chunk stays in the buffer.
 */
static int count_in_memory(void)
{
	static uint8_t chunk[CHUNK];
	struct elf64_phdr segment;
	struct elf64_hdr head;
	int found = 0;
	int fd, i;

	fd = open("/proc/kcore", O_RDONLY);
	if (fd < 0)
		return -errno;
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head))
		found = -EIO;
	for (i = 0; found >= 0 && i < head.e_phnum; i++) {
		uint64_t done = 0;
		ssize_t len;

		if (pread(fd, &segment, sizeof(segment),
			  head.e_phoff + i * sizeof(segment)) != sizeof(segment)) {
			found = -EIO;
			break;
		}
		/* Memory has a physical address; what is mapped elsewhere does not. */
		if (segment.p_type != PT_LOAD || segment.p_paddr == UINT64_MAX)
			continue;
		while (done + HALF < segment.p_filesz) {
			size_t size = segment.p_filesz - done;

			len = pread(fd, chunk, size < CHUNK ? size : CHUNK,
				    segment.p_offset + done);
			if (len < HALF)
				break;
			found += count_in(chunk, len);
			done += len - HALF + 1;
		}
	}
	explicit_bzero(chunk, sizeof(chunk));
	close(fd);
	return found;
}

FIXTURE(secret) {
	const char *pf;
	struct device device;
};

/* An open PF with a token that the search finds. */
FIXTURE_SETUP(secret)
{
	const char *problem = setup_pf(&self->pf);

	self->device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);
	if (access("/proc/kcore", R_OK))
		SKIP(return, "the kernel has no /proc/kcore");
	ASSERT_EQ(0, ensure_pf(self->pf, DRIVER, 1));
	ASSERT_EQ(0, open_device(&self->device, self->pf, any_path(), NULL));
	ASSERT_EQ(0, make_secret());
	ASSERT_EQ(0, set_secret(self->device.fd));
	/* The driver's, and the core's for VFs under other drivers, in two halves. */
	ASSERT_LE(4, count_in_memory());
}

FIXTURE_TEARDOWN(secret)
{
	close_device(&self->device);
}

TEST_F_TIMEOUT(secret, a_token_that_was_replaced_is_nowhere, SECONDS)
{
	ASSERT_EQ(0, set_token(self->device.fd, token_a));
	EXPECT_EQ(0, count_in_memory());
}

TEST_F_TIMEOUT(secret, the_token_of_an_unbound_pf_is_nowhere, SECONDS)
{
	close_device(&self->device);
	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	EXPECT_EQ(0, count_in_memory());
}

TEST_F_TIMEOUT(secret, a_refused_token_is_nowhere, SECONDS)
{
	/* One that has not been anywhere. */
	ASSERT_EQ(0, make_secret());
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	ASSERT_EQ(-ENODEV, set_secret(self->device.fd));
	EXPECT_EQ(0, count_in_memory());
}

TEST_HARNESS_MAIN
