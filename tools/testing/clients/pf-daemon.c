// SPDX-License-Identifier: GPL-2.0-only
/*
 * A daemon for the PF of an accelerator. It makes the calls of Intel's pf_bb_config, in
 * the same order: that opens the PF by its group and presents no token, sets the token
 * before there are VFs (its user creates them later), and keeps running.
 *
 * usage: pf-daemon DEVICE TOKEN
 *
 * Prints "ready", or ends with the call that has failed. Then it sets each UUID that it
 * reads from standard input as the token, as if its configuration were applied again.
 * It ends at the end of the input.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/pci_regs.h>
#include <linux/vfio.h>

#define TOKEN_SIZE	16
#define RING_SIZE	(1 << 20)

static void fail(const char *call)
{
	printf("%s: %s\n", call, strerror(errno));
	exit(EXIT_FAILURE);
}

static void parse_token(const char *text, uint8_t token[TOKEN_SIZE])
{
	int i;

	for (i = 0; i < TOKEN_SIZE; i++) {
		if (*text == '-')
			text++;
		if (sscanf(text, "%2hhx", &token[i]) != 1) {
			errno = EINVAL;
			fail("token");
		}
		text += 2;
	}
}

static int open_group(const char *device)
{
	char path[PATH_MAX], target[PATH_MAX];
	ssize_t len;
	int group;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", device);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		fail(path);
	target[len] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%.16s", basename(target));
	group = open(path, O_RDWR);
	if (group < 0)
		fail(path);
	return group;
}

static int open_device(const char *device)
{
	struct vfio_group_status status = { .argsz = sizeof(status) };
	struct vfio_iommu_type1_dma_map map = { .argsz = sizeof(map) };
	int container, group, fd;
	void *ring;

	container = open("/dev/vfio/vfio", O_RDWR);
	if (container < 0)
		fail("/dev/vfio/vfio");
	group = open_group(device);
	if (ioctl(group, VFIO_GROUP_GET_STATUS, &status))
		fail("VFIO_GROUP_GET_STATUS");
	if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
		errno = EPERM;
		fail("VFIO_GROUP_FLAGS_VIABLE");
	}
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container))
		fail("VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU))
		fail("VFIO_SET_IOMMU");

	ring = mmap(NULL, RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		    -1, 0);
	if (ring == MAP_FAILED)
		fail("mmap");
	map.vaddr = (uintptr_t)ring;
	map.iova = map.vaddr;
	map.size = RING_SIZE;
	map.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
	if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map))
		fail("VFIO_IOMMU_MAP_DMA");

	fd = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, device);
	if (fd < 0)
		fail("VFIO_GROUP_GET_DEVICE_FD");
	/* The device keeps both of them. */
	close(container);
	close(group);
	return fd;
}

static int set_token(int fd, const char *text)
{
	uint64_t buffer[4] = {};
	struct vfio_device_feature *feature = (void *)buffer;

	feature->argsz = sizeof(*feature) + TOKEN_SIZE;
	feature->flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN;
	parse_token(text, feature->data);
	return ioctl(fd, VFIO_DEVICE_FEATURE, feature);
}

static void map_bar(int fd)
{
	struct vfio_region_info region = {
		.argsz = sizeof(region),
		.index = VFIO_PCI_BAR0_REGION_INDEX,
	};

	if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &region))
		fail("VFIO_DEVICE_GET_REGION_INFO");
	if (mmap(NULL, region.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		 region.offset) == MAP_FAILED)
		fail("mmap of BAR 0");
}

static void set_bus_master(int fd, uint32_t regions)
{
	struct vfio_region_info region = { .argsz = sizeof(region) };
	uint16_t command;

	for (; region.index < regions; region.index++)
		if (!ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &region) &&
		    region.index == VFIO_PCI_CONFIG_REGION_INDEX)
			break;
	if (pread(fd, &command, sizeof(command), region.offset + PCI_COMMAND) != sizeof(command))
		fail("reading the command register");
	command |= PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY;
	if (pwrite(fd, &command, sizeof(command), region.offset + PCI_COMMAND) != sizeof(command))
		fail("writing the command register");
}

static void enable_msi(int fd)
{
	struct {
		struct vfio_irq_set set;
		int event;
	} request = {
		.set = {
			.argsz = sizeof(request),
			.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			.index = VFIO_PCI_MSI_IRQ_INDEX,
			.count = 1,
		},
		.event = eventfd(0, EFD_CLOEXEC),
	};

	if (request.event < 0 || ioctl(fd, VFIO_DEVICE_SET_IRQS, &request))
		fail("VFIO_DEVICE_SET_IRQS");
}

int main(int argc, char **argv)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	char line[64];
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: pf-daemon DEVICE TOKEN\n");
		return 2;
	}
	setlinebuf(stdout);

	fd = open_device(argv[1]);
	if (ioctl(fd, VFIO_DEVICE_GET_INFO, &info))
		fail("VFIO_DEVICE_GET_INFO");
	if (set_token(fd, argv[2]))
		fail("VFIO_DEVICE_FEATURE");
	map_bar(fd);
	set_bus_master(fd, info.num_regions);
	enable_msi(fd);
	puts("ready");

	while (fgets(line, sizeof(line), stdin))
		printf("VFIO_DEVICE_FEATURE: %s\n",
		       set_token(fd, line) ? strerror(errno) : "set");
	return 0;
}
