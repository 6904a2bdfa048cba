// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a user of an open device needs: regions, interrupts, reset. The core
 * implements them; these tests show that the driver does not interfere.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/iommufd.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define PCI_COMMAND		4
#define PCI_COMMAND_MEMORY	2
#define PCI_CAPABILITY_LIST	0x34
#define PCI_CAP_ID_MSI		5

enum function { FUNCTION_PF, FUNCTION_VF };

FIXTURE(device) {
	const char *pf;
	char bdf[BDF_LEN];
	struct device device;
};

FIXTURE_VARIANT(device) {
	enum path path;
	enum function function;
};

FIXTURE_VARIANT_ADD(device, pf_group) { PATH_GROUP, FUNCTION_PF };
FIXTURE_VARIANT_ADD(device, pf_cdev) { PATH_CDEV, FUNCTION_PF };
FIXTURE_VARIANT_ADD(device, vf_group) { PATH_GROUP, FUNCTION_VF };
FIXTURE_VARIANT_ADD(device, vf_cdev) { PATH_CDEV, FUNCTION_VF };

FIXTURE_SETUP(device)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);
	bool vf = variant->function == FUNCTION_VF;

	self->device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);

	ASSERT_EQ(0, ensure_pf(self->pf, DRIVER, vf ? 1 : 0));
	snprintf(self->bdf, sizeof(self->bdf), "%s", self->pf);
	if (vf) {
		/* Opening the PF is also a way to set the token. */
		ASSERT_EQ(0, try_open(self->pf, variant->path, token_a));
		ASSERT_EQ(0, vf_bdf(self->pf, 0, self->bdf));
	}
	ASSERT_EQ(0, open_device(&self->device, self->bdf, variant->path,
				 vf ? token_a : NULL));
}

FIXTURE_TEARDOWN(device)
{
	close_device(&self->device);
}

static struct vfio_region_info region(int fd, uint32_t index)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = index };

	if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		info.size = 0;
	return info;
}

/*
 * The largest BAR that can be mapped: not all devices have a BAR 0, and an MSI-X table
 * reads as ones.
 */
static struct vfio_region_info mappable_bar(int fd)
{
	struct vfio_region_info bar, largest = {};
	uint32_t index;

	for (index = VFIO_PCI_BAR0_REGION_INDEX; index <= VFIO_PCI_BAR5_REGION_INDEX; index++) {
		bar = region(fd, index);
		if (bar.flags & VFIO_REGION_INFO_FLAG_MMAP && bar.size > largest.size)
			largest = bar;
	}
	return largest;
}

static uint32_t irq_count(int fd, uint32_t index)
{
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };

	return ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO, &info) ? 0 : info.count;
}

static int no_events(int fd, uint32_t index)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
		.index = index,
	};

	return ioctl(fd, VFIO_DEVICE_SET_IRQS, &set) ? -errno : 0;
}

static int trigger_irq(int fd, uint32_t index)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
		.index = index,
		.count = 1,
	};

	return ioctl(fd, VFIO_DEVICE_SET_IRQS, &set) ? -errno : 0;
}

/* Whether the device has the MSI capability, according to its configuration space in sysfs. */
static bool has_msi(const char *bdf)
{
	uint8_t config[256] = {}, at;
	char path[PATH_MAX];
	int fd, i;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, config, sizeof(config)) != sizeof(config))
		config[PCI_CAPABILITY_LIST] = 0;
	close(fd);
	at = config[PCI_CAPABILITY_LIST];
	for (i = 0; at && at < 255 && i < 48; i++) {
		if (config[at] == PCI_CAP_ID_MSI)
			return true;
		at = config[at + 1];
	}
	return false;
}

TEST_F(device, info_is_that_of_a_pci_device)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	ASSERT_EQ(0, ioctl(self->device.fd, VFIO_DEVICE_GET_INFO, &info));
	EXPECT_TRUE(info.flags & VFIO_DEVICE_FLAGS_PCI);
	EXPECT_TRUE(info.flags & VFIO_DEVICE_FLAGS_RESET);
	EXPECT_LE(VFIO_PCI_NUM_REGIONS, info.num_regions);
	EXPECT_LE(VFIO_PCI_NUM_IRQS, info.num_irqs);
}

TEST_F(device, config_space_has_the_ids)
{
	struct vfio_region_info config;
	char vendor[16];
	uint16_t id;

	config = region(self->device.fd, VFIO_PCI_CONFIG_REGION_INDEX);
	ASSERT_LE(256, config.size);
	ASSERT_EQ(sizeof(id), pread(self->device.fd, &id, sizeof(id), config.offset));
	ASSERT_LT(0, read_sysfs(vendor, sizeof(vendor),
				"/sys/bus/pci/devices/%s/vendor", self->pf));
	EXPECT_EQ(strtoul(vendor, NULL, 16), id);
}

