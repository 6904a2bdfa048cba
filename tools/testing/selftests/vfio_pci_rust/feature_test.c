// SPDX-License-Identifier: GPL-2.0-only
/*
 * The checks that VFIO_DEVICE_FEATURE makes of every request, on a PF.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define GET	VFIO_DEVICE_FEATURE_GET
#define SET	VFIO_DEVICE_FEATURE_SET
#define PROBE	VFIO_DEVICE_FEATURE_PROBE
#define TOKEN	VFIO_DEVICE_FEATURE_PCI_VF_TOKEN

FIXTURE(feature) {
	const char *pf;
	struct device device;
	long page;
	char *unmapped;	/* an unmapped page, which follows a mapped one */
};

FIXTURE_VARIANT(feature) {
	enum path path;
};

FIXTURE_VARIANT_ADD(feature, group) { .path = PATH_GROUP };
FIXTURE_VARIANT_ADD(feature, cdev) { .path = PATH_CDEV };

FIXTURE_SETUP(feature)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);
	char *pages;

	self->device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);

	ASSERT_EQ(0, ensure_pf(self->pf, DRIVER, 0));
	ASSERT_EQ(0, open_device(&self->device, self->pf, variant->path, NULL));

	self->page = sysconf(_SC_PAGESIZE);
	pages = mmap(NULL, 2 * self->page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, pages);
	self->unmapped = pages + self->page;
	ASSERT_EQ(0, munmap(self->unmapped, self->page));
}

FIXTURE_TEARDOWN(feature)
{
	close_device(&self->device);
}

/* A request at the address @at. */
static int feature_at(char *at, uint32_t argsz, uint32_t flags, int fd)
{
	struct vfio_device_feature header = { .argsz = argsz, .flags = flags };

	memcpy(at, &header, sizeof(header));
	return ioctl(fd, VFIO_DEVICE_FEATURE, at) ? -errno : 0;
}

TEST_F(feature, header_unreadable_is_efault)
{
	struct vfio_device_feature *half = (void *)(self->unmapped - 4);

	EXPECT_EQ(-1, ioctl(self->device.fd, VFIO_DEVICE_FEATURE, self->unmapped));
	EXPECT_EQ(EFAULT, errno);
	half->argsz = 8;
	EXPECT_EQ(-1, ioctl(self->device.fd, VFIO_DEVICE_FEATURE, half));
	EXPECT_EQ(EFAULT, errno);
}

TEST_F(feature, argsz_below_header_is_einval)
{
	struct vfio_device_feature header = { .flags = PROBE | TOKEN };

	for (header.argsz = 0; header.argsz < sizeof(header); header.argsz++) {
		EXPECT_EQ(-1, ioctl(self->device.fd, VFIO_DEVICE_FEATURE, &header));
		EXPECT_EQ(EINVAL, errno);
	}
	EXPECT_EQ(0, ioctl(self->device.fd, VFIO_DEVICE_FEATURE, &header));
}

TEST_F(feature, unknown_flag_bit_is_einval)
{
	int bit;

	for (bit = 19; bit < 32; bit++) {
		EXPECT_EQ(-EINVAL, feature(self->device.fd, 1u << bit | PROBE | TOKEN,
					   NULL, 0));
		/* This is checked before the index. */
		EXPECT_EQ(-EINVAL, feature(self->device.fd, 1u << bit | PROBE | 0xfffe,
					   NULL, 0));
	}
}

TEST_F(feature, get_and_set_without_probe_is_einval)
{
	EXPECT_EQ(-EINVAL, feature(self->device.fd, GET | SET | TOKEN, token_a,
				   UUID_LEN));
	EXPECT_EQ(-EINVAL, feature(self->device.fd, GET | SET | 0xfffe, NULL, 0));
}

TEST_F(feature, unsupported_index_is_enotty)
{
	/* Neither this driver's nor the core's for this device; 0xffff is reserved. */
	static const uint32_t indices[] = {
		VFIO_DEVICE_FEATURE_MIGRATION,
		VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
		VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
		VFIO_DEVICE_FEATURE_BUS_MASTER,
		100, 0x7fff, 0xfffe, 0xffff
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(indices); i++) {
		EXPECT_EQ(-ENOTTY, feature(self->device.fd, PROBE | indices[i],
					   NULL, 0)) {
			TH_LOG("index %u", indices[i]);
		}
		EXPECT_EQ(-ENOTTY, feature(self->device.fd, indices[i], NULL, 0));
		EXPECT_EQ(-ENOTTY, feature(self->device.fd, SET | indices[i],
					   token_a, UUID_LEN));
	}
}

