// SPDX-License-Identifier: GPL-2.0-only
/*
 * The regions of Intel graphics. The card is a described one, and its OpRegion a huge page
 * of this program. What this driver shows of them is what vfio-pci shows.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define INTEL_TYPE	(VFIO_REGION_TYPE_PCI_VENDOR_TYPE | 0x8086)
#define ASLS		0xfc
#define HUGE_SIZE	(2u << 20)
#define OPREGION_SIZE	0x2000u
/* The offset of the extended VBT in the huge page: right after the OpRegion, or not. */
#define VBT_BEHIND	OPREGION_SIZE
#define VBT_ELSEWHERE	0x11000u
#define VBT_SIZE	5000u
#define MAX_REGIONS	4
#define MAX_PAGES	64

/* A region that the driver adds. */
struct region {
	uint32_t index;
	uint32_t flags;
	uint64_t size;
	uint64_t offset;
	uint32_t type;
	uint32_t subtype;
};

/* What a user sees of the device, except for the bytes of its regions. */
struct view {
	int opened;	/* 0 or a negative errno */
	unsigned int count;
	struct region regions[MAX_REGIONS];
	uint32_t asls;
};

/* The result of one read. */
struct answer {
	ssize_t ret;	/* or a negative errno */
	uint8_t bytes[24];
};

/* The card, and the memory that is its OpRegion. */
struct card {
	char bdf[BDF_LEN];
	struct device device;
	uint8_t *memory;
	uint64_t address;	/* in physical memory */
};

FIXTURE(igd) {
	struct card card;
};

static uint64_t physical_address(void *memory)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;
	off_t at = (uintptr_t)memory / getpagesize() * sizeof(entry);

	if (pread(fd, &entry, sizeof(entry), at) != sizeof(entry))
		entry = 0;
	close(fd);
	return (entry & ((1ull << 55) - 1)) * getpagesize();
}