TEST_F(device, bar_reads_the_same_mapped_and_not)
{
	struct vfio_region_info config, bar;
	uint32_t by_read, *map;
	uint16_t command;

	config = region(self->device.fd, VFIO_PCI_CONFIG_REGION_INDEX);
	bar = mappable_bar(self->device.fd);
	ASSERT_LT(0, bar.size);

	ASSERT_EQ(2, pread(self->device.fd, &command, 2, config.offset + PCI_COMMAND));
	command |= PCI_COMMAND_MEMORY;
	ASSERT_EQ(2, pwrite(self->device.fd, &command, 2, config.offset + PCI_COMMAND));

	map = mmap(NULL, bar.size, PROT_READ, MAP_SHARED, self->device.fd, bar.offset);
	ASSERT_NE(MAP_FAILED, map);
	ASSERT_EQ(4, pread(self->device.fd, &by_read, 4, bar.offset + 8));
	EXPECT_EQ(by_read, map[2]);
	EXPECT_EQ(0, munmap(map, bar.size));
}

/* Gives the device an address space of its own, which an opening by group includes. */
static int attach(const struct device *device)
{
	struct iommu_ioas_alloc alloc = { .size = sizeof(alloc) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };

	if (ioctl(device->iommu, IOMMU_IOAS_ALLOC, &alloc))
		return -errno;
	attach.pt_id = alloc.out_ioas_id;
	return ioctl(device->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) ? -errno : 0;
}

TEST_F(device, interrupts_reach_their_eventfd)
{
	static const uint32_t kinds[] = {
		VFIO_PCI_INTX_IRQ_INDEX, VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_MSIX_IRQ_INDEX
	};
	int event = eventfd(0, EFD_NONBLOCK), tried = 0;
	size_t i;

	ASSERT_LE(0, event);
	/*
	 * If the IOMMU translates MSIs (arm64), they are refused without an address space,
	 * and after a refusal Linux 7.3 gives the device no MSI at all.
	 */
	if (variant->path == PATH_CDEV)
		ASSERT_EQ(0, attach(&self->device));
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		uint64_t count = 0;

		if (!irq_count(self->device.fd, kinds[i]))
			continue;
		tried++;
		ASSERT_EQ(0, on_event(self->device.fd, kinds[i], event));
		ASSERT_EQ(0, trigger_irq(self->device.fd, kinds[i]));
		EXPECT_EQ(sizeof(count), read(event, &count, sizeof(count)));
		EXPECT_EQ(1, count);
		ASSERT_EQ(0, no_events(self->device.fd, kinds[i]));
	}
	/* VFs have only MSI-X. A PF also has INTx, and some have MSI. */
	EXPECT_EQ(variant->function == FUNCTION_PF ? 2 + has_msi(self->bdf) : 1, tried);
	close(event);
}

TEST_F(device, resets)
{
	EXPECT_EQ(0, ioctl(self->device.fd, VFIO_DEVICE_RESET));
}

TEST_F(device, hot_reset_info_names_the_device)
{
	uint64_t buffer[64] = {};
	struct vfio_pci_hot_reset_info *info = (void *)buffer;
	unsigned int bus, slot, function;
	bool found = false;
	uint32_t i;
	int ret;

	ret = sscanf(self->bdf, "0000:%x:%x.%x", &bus, &slot, &function);
	ASSERT_EQ(3, ret);
	info->argsz = sizeof(buffer);
	ASSERT_EQ(0, ioctl(self->device.fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, info));
	for (i = 0; i < info->count; i++)
		found |= info->devices[i].bus == bus &&
			 info->devices[i].devfn == (slot << 3 | function);
	EXPECT_TRUE(found);
}

TEST_F(device, unknown_ioctl_is_enotty)
{
	EXPECT_EQ(-1, ioctl(self->device.fd, _IO(VFIO_TYPE, VFIO_BASE + 99)));
	EXPECT_EQ(ENOTTY, errno);
}

/* A feature of the core whose answer is a number. */
TEST_F(device, bar_can_be_shared_as_dma_buf)
{
	struct {
		struct vfio_device_feature header;
		struct vfio_device_feature_dma_buf dma_buf;
		struct vfio_region_dma_range range;
	} request = {
		.header.argsz = sizeof(request),
		.header.flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_BUF,
		.dma_buf.open_flags = O_CLOEXEC,
		.dma_buf.nr_ranges = 1,
		.range.length = getpagesize(),
	};
	char link[64], target[64] = "";
	int fd;

	request.dma_buf.region_index = mappable_bar(self->device.fd).index;
	fd = ioctl(self->device.fd, VFIO_DEVICE_FEATURE, &request);
	if (fd < 0 && errno == ENOTTY)
		SKIP(return, "the kernel has no CONFIG_VFIO_PCI_DMABUF");
	ASSERT_LT(0, fd);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	EXPECT_LT(0, readlink(link, target, sizeof(target) - 1));
	EXPECT_STREQ("/dmabuf:", target);
	close(fd);
}

TEST_HARNESS_MAIN
