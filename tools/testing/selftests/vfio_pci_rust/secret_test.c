// SPDX-License-Identifier: GPL-2.0-only
/*
 * Searches all memory of the kernel, by /proc/kcore, for a token that is no longer
 * used.
 *
 * The search must not find its own data, so the token is never complete in this
 * program's memory, except in the buffer of the call that sets or presents it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/random.h>

#include <linux/elf.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define CHUNK (1024 * 1024)

/* Enough for all memory of an emulated machine. */
#define SECONDS 600

/* The exclusive or of these is the token. */
static uint8_t part[2][UUID_LEN];

/*
 * The bytes are atomic, so that they are never in a vector register, which the kernel
 * would save in its memory.
 */
static struct {
	struct vfio_device_feature header;
	atomic_uchar token[UUID_LEN];
} request;

/* A device's address, and the token as text. */
static atomic_uchar name[128];

static uint8_t token_byte(size_t i)
{
	return part[0][i] ^ part[1][i];
}

/* Without bytes that are frequent in memory, which would slow down the search. */
static int make_secret(void)
{
	size_t i = 0;

	while (i < UUID_LEN) {
		if (getrandom(&part[0][i], 1, 0) != 1 || getrandom(&part[1][i], 1, 0) != 1)
			return -EIO;
		i += token_byte(i) != 0 && token_byte(i) != 0xff;
	}
	return 0;
}

#define OPTION		" vf_token="
#define TEXT_LEN	36

/* A character of "1b4e28ba-2fa1-41d2-883f-0016d3cca427". */
static uint8_t text_byte(size_t i)
{
	size_t hyphens = (i > 8) + (i > 13) + (i > 18) + (i > 23);
	size_t digit = i - hyphens;

	if (i == 8 || i == 13 || i == 18 || i == 23)
		return '-';
	return "0123456789abcdef"[token_byte(digit / 2) >> (digit % 2 ? 0 : 4) & 0xf];
}

static void write_name(const char *bdf)
{
	const char * const start[] = { bdf, OPTION };
	size_t i, j, len = 0;

	for (i = 0; i < ARRAY_SIZE(start); i++)
		for (j = 0; start[i][j]; j++)
			name[len++] = start[i][j];
	for (i = 0; i < TEXT_LEN; i++)
		name[len++] = text_byte(i);
}

static void wipe_name(void)
{
	size_t i;

	for (i = 0; i < sizeof(name); i++)
		name[i] = 0;
}

static int set_secret(int fd)
{
	size_t i;
	int ret;

	request.header.argsz = sizeof(request);
	request.header.flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
	for (i = 0; i < UUID_LEN; i++)
		request.token[i] = token_byte(i);
	ret = ioctl(fd, VFIO_DEVICE_FEATURE, &request) ? -errno : 0;
	for (i = 0; i < UUID_LEN; i++)
		request.token[i] = 0;
	return ret;
}

/* Presents the token in the name of the device. */
static int open_secret(struct device *device, const char *bdf)
{
	int ret;

	write_name(bdf);
	ret = open_named(device, bdf, (const char *)name);
	wipe_name();
	return ret;
}

/* Admits the device with the token. */
static int admit_secret(const char *bdf)
{
	char path[PATH_MAX];
	int fd, ret;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vf_token/admit", bdf);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return -errno;
	write_name("");
	ret = write(fd, (const char *)name + strlen(OPTION), TEXT_LEN) < 0 ? -errno : 0;
	wipe_name();
	close(fd);
	return ret;
}

/* A piece of the token, and how often it was found. */
struct form {
	uint8_t (*byte)(size_t i);
	size_t size, piece;
	int found;
};

/* A piece is enough, since freed memory is partly overwritten. */
enum { BYTES, TEXT, FORMS };

static struct form forms[FORMS] = {
	{ token_byte, UUID_LEN, UUID_LEN / 2 },
	{ text_byte, TEXT_LEN, TEXT_LEN / 3 },
};

#define LONGEST_PIECE (TEXT_LEN / 3)

static bool is_piece(const struct form *form, const uint8_t *bytes, size_t first)
{
	size_t i;

	for (i = 0; i < form->piece; i++) {
		if (bytes[i] != form->byte(first + i))
			return false;
	}
	return true;
}

static void count_in(struct form *form, const uint8_t *bytes, size_t size)
{
	const uint8_t *end = bytes + size;
	size_t first;

	for (first = 0; first < form->size; first += form->piece) {
		const uint8_t *at = bytes;

		while ((size_t)(end - at) >= form->piece) {
			at = memchr(at, form->byte(first), end - at - form->piece + 1);
			if (!at)
				break;
			form->found += is_piece(form, at++, first);
		}
	}
}

/*
 * Counts the pieces of the token in memory. Returns 0 or -errno. The chunks overlap,
 * since a piece may be at any address, and none is left in the buffer.
 */