/* A huge page whose physical address is above 4 GB or not; MAP_FAILED if there is none. */
static uint8_t *huge_page(bool above)
{
	uint8_t *pages[MAX_PAGES], *found = MAP_FAILED;
	unsigned int n;

	for (n = 0; n < MAX_PAGES && found == MAP_FAILED; n++) {
		pages[n] = mmap(NULL, HUGE_SIZE, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
		if (pages[n] == MAP_FAILED)
			break;
		pages[n][0] = 1;
		if ((physical_address(pages[n]) > UINT32_MAX) == above)
			found = pages[n];
	}
	while (n--)
		if (pages[n] != found)
			munmap(pages[n], HUGE_SIZE);
	return found;
}

/* The first Intel graphics device. */
static bool find_card(char bdf[BDF_LEN])
{
	char vendor[16], class[16];
	bool found = false;
	glob_t devices;
	size_t i;

	if (glob("/sys/bus/pci/devices/*", 0, NULL, &devices))
		return false;
	for (i = 0; i < devices.gl_pathc && !found; i++) {
		snprintf(bdf, BDF_LEN, "%s", strrchr(devices.gl_pathv[i], '/') + 1);
		found = read_sysfs(vendor, sizeof(vendor), "%s/vendor", devices.gl_pathv[i]) > 0 &&
			read_sysfs(class, sizeof(class), "%s/class", devices.gl_pathv[i]) > 0 &&
			!strcmp(vendor, "0x8086") && !strncmp(class, "0x03", 4);
	}
	globfree(&devices);
	return found;
}

/* The device's own register, without any driver. */
static int config_rw(const char *bdf, uint32_t *value, bool write)
{
	char path[128];
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = open(path, O_RDWR);
	ret = write ? pwrite(fd, value, sizeof(*value), ASLS) :
		      pread(fd, value, sizeof(*value), ASLS);
	close(fd);
	return ret == sizeof(*value) ? 0 : -EIO;
}

static int set_asls(const char *bdf, uint32_t value)
{
	return config_rw(bdf, &value, true);
}

static void put16(uint8_t *at, uint16_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put32(uint8_t *at, uint32_t value)
{
	memcpy(at, &value, sizeof(value));
}

static void put64(uint8_t *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

/* An OpRegion of 8 KB, whose bytes depend on their offsets. */
static void fill_opregion(uint8_t *memory, uint16_t version, uint64_t rvda, uint32_t rvds)
{
	unsigned int i;

	for (i = 0; i < HUGE_SIZE; i++)
		memory[i] = i * 7 + i / 256;
	memcpy(memory, "IntelGraphicsMem", 16);
	put32(memory + 0x10, OPREGION_SIZE / 1024);
	put16(memory + 0x16, version);
	put64(memory + 0x3ba, rvda);
	put32(memory + 0x3c2, rvds);
}

/* A region type of the card; those of the bridges may be anywhere after it. */
static const struct region *region_of(const struct view *view, uint32_t subtype)
{
	unsigned int i;

	for (i = 0; i < view->count; i++)
		if (view->regions[i].type == INTEL_TYPE && view->regions[i].subtype == subtype)
			return &view->regions[i];
	return NULL;
}

static int look_at_region(int fd, uint32_t index, struct region *region)
{
	union {
		struct vfio_region_info info;
		uint8_t bytes[256];
	} u = { .info = { .argsz = sizeof(u), .index = index } };
	struct vfio_info_cap_header *header;
	uint32_t at;

	if (ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, &u.info))
		return -errno;
	region->index = index;
	region->flags = u.info.flags;
	region->size = u.info.size;
	region->offset = u.info.offset;
	for (at = u.info.cap_offset; at && at < sizeof(u); at = header->next) {
		header = (void *)(u.bytes + at);
		if (header->id == VFIO_REGION_INFO_CAP_TYPE) {
			struct vfio_region_info_cap_type *cap = (void *)header;

			region->type = cap->type;
			region->subtype = cap->subtype;
		}
	}
	return 0;
}

/* Opens the card with the driver and records what it shows; it stays open. */
static struct view look(struct card *card, const char *driver)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	struct view view = {};
	uint32_t i;

	close_device(&card->device);
	if (!is_bound(card->bdf, driver)) {
		bind_driver(card->bdf, NULL);
		view.opened = bind_driver(card->bdf, driver);
		if (view.opened)
			return view;
	}
	view.opened = open_device(&card->device, card->bdf, any_path(), NULL);
	if (view.opened)
		return view;
	if (ioctl(card->device.fd, VFIO_DEVICE_GET_INFO, &info) ||
	    ioctl(card->device.fd, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    pread(card->device.fd, &view.asls, 4, config.offset + ASLS) != 4) {
		view.opened = -EIO;
		return view;
	}
	for (i = VFIO_PCI_NUM_REGIONS; i < info.num_regions && view.count < MAX_REGIONS; i++)
		if (look_at_region(card->device.fd, i, &view.regions[view.count]) == 0)
			view.count++;
	return view;
}

static ssize_t read_region(int fd, const struct region *region, void *to, size_t size,
			   uint64_t at)
{
	ssize_t ret = pread(fd, to, size, region->offset + at);

	return ret < 0 ? -errno : ret;
}

FIXTURE_SETUP(igd)
{
	const char *problem = setup_modules();

	self->card.device = (struct device)DEVICE_CLOSED;
	self->card.memory = MAP_FAILED;
	if (!problem)
		problem = setup_c_driver();
	if (!problem && !find_card(self->card.bdf))
		problem = "there is no Intel graphics";
	if (problem)
		SKIP(return, "%s", problem);
	/* The register has 32 bits. */
	self->card.memory = huge_page(false);
	ASSERT_NE(MAP_FAILED, self->card.memory);
	self->card.address = physical_address(self->card.memory);
	ASSERT_NE(0, self->card.address);
	ASSERT_EQ(0, set_asls(self->card.bdf, self->card.address));
}

FIXTURE_TEARDOWN(igd)
{
	close_device(&self->card.device);
	if (self->card.memory == MAP_FAILED)
		return;
	restore_device(self->card.bdf);
	set_asls(self->card.bdf, 0);
	munmap(self->card.memory, HUGE_SIZE);
}

/* An OpRegion, and what a user should see of it. */
static const struct scenario {
	const char *name;
	uint16_t version;
	uint32_t vbt;		/* offset in the huge page, 0 if there is none */
	uint32_t vbt_size;
	uint32_t size_kb;
	uint16_t seen_version;
} scenarios[] = {
	{ "1.0", 0x0100, 0, 0, 8, 0x0100 },
	{ "1.0 ignores RVDA", 0x01ff, VBT_ELSEWHERE, VBT_SIZE, 8, 0x01ff },
	{ "2.0", 0x0200, 0, 0, 8, 0x0200 },
	{ "2.0, no size", 0x0200, VBT_ELSEWHERE, 0, 8, 0x0200 },
	{ "2.0, VBT elsewhere", 0x0200, VBT_ELSEWHERE, VBT_SIZE, 8, 0x0201 },
	{ "2.0, VBT behind", 0x0200, VBT_BEHIND, VBT_SIZE, 8, 0x0201 },
	{ "2.0, VBT of a byte", 0x0200, VBT_ELSEWHERE, 1, 8, 0x0201 },
	{ "2.1, VBT behind", 0x0201, VBT_BEHIND, VBT_SIZE, 8, 0x0201 },
	{ "2.1, VBT elsewhere", 0x0201, VBT_ELSEWHERE, VBT_SIZE, 8, 0x0201 },
	{ "3.0, large VBT", 0x0300, VBT_BEHIND, 1 << 20, 8, 0x0300 },
	{ "smaller than it is", 0x0200, 0, 0, 1, 0x0200 },
	{ "smaller, with a VBT", 0x0200, VBT_ELSEWHERE, VBT_SIZE, 4, 0x0201 },
	{ "of no bytes in 32 bits", 0x0100, 0, 0, 1 << 22, 0x0100 },
	{ NULL },
};

static void make(struct card *card, const struct scenario *s)
{
	uint64_t rvda = s->vbt && s->version == 0x0200 ? card->address + s->vbt : s->vbt;

	fill_opregion(card->memory, s->version, rvda, s->vbt_size);
	put32(card->memory + 0x10, s->size_kb);
}

static bool has_vbt(const struct scenario *s)
{
	return s->version >= 0x0200 && s->vbt && s->vbt_size;
}

/* The memory behind the region, which may be larger or smaller than it claims. */
static size_t expect_bytes(struct card *card, const struct scenario *s, uint8_t *bytes)
{
	memcpy(bytes, card->memory, OPREGION_SIZE);
	put16(bytes + 0x16, s->seen_version);
	put64(bytes + 0x3ba, has_vbt(s) ? OPREGION_SIZE : 0);
	if (has_vbt(s))
		memcpy(bytes + OPREGION_SIZE, card->memory + s->vbt, s->vbt_size);
	return s->size_kb * 1024 + (has_vbt(s) ? s->vbt_size : 0);
}

TEST_F_TIMEOUT(igd, every_byte_is_seen_as_with_vfio_pci, 600)
{
	static const char *const drivers[] = { C_DRIVER, DRIVER };
	static uint8_t expected[HUGE_SIZE], bytes[HUGE_SIZE];
	const struct scenario *s;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		for (s = scenarios; s->name; s++) {
			const struct region *region;
			size_t size, done = 0;
			struct view view;
			ssize_t ret = 1;

			TH_LOG("%s: %s", drivers[i], s->name);
			make(&self->card, s);
			size = expect_bytes(&self->card, s, expected);
			view = look(&self->card, drivers[i]);
			ASSERT_EQ(0, view.opened);
			ASSERT_EQ(3, view.count);
			region = region_of(&view, VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION);
			ASSERT_NE(NULL, region);
			EXPECT_EQ(VFIO_PCI_NUM_REGIONS, region->index);
			EXPECT_EQ(VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_CAPS,
				  region->flags);
			ASSERT_EQ(size, region->size);
			while (done < size && ret > 0) {
				ret = read_region(self->card.device.fd, region, bytes + done,
						  sizeof(bytes) - done, done);
				done += ret > 0 ? ret : 0;
			}
			ASSERT_EQ(size, done);
			EXPECT_EQ(0, memcmp(expected, bytes, size));
		}
	}
}

/* Reads some bytes from each offset around the boundaries. */
static size_t read_around(struct card *card, const struct region *region,
			  const uint64_t *seams, size_t count, struct answer *answers)
{
	size_t n = 0, seam;
	unsigned int len;
	int i;

	for (seam = 0; seam < count; seam++)
		for (i = -9; i < 9; i++)
			for (len = 0; len <= sizeof(answers->bytes); len++) {
				struct answer *answer = &answers[n];

				if (i < 0 && seams[seam] < (uint64_t)-i)
					continue;
				memset(answer, 0, sizeof(*answer));
				answer->ret = read_region(card->device.fd, region, answer->bytes,
							  len, seams[seam] + i);
				n++;
			}
	return n;
}

#define MAX_ANSWERS	(8 * 18 * (sizeof(((struct answer *)0)->bytes) + 1))

TEST_F_TIMEOUT(igd, reads_around_each_seam_are_those_of_vfio_pci, 600)
{
	static struct answer c[MAX_ANSWERS], rust[MAX_ANSWERS];
	const struct scenario *s;
	unsigned int subtype;

	for (s = scenarios; s->name; s++) {
		uint64_t seams[] = {
			0, 0x16, 0x18, 0x3ba, 0x3c2, OPREGION_SIZE, OPREGION_SIZE + s->vbt_size,
			s->size_kb * 1024ull,
		};
		struct view view;
		size_t n, i;

		make(&self->card, s);
		/* After the last byte vfio-pci reads whatever is in memory. */
		if (s->size_kb * 1024 > OPREGION_SIZE)
			continue;
		for (subtype = VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION;
		     subtype <= VFIO_REGION_SUBTYPE_INTEL_IGD_LPC_CFG; subtype++) {
			TH_LOG("%s, region %u", s->name, subtype);
			view = look(&self->card, C_DRIVER);
			ASSERT_EQ(0, view.opened);
			if (subtype > VFIO_REGION_SUBTYPE_INTEL_IGD_OPREGION)
				seams[7] = region_of(&view, subtype)->size;
			n = read_around(&self->card, region_of(&view, subtype), seams, 8, c);
			view = look(&self->card, DRIVER);
			ASSERT_EQ(0, view.opened);
			ASSERT_EQ(n, read_around(&self->card, region_of(&view, subtype), seams, 8,
						 rust));
			for (i = 0; i < n; i++)
				ASSERT_EQ(0, memcmp(&c[i], &rust[i], sizeof(c[i]))) {
					TH_LOG("answer %zu: %zd, %zd", i, c[i].ret, rust[i].ret);
				}
			/* The bridges do not depend on the OpRegion. */
			if (s != scenarios)
				break;
		}
	}
}

TEST_F(igd, the_bridges_are_seen_as_they_are)
{
	static const char *const bridges[] = { "0000:00:00.0", "0000:00:1f.0" };
	uint8_t bytes[4096], expected[4096];
	const struct region *region;
	struct view view;
	unsigned int i;
	char path[128];
	ssize_t size;
	int fd;

	make(&self->card, scenarios);
	view = look(&self->card, DRIVER);
	ASSERT_EQ(0, view.opened);
	for (i = 0; i < 2; i++) {
		region = region_of(&view, VFIO_REGION_SUBTYPE_INTEL_IGD_HOST_CFG + i);
		ASSERT_NE(NULL, region);
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bridges[i]);
		fd = open(path, O_RDONLY);
		size = read(fd, expected, sizeof(expected));
		close(fd);
		ASSERT_LT(0, size);
		EXPECT_EQ(size, region->size);
		EXPECT_EQ(size, read_region(self->card.device.fd, region, bytes, sizeof(bytes), 0));
		EXPECT_EQ(0, memcmp(bytes, expected, size));
	}
}