TEST_F(feature, token_has_no_get)
{
	EXPECT_EQ(-EINVAL, feature(self->device.fd, GET | TOKEN, token_a, UUID_LEN));
	EXPECT_EQ(-EINVAL, feature(self->device.fd, PROBE | GET | TOKEN, NULL, 0));
	EXPECT_EQ(-EINVAL, feature(self->device.fd, PROBE | GET | SET | TOKEN,
				   NULL, 0));
}

TEST_F(feature, probe_needs_no_data_and_no_sriov)
{
	EXPECT_EQ(0, feature(self->device.fd, PROBE | TOKEN, NULL, 0));
	EXPECT_EQ(0, feature(self->device.fd, PROBE | SET | TOKEN, NULL, 0));
	EXPECT_EQ(0, feature_at(self->unmapped - 8, 24, PROBE | SET | TOKEN,
				self->device.fd));
}

TEST_F(feature, no_operation_is_einval)
{
	EXPECT_EQ(-EINVAL, feature(self->device.fd, TOKEN, token_a, UUID_LEN));
}

TEST_F(feature, short_data_is_einval)
{
	uint32_t size;

	/* This is checked before the feature's own conditions: there are no VFs here. */
	for (size = 0; size < UUID_LEN; size++)
		EXPECT_EQ(-EINVAL, feature(self->device.fd, SET | TOKEN, token_a, size));
	EXPECT_EQ(-ENODEV, feature(self->device.fd, SET | TOKEN, token_a, UUID_LEN));
}

TEST_F(feature, long_data_is_accepted)
{
	static const uint8_t data[100];

	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	EXPECT_EQ(0, feature(self->device.fd, SET | TOKEN, data, UUID_LEN + 1));
	EXPECT_EQ(0, feature(self->device.fd, SET | TOKEN, data, sizeof(data)));
	/* Only the token is read: the rest is unmapped. */
	EXPECT_EQ(0, feature_at(self->unmapped - 24, 4096, SET | TOKEN,
				self->device.fd));
}

TEST_F(feature, unreadable_data_is_efault_and_changes_nothing)
{
	char vf[BDF_LEN];
	int there;

	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	ASSERT_EQ(0, set_token(self->device.fd, token_a));

	for (there = 0; there < UUID_LEN; there++) {
		char *at = self->unmapped - there;

		memset(at, 0xff, there);
		EXPECT_EQ(-EFAULT, feature_at(at - 8, 24, SET | TOKEN,
					      self->device.fd));
	}
	EXPECT_EQ(0, try_open(vf, variant->path, token_a));
}

TEST_F(feature, data_need_not_be_aligned)
{
	char *at = self->unmapped - 25;

	ASSERT_EQ(0, set_numvfs(self->pf, 1));
	memcpy(at + 8, token_a, UUID_LEN);
	EXPECT_EQ(0, feature_at(at, 24, SET | TOKEN, self->device.fd));
}

TEST_F(feature, core_answers_low_power)
{
	EXPECT_EQ(0, feature(self->device.fd,
			     PROBE | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL, 0));
	EXPECT_EQ(0, feature(self->device.fd,
			     PROBE | SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT,
			     NULL, 0));
	EXPECT_EQ(-EINVAL, feature(self->device.fd,
				   GET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL, 0));
	EXPECT_EQ(0, feature(self->device.fd,
			     SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL, 0));
	EXPECT_EQ(0, feature(self->device.fd,
			     SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0));
}

TEST_F(feature, core_answers_dma_buf)
{
	int ret = feature(self->device.fd, PROBE | GET | VFIO_DEVICE_FEATURE_DMA_BUF,
			  NULL, 0);

	if (ret == -ENOTTY)
		SKIP(return, "the kernel has no VFIO_PCI_DMABUF");
	EXPECT_EQ(0, ret);
	EXPECT_EQ(-EINVAL, feature(self->device.fd,
				   PROBE | SET | VFIO_DEVICE_FEATURE_DMA_BUF, NULL, 0));
}

TEST_HARNESS_MAIN