static int search_memory(void)
{
	static uint8_t chunk[CHUNK];
	struct elf64_phdr segment;
	struct elf64_hdr head;
	int ret = 0;
	int fd, i;

	for (i = 0; i < FORMS; i++)
		forms[i].found = 0;

	fd = open("/proc/kcore", O_RDONLY);
	if (fd < 0)
		return -errno;
	if (pread(fd, &head, sizeof(head), 0) != sizeof(head))
		ret = -EIO;
	for (i = 0; !ret && i < head.e_phnum; i++) {
		uint64_t done = 0;
		ssize_t len;

		if (pread(fd, &segment, sizeof(segment),
			  head.e_phoff + i * sizeof(segment)) != sizeof(segment)) {
			ret = -EIO;
			break;
		}
		/* Segments of memory have a physical address, other mappings do not. */
		if (segment.p_type != PT_LOAD || segment.p_paddr == UINT64_MAX)
			continue;
		while (done + LONGEST_PIECE < segment.p_filesz) {
			size_t size = segment.p_filesz - done;

			len = pread(fd, chunk, size < CHUNK ? size : CHUNK,
				    segment.p_offset + done);
			if (len < LONGEST_PIECE)
				break;
			count_in(&forms[BYTES], chunk, len);
			count_in(&forms[TEXT], chunk, len);
			done += len - LONGEST_PIECE + 1;
		}
	}
	explicit_bzero(chunk, sizeof(chunk));
	close(fd);
	return ret;
}

FIXTURE(secret) {
	const char *pf;
	struct device device;
};

/* An open PF with a token that nobody knows. */
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
}

FIXTURE_TEARDOWN(secret)
{
	close_device(&self->device);
}

TEST_F_TIMEOUT(secret, what_is_in_memory_is_found, SECONDS)
{
	write_name("");
	ASSERT_EQ(0, search_memory());
	wipe_name();
	/* The driver's token, and the core's for VFs under other drivers, each in two halves. */
	EXPECT_LE(4, forms[BYTES].found);
	/* The text above, in three parts. */
	EXPECT_LE(3, forms[TEXT].found);
}

TEST_F_TIMEOUT(secret, a_token_that_was_replaced_is_nowhere, SECONDS)
{
	ASSERT_EQ(0, set_token(self->device.fd, token_a));
	ASSERT_EQ(0, search_memory());
	EXPECT_EQ(0, forms[BYTES].found);
}

TEST_F_TIMEOUT(secret, the_token_of_an_unbound_pf_is_nowhere, SECONDS)
{
	close_device(&self->device);
	ASSERT_EQ(0, bind_driver(self->pf, NULL));
	ASSERT_EQ(0, search_memory());
	EXPECT_EQ(0, forms[BYTES].found);
}

TEST_F_TIMEOUT(secret, a_refused_token_is_nowhere, SECONDS)
{
	/* A token that has not been in memory before. */
	ASSERT_EQ(0, make_secret());
	ASSERT_EQ(0, set_numvfs(self->pf, 0));
	ASSERT_EQ(-ENODEV, set_secret(self->device.fd));
	ASSERT_EQ(0, search_memory());
	EXPECT_EQ(0, forms[BYTES].found);
}

TEST_F_TIMEOUT(secret, a_refused_name_is_nowhere, SECONDS)
{
	char vf[BDF_LEN];
	struct device device;

	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	ASSERT_EQ(0, make_secret());
	ASSERT_EQ(-EACCES, open_secret(&device, vf));
	ASSERT_EQ(0, search_memory());
	EXPECT_EQ(0, forms[BYTES].found);
	EXPECT_EQ(0, forms[TEXT].found);
}

TEST_F_TIMEOUT(secret, an_accepted_name_is_nowhere, SECONDS)
{
	char vf[BDF_LEN];
	struct device device;

	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	ASSERT_EQ(0, open_secret(&device, vf));
	close_device(&device);
	ASSERT_EQ(0, search_memory());
	/* The current token itself is still in use. */
	EXPECT_EQ(0, forms[TEXT].found);
}

TEST_F_TIMEOUT(secret, a_token_that_admits_is_nowhere, SECONDS)
{
	char vf[BDF_LEN];

	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	ASSERT_EQ(0, admit_secret(vf));
	ASSERT_EQ(0, search_memory());
	/* The current token itself is still in use. */
	EXPECT_EQ(0, forms[TEXT].found);
}

TEST_F_TIMEOUT(secret, a_token_that_admits_nobody_is_nowhere, SECONDS)
{
	char vf[BDF_LEN];

	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	ASSERT_EQ(0, make_secret());
	ASSERT_EQ(-EACCES, admit_secret(vf));
	ASSERT_EQ(0, search_memory());
	EXPECT_EQ(0, forms[BYTES].found);
	EXPECT_EQ(0, forms[TEXT].found);
}

TEST_HARNESS_MAIN