TEST_F(igd, nothing_but_reading_is_allowed)
{
	static const char *const drivers[] = { C_DRIVER, DRIVER };
	uint8_t *end = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned int i, n;

	make(&self->card, scenarios);
	/* Only the first of the two pages is mapped. */
	munmap(end + 4096, 4096);
	for (i = 0; i < 2; i++) {
		struct view view = look(&self->card, drivers[i]);

		ASSERT_EQ(0, view.opened);
		ASSERT_EQ(3, view.count);
		for (n = 0; n < 3; n++) {
			const struct region *region = &view.regions[n];
			int fd = self->card.device.fd;
			uint8_t byte = 0;

			EXPECT_EQ(-1, pwrite(fd, &byte, 1, region->offset));
			EXPECT_EQ(EINVAL, errno);
			EXPECT_EQ(-EINVAL, read_region(fd, region, &byte, 1, region->size));
			EXPECT_EQ(-EFAULT, read_region(fd, region, end + 4096 - 30, 64, 0));
			EXPECT_EQ(MAP_FAILED, mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd,
						   region->offset));
			EXPECT_EQ(EINVAL, errno);
			/* A region that can be written has changed. */
			EXPECT_EQ(30, read_region(fd, region, end + 4096 - 30, 30, 0));
		}
		EXPECT_EQ(-1, pread(self->card.device.fd, end, 1,
				    view.regions[2].offset + (1ull << 40)));
		EXPECT_EQ(EINVAL, errno);
	}
	munmap(end, 4096);
}

TEST_F(igd, where_there_is_no_opregion_opening_is_as_with_vfio_pci)
{
	static const struct {
		const char *name;
		uint32_t at;	/* the offset of the wrong value in the OpRegion */
		uint32_t value;
		uint32_t asls;	/* the address in the register; 1 stands for the right one */
		int opened;
		unsigned int regions;
	} cases[] = {
		{ "no address", 0, 0, 0, 0, 0 },
		{ "an address of all ones", 0, 0, UINT32_MAX, 0, 0 },
		{ "another signature", 0xc, 0x2065654d, 1, -EINVAL, 0 },
		{ "no signature", 0, 0, 1, -EINVAL, 0 },
		{ "no size", 0x10, 0, 1, -EINVAL, 0 },
		{ "no memory", 0x10, 8, 0xd0000000, -EINVAL, 0 },
		{ "all as it should be", 0x10, 8, 1, 0, 3 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct view c, rust;
		uint32_t asls;

		TH_LOG("%s", cases[i].name);
		make(&self->card, scenarios);
		put32(self->card.memory + cases[i].at, cases[i].value);
		asls = cases[i].asls;
		if (asls == 1)
			asls = self->card.address;
		ASSERT_EQ(0, set_asls(self->card.bdf, asls));
		c = look(&self->card, C_DRIVER);
		EXPECT_EQ(cases[i].opened, c.opened);
		EXPECT_EQ(cases[i].regions, c.count);
		rust = look(&self->card, DRIVER);
		EXPECT_EQ(0, memcmp(&c, &rust, sizeof(c)));
	}
}

TEST_F(igd, a_refusal_says_why)
{
	static const char *const words[] = { DRIVER, "not opened:", "not point to an", NULL };
	int log = open_log();

	make(&self->card, scenarios);
	self->card.memory[0] = 'J';
	EXPECT_EQ(-EINVAL, look(&self->card, DRIVER).opened);
	EXPECT_TRUE(log_has(log, words));
	close(log);
}

/* What the user writes to the register does not reach the device. */
TEST_F(igd, the_register_is_virtual_while_the_device_is_open)
{
	static const char *const drivers[] = { C_DRIVER, DRIVER };
	struct vfio_region_info config = {
		.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	const uint32_t other = 0x12345678;
	unsigned int i;

	make(&self->card, scenarios);
	for (i = 0; i < 2; i++) {
		struct view view = look(&self->card, drivers[i]);
		uint32_t value = 0;

		ASSERT_EQ(0, view.opened);
		EXPECT_EQ(self->card.address, view.asls);
		ASSERT_EQ(0, ioctl(self->card.device.fd, VFIO_DEVICE_GET_REGION_INFO, &config));
		EXPECT_EQ(4, pwrite(self->card.device.fd, &other, 4, config.offset + ASLS));
		EXPECT_EQ(4, pread(self->card.device.fd, &value, 4, config.offset + ASLS));
		EXPECT_EQ(other, value);
		EXPECT_EQ(0, config_rw(self->card.bdf, &value, false));
		EXPECT_EQ(self->card.address, value);
		/* The next user finds the value of the device again. */
		EXPECT_EQ(self->card.address, look(&self->card, drivers[i]).asls);
	}
}

/* With vfio-pci the register has the address of the VBT instead. */
TEST_F(igd, the_register_points_to_the_opregion_with_a_vbt_elsewhere)
{
	make(&self->card, &scenarios[4]);
	EXPECT_EQ(self->card.address, look(&self->card, DRIVER).asls);
}

/* vfio-pci keeps 32 bits of its address, and would read the memory there. */
TEST_F(igd, a_vbt_may_be_above_4_gb)
{
	static const uint16_t versions[] = { 0x0200, 0x0201 };
	uint8_t *far = huge_page(true);
	uint8_t bytes[VBT_SIZE];
	unsigned int i;
	uint64_t vbt;

	if (far == MAP_FAILED)
		SKIP(return, "there is no memory above 4 GB");
	vbt = physical_address(far);
	for (i = 0; i < VBT_SIZE; i++)
		far[i] = i * 11 + i / 256;
	for (i = 0; i < ARRAY_SIZE(versions); i++) {
		struct view view;

		fill_opregion(self->card.memory, versions[i],
			      versions[i] == 0x0200 ? vbt : vbt - self->card.address, VBT_SIZE);
		view = look(&self->card, DRIVER);
		ASSERT_EQ(0, view.opened);
		ASSERT_EQ(OPREGION_SIZE + VBT_SIZE, view.regions[0].size);
		EXPECT_EQ(VBT_SIZE, read_region(self->card.device.fd, &view.regions[0], bytes,
						VBT_SIZE, OPREGION_SIZE));
		EXPECT_EQ(0, memcmp(far, bytes, VBT_SIZE));
	}
	close_device(&self->card.device);
	munmap(far, HUGE_SIZE);
}

/* vfio-pci reads the memory after the VBT, or from address zero. */
TEST_F(igd, bytes_that_are_not_there_cannot_be_read)
{
	struct scenario lie = scenarios[4];
	const struct region *region;
	uint8_t bytes[64];
	struct view view;
	int fd;

	lie.size_kb = 16;
	make(&self->card, &lie);
	view = look(&self->card, DRIVER);
	ASSERT_EQ(0, view.opened);
	fd = self->card.device.fd;
	region = &view.regions[0];
	EXPECT_EQ(0x4000 + VBT_SIZE, region->size);
	EXPECT_EQ(16, read_region(fd, region, bytes, 16,
				  OPREGION_SIZE + VBT_SIZE - 16));
	EXPECT_EQ(-EFAULT, read_region(fd, region, bytes, 17,
				       OPREGION_SIZE + VBT_SIZE - 16));
	EXPECT_EQ(-EFAULT, read_region(fd, region, bytes, 1, 0x4000 + VBT_SIZE - 1));

	lie.vbt = 0;
	make(&self->card, &lie);
	view = look(&self->card, DRIVER);
	ASSERT_EQ(0, view.opened);
	fd = self->card.device.fd;
	EXPECT_EQ(0x4000, view.regions[0].size);
	EXPECT_EQ(8, read_region(fd, &view.regions[0], bytes, 8, OPREGION_SIZE - 8));
	EXPECT_EQ(-EFAULT, read_region(fd, &view.regions[0], bytes, 8, OPREGION_SIZE));
}

/* How many regions the driver has added to the device; or a negative errno. */
static int extra_regions(int fd)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };

	if (ioctl(fd, VFIO_DEVICE_GET_INFO, &info))
		return -errno;
	return info.num_regions - VFIO_PCI_NUM_REGIONS;
}

/*
 * Opens the card with the @n-th allocation or copy failing, sets @left to how many were still
 * missing, and returns extra_regions(), or a negative errno.
 */
static int open_with_fault(struct card *card, int fail_nth, int n, int *left)
{
	int ret = prepare_device(&card->device, card->bdf, any_path());

	if (ret)
		return ret;
	arm_fault(fail_nth, n);
	ret = present_token(&card->device, card->bdf, any_path(), NULL);
	*left = disarm_fault(fail_nth);
	if (!ret)
		ret = extra_regions(card->device.fd);
	close_device(&card->device);
	return ret;
}

/* With a fault the opening is refused, or succeeds as without it. */
TEST_F_TIMEOUT(igd, faults_of_an_opening_leave_nothing_behind, 3600)
{
	const char *problem = setup_faults();
	const int many = 1 << 20;
	int fail_nth, left = 0, n, answer, tried = 0, refused = 0;

	if (problem)
		SKIP(return, "%s", problem);
	fail_nth = open_fail_nth();
	ASSERT_LE(0, fail_nth);
	make(&self->card, &scenarios[4]);
	ASSERT_EQ(0, look(&self->card, DRIVER).opened);
	close_device(&self->card.device);
	ASSERT_EQ(3, open_with_fault(&self->card, fail_nth, many, &left));
	n = many - left;
	ASSERT_LT(0, n);
	/* All of the last faults, which are in the regions, and fewer and fewer before them. */
	for (; n > 0; n -= tried < 32 ? 1 : 1 + 2 * tried) {
		answer = open_with_fault(&self->card, fail_nth, n, &left);
		tried += !left;
		EXPECT_TRUE(answer == 3 || (!left && (answer == -ENOMEM || answer == -EFAULT))) {
			TH_LOG("fault %d: %d", n, answer);
		}
		if (answer >= 0)
			continue;
		refused++;
		ASSERT_EQ(3, open_with_fault(&self->card, fail_nth, many, &left));
	}
	close(fail_nth);
	ksft_print_msg("opening Intel graphics: %d faults, %d of them refused it\n", tried,
		       refused);
	EXPECT_LT(0, refused);
}

/* The firmware changes the OpRegion while it is in use. */
TEST_F(igd, what_changes_is_seen_at_once)
{
	static const char *const drivers[] = { C_DRIVER, DRIVER };
	unsigned int i;
	uint8_t byte;

	for (i = 0; i < 2; i++) {
		struct view view;

		make(&self->card, scenarios);
		view = look(&self->card, drivers[i]);
		ASSERT_EQ(0, view.opened);
		self->card.memory[0x100] = 0xa5;
		EXPECT_EQ(1, read_region(self->card.device.fd, &view.regions[0], &byte, 1, 0x100));
		EXPECT_EQ(0xa5, byte);
		self->card.memory[0x17] = 0x77;
		EXPECT_EQ(1, read_region(self->card.device.fd, &view.regions[0], &byte, 1, 0x17));
		EXPECT_EQ(0x77, byte);
	}
}

TEST_F(igd, all_who_have_it_open_see_the_same)
{
	struct device second = DEVICE_CLOSED;
	char name[128];
	struct view view;
	uint8_t byte;
	int i;

	make(&self->card, scenarios);
	for (i = 0; i < 20; i++) {
		view = look(&self->card, DRIVER);
		ASSERT_EQ(0, view.opened);
		ASSERT_EQ(3, view.count);
	}
	close_device(&self->card.device);
	ASSERT_EQ(0, open_device(&self->card.device, self->card.bdf, PATH_GROUP, NULL));
	device_name(name, self->card.bdf, NULL);
	second.fd = ioctl(self->card.device.group, VFIO_GROUP_GET_DEVICE_FD, name);
	ASSERT_LE(0, second.fd);
	EXPECT_EQ(1, read_region(second.fd, &view.regions[0], &byte, 1, 0));
	close(self->card.device.fd);
	self->card.device.fd = second.fd;
	EXPECT_EQ(1, read_region(second.fd, &view.regions[0], &byte, 1, 0));
	EXPECT_EQ('I', byte);
}

TEST_HARNESS_MAIN
