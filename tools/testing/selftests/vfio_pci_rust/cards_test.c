// SPDX-License-Identifier: GPL-2.0-only
/*
 * Described cards: those of the denylist, and some with a quirk. Both drivers give the same
 * answers to all calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/pci_regs.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define MAX_CARDS	32
/* The effects of a write to these offsets in BAR 0. */
#define RAISE_INTX	0x10
#define LOWER_INTX	0x14
#define FIRE_MSI	0x18
#define VANISH		0x20

static const char *const drivers[] = { C_DRIVER, DRIVER };

struct card {
	char bdf[BDF_LEN];
	unsigned int vendor;
	unsigned int device;
};

/* On the denylist of vfio-pci: QuickAssist, DSA, IAX. */
static const unsigned int denylisted[] = {
	0x19e2, 0x19e3, 0x37c8, 0x37c9, 0x0435, 0x0443, 0x0b25, 0x0cfe,
};

static bool is_denylisted(const struct card *card)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(denylisted); i++)
		if (card->vendor == 0x8086 && card->device == denylisted[i])
			return true;
	return false;
}

FIXTURE(cards) {
	struct card cards[MAX_CARDS];
	unsigned int count;
};

/* Each is on a bus of its own; the machine's own devices share one. */
FIXTURE_SETUP(cards)
{
	const char *problem = setup_modules();
	glob_t found;
	size_t i;

	if (!problem)
		problem = setup_c_driver();
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, glob("/sys/bus/pci/devices/0000:*:00.0", 0, NULL, &found));
	for (i = 0; i < found.gl_pathc && self->count < MAX_CARDS; i++) {
		struct card *card = &self->cards[self->count];
		char text[16];

		snprintf(card->bdf, BDF_LEN, "%s", strrchr(found.gl_pathv[i], '/') + 1);
		if (!strncmp(card->bdf, "0000:00", 7))
			continue;
		if (read_sysfs(text, sizeof(text), "%s/vendor", found.gl_pathv[i]) < 0)
			continue;
		card->vendor = strtoul(text, NULL, 16);
		if (read_sysfs(text, sizeof(text), "%s/device", found.gl_pathv[i]) < 0)
			continue;
		card->device = strtoul(text, NULL, 16);
		self->count++;
	}
	globfree(&found);
	ASSERT_LT(0, self->count);
}

FIXTURE_TEARDOWN(cards)
{
	unsigned int i;

	for (i = 0; i < self->count; i++)
		restore_device(self->cards[i].bdf);
	for (i = 0; i < 2; i++)
		if (!is_loaded(drivers[i]))
			(void)!system(i ? "modprobe vfio_pci_rust" : "modprobe vfio-pci");
}

/* The driver's answer when it is told to bind the device. */
static int bind_to(const char *bdf, const char *driver)
{
	int ret = bind_driver(bdf, NULL);

	if (!ret)
		ret = write_sysfs(driver, "/sys/bus/pci/devices/%s/driver_override", bdf);
	return ret ? ret : write_sysfs(bdf, "/sys/bus/pci/drivers/%s/bind", driver);
}

TEST_F(cards, all_of_the_denylist_are_there)
{
	unsigned int i, n, count = 0;

	for (i = 0; i < ARRAY_SIZE(denylisted); i++)
		for (n = 0; n < self->count; n++)
			count += is_denylisted(&self->cards[n]) &&
				 self->cards[n].device == denylisted[i];
	EXPECT_EQ(ARRAY_SIZE(denylisted), count);
}

TEST_F(cards, the_denylist_is_refused)
{
	unsigned int i, n;

	for (n = 0; n < self->count; n++) {
		const char *const words[] = { self->cards[n].bdf, "denylist", NULL };

		if (!is_denylisted(&self->cards[n]))
			continue;
		for (i = 0; i < 2; i++) {
			int log = open_log();

			TH_LOG("%04x with %s", self->cards[n].device, drivers[i]);
			EXPECT_EQ(-EINVAL, bind_to(self->cards[n].bdf, drivers[i]));
			EXPECT_TRUE(log_has(log, words));
			close(log);
		}
	}
}

/* INTx as a user sees it. */
struct intx {
	int on;			/* the answer to enabling it */
	uint64_t came;		/* how many were signalled after one was raised */
	uint64_t again;		/* after another one, without unmasking */
	int unmasked;		/* the answer to unmasking it */
	uint64_t then;		/* after that: it was pending, or is raised again */
	uint16_t command;	/* the command register while it is masked */
	int off;
};

/* The answers of a card. */
struct answers {
	int bound;
	int opened;
	struct vfio_device_info info;
	struct {
		int ret;
		struct vfio_region_info info;
		uint64_t first;		/* its first bytes */
		ssize_t read;
		int mmapped;
	} regions[VFIO_PCI_NUM_REGIONS];
	struct {
		int ret;
		struct vfio_irq_info info;
	} irqs[VFIO_PCI_NUM_IRQS];
	struct intx intx;
	int msi;
	uint64_t msi_came;
	int reset;
	int hot_reset_info;
	uint8_t config[256];
	ssize_t config_size;
	ssize_t written;	/* the write that makes it vanish */
	ssize_t config_after;
	uint32_t ids_after;
	uint64_t bar_after;
	int reset_after;
	int reopened;
};

static int result(int ret)
{
	return ret < 0 ? -errno : ret;
}

/* How often an event is signalled within 200 ms. */
static uint64_t count_of(int event)
{
	struct pollfd wait = { .fd = event, .events = POLLIN };
	uint64_t count = 0;

	if (poll(&wait, 1, 200) == 1 && read(event, &count, sizeof(count)) != sizeof(count))
		count = 0;
	return count;
}

static void pull(int fd, uint64_t bar, uint32_t what)
{
	uint32_t any = 1;

	(void)!pwrite(fd, &any, sizeof(any), bar + what);
}

/* Ends the use of all interrupts of an index. */
static int disable_irqs(int fd, uint32_t index)
{
	struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_NONE,
		.index = index,
	};

	return result(ioctl(fd, VFIO_DEVICE_SET_IRQS, &set));
}

static void try_intx(int fd, const char *bdf, uint64_t bar, struct intx *intx)
{
	int event = eventfd(0, EFD_NONBLOCK), config;
	char path[128];

	intx->on = on_event(fd, VFIO_PCI_INTX_IRQ_INDEX, event);
	if (!intx->on) {
		pull(fd, bar, RAISE_INTX);
		intx->came = count_of(event);
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
		config = open(path, O_RDONLY);
		(void)!pread(config, &intx->command, sizeof(intx->command), PCI_COMMAND);
		close(config);
		pull(fd, bar, LOWER_INTX);
		pull(fd, bar, RAISE_INTX);
		intx->again = count_of(event);
		intx->unmasked = set_irq(fd, VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_DATA_NONE,
					 VFIO_PCI_INTX_IRQ_INDEX, 0);
		intx->then = count_of(event);
		pull(fd, bar, LOWER_INTX);
		intx->off = disable_irqs(fd, VFIO_PCI_INTX_IRQ_INDEX);
	}
	close(event);
}

static void try_msi(int fd, uint64_t config, uint64_t bar, struct answers *answers)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	int event = eventfd(0, EFD_NONBLOCK);

	/* An MSI is a write to memory, which needs bus mastering. */
	(void)!pwrite(fd, &command, sizeof(command), config + PCI_COMMAND);
	answers->msi = on_event(fd, VFIO_PCI_MSI_IRQ_INDEX, event);
	if (!answers->msi) {
		pull(fd, bar, FIRE_MSI);
		answers->msi_came = count_of(event);
		disable_irqs(fd, VFIO_PCI_MSI_IRQ_INDEX);
	}
	close(event);
}

static void look_at_regions(int fd, struct answers *answers)
{
	uint32_t i;

	for (i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		struct vfio_region_info *info = &answers->regions[i].info;
		void *memory;

		info->argsz = sizeof(*info);
		info->index = i;
		answers->regions[i].ret = result(ioctl(fd, VFIO_DEVICE_GET_REGION_INFO, info));
		if (i > VFIO_PCI_BAR5_REGION_INDEX || !info->size)
			continue;
		answers->regions[i].read = result(pread(fd, &answers->regions[i].first, 8,
							info->offset + info->size - 8));
		memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, info->offset);
		answers->regions[i].mmapped = memory == MAP_FAILED ? -errno : 0;
		if (memory != MAP_FAILED)
			munmap(memory, 4096);
	}
}

/* Collects all answers that are compared, with the card under the driver. */
static void ask(const struct card *card, const char *driver, struct answers *answers)
{
	struct vfio_pci_hot_reset_info hot = { .argsz = sizeof(hot) };
	struct device device = DEVICE_CLOSED;
	uint64_t config, bar;
	uint32_t i;
	int fd;

	memset(answers, 0, sizeof(*answers));
	answers->bound = bind_to(card->bdf, driver);
	if (answers->bound)
		return;
	answers->opened = open_device(&device, card->bdf, any_path(), NULL);
	if (answers->opened)
		return;
	fd = device.fd;
	answers->info.argsz = sizeof(answers->info);
	ioctl(fd, VFIO_DEVICE_GET_INFO, &answers->info);
	look_at_regions(fd, answers);
	config = answers->regions[VFIO_PCI_CONFIG_REGION_INDEX].info.offset;
	bar = answers->regions[0].info.offset;
	for (i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		answers->irqs[i].info.argsz = sizeof(answers->irqs[i].info);
		answers->irqs[i].info.index = i;
		answers->irqs[i].ret = result(ioctl(fd, VFIO_DEVICE_GET_IRQ_INFO,
						    &answers->irqs[i].info));
	}
	answers->config_size = pread(fd, answers->config, sizeof(answers->config), config);
	try_intx(fd, card->bdf, bar, &answers->intx);
	try_msi(fd, config, bar, answers);
	answers->reset = result(ioctl(fd, VFIO_DEVICE_RESET));
	answers->hot_reset_info = result(ioctl(fd, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &hot));
	close_device(&device);
	answers->reopened = try_open(card->bdf, any_path(), NULL);
}

/* Collects the answers when the card vanishes, or has vanished. */
static void ask_after(const struct card *card, const char *driver, struct answers *answers)
{
	struct vfio_region_info info = { .argsz = sizeof(info) };
	struct device device = DEVICE_CLOSED;
	uint32_t any = 1;

	memset(answers, 0, sizeof(*answers));
	answers->bound = bind_to(card->bdf, driver);
	answers->opened = open_device(&device, card->bdf, any_path(), NULL);
	if (answers->bound || answers->opened)
		return;
	ioctl(device.fd, VFIO_DEVICE_GET_REGION_INFO, &info);
	answers->written = pwrite(device.fd, &any, sizeof(any), info.offset + VANISH);
	answers->regions[0].read = result(pread(device.fd, &answers->bar_after, 8, info.offset));
	info.index = VFIO_PCI_CONFIG_REGION_INDEX;
	ioctl(device.fd, VFIO_DEVICE_GET_REGION_INFO, &info);
	answers->config_after = result(pread(device.fd, &answers->ids_after, 4, info.offset));
	answers->reset_after = result(ioctl(device.fd, VFIO_DEVICE_RESET));
	close_device(&device);
	answers->reopened = try_open(card->bdf, any_path(), NULL);
}

static const struct card *card_of(FIXTURE_DATA(cards) * self, unsigned int vendor,
				  unsigned int device)
{
	unsigned int i;

	for (i = 0; i < self->count; i++)
		if (self->cards[i].vendor == vendor && self->cards[i].device == device)
			return &self->cards[i];
	return NULL;
}

TEST_F(cards, every_card_answers_as_with_vfio_pci)
{
	static struct answers c, rust;
	unsigned int n;

	for (n = 0; n < self->count; n++) {
		const struct card *card = &self->cards[n];
		size_t i;

		ask(card, C_DRIVER, &c);
		ask(card, DRIVER, &rust);
		TH_LOG("%04x:%04x: opened %d, flags %#x, INTx %d (%llu, %llu, %llu), reset %d",
		       card->vendor, card->device, c.opened, c.info.flags, c.intx.on,
		       (unsigned long long)c.intx.came, (unsigned long long)c.intx.again,
		       (unsigned long long)c.intx.then, c.reset);
		EXPECT_EQ(is_denylisted(card) ? -EINVAL : 0, c.bound);
		for (i = 0; i < sizeof(c); i++)
			ASSERT_EQ(((uint8_t *)&c)[i], ((uint8_t *)&rust)[i]) {
				TH_LOG("byte %zu", i);
			}
	}
}

/* The answers of a card with this driver; NULL if there is no such card. */
static const struct answers *answers_of(FIXTURE_DATA(cards) * self, unsigned int vendor,
					unsigned int device)
{
	const struct card *card = card_of(self, vendor, device);
	static struct answers answers;

	if (!card)
		return NULL;
	ask(card, DRIVER, &answers);
	return &answers;
}

TEST_F(cards, a_card_without_reset_has_none)
{
	const struct answers *answers = answers_of(self, 0x168c, 0x0030);

	ASSERT_NE(NULL, answers);
	EXPECT_EQ(0, answers->opened);
	EXPECT_FALSE(answers->info.flags & VFIO_DEVICE_FLAGS_RESET);
	EXPECT_EQ(-EINVAL, answers->reset);
}

TEST_F(cards, bars_smaller_than_a_page_are_read)
{
	const struct answers *answers = answers_of(self, 0x1234, 0xca02);

	ASSERT_NE(NULL, answers);
	EXPECT_EQ(0, answers->opened);
	EXPECT_EQ(0x100, answers->regions[0].info.size);
	EXPECT_EQ(8, answers->regions[0].read);
	EXPECT_EQ(0x8877665500000000ull, answers->regions[0].first);
	EXPECT_EQ(0x800, answers->regions[1].info.size);
	EXPECT_EQ(16, answers->regions[4].info.size);
}

TEST_F(cards, interrupts_come_whether_they_can_be_masked_or_not)
{
	static const unsigned int ids[][2] = {
		{ 0x1234, 0xca03 }, { 0x1234, 0xca01 }, { 0x1814, 0x0601 },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ids); i++) {
		const struct answers *answers = answers_of(self, ids[i][0], ids[i][1]);

		ASSERT_NE(NULL, answers);
		EXPECT_EQ(0, answers->intx.on);
		EXPECT_EQ(1, answers->intx.came);
		EXPECT_EQ(0, answers->intx.again);
		EXPECT_EQ(1, answers->intx.then);
		/* Only the first one can be masked in the card. */
		EXPECT_EQ(i == 0, !!(answers->intx.command & PCI_COMMAND_INTX_DISABLE));
	}
}

TEST_F(cards, an_msi_comes)
{
	const struct answers *answers = answers_of(self, 0x1234, 0xca03);

	ASSERT_NE(NULL, answers);
	EXPECT_EQ(0, answers->msi);
	EXPECT_EQ(1, answers->msi_came);
}

TEST_F(cards, an_interrupt_of_no_use_is_hidden)
{
	const struct answers *answers = answers_of(self, 0x8086, 0x1574);

	ASSERT_NE(NULL, answers);
	EXPECT_EQ(0, answers->opened);
	EXPECT_EQ(0, answers->irqs[VFIO_PCI_INTX_IRQ_INDEX].info.count);
	EXPECT_EQ(0, answers->config[PCI_INTERRUPT_PIN]);
	EXPECT_EQ(-EINVAL, answers->intx.on);
}

TEST_F(cards, the_denylist_can_be_disabled)
{
	unsigned int i, n;

	for (n = 0; n < self->count; n++)
		bind_driver(self->cards[n].bdf, NULL);
	for (i = 0; i < 2; i++) {
		ASSERT_EQ(0, remove_module(drivers[i]));
		ASSERT_EQ(0, system(i ? "modprobe vfio_pci_rust disable_denylist=1" :
				       "modprobe vfio-pci disable_denylist=1"));
		for (n = 0; n < self->count; n++) {
			if (!is_denylisted(&self->cards[n]))
				continue;
			EXPECT_EQ(0, bind_to(self->cards[n].bdf, drivers[i]));
			EXPECT_EQ(0, try_open(self->cards[n].bdf, any_path(), NULL));
			bind_driver(self->cards[n].bdf, NULL);
		}
		ASSERT_EQ(0, remove_module(drivers[i]));
	}
}

/*
 * This is the last test, since the card does not come back before QEMU ends. vfio-pci
 * gets the card after this driver.
 */
TEST_F(cards, vanishing_is_as_with_vfio_pci)
{
	const struct card *card = card_of(self, 0x1234, 0xca03);
	static struct answers rust, c;
	uint32_t i;

	ASSERT_NE(NULL, card);
	ask_after(card, DRIVER, &rust);
	EXPECT_EQ(0, rust.opened);
	EXPECT_EQ(4, rust.written);
	EXPECT_EQ(8, rust.regions[0].read);
	EXPECT_EQ(UINT64_MAX, rust.bar_after);
	EXPECT_EQ(4, rust.config_after);
	ask_after(card, DRIVER, &rust);
	ask_after(card, C_DRIVER, &c);
	for (i = 0; i < sizeof(c); i++)
		ASSERT_EQ(((uint8_t *)&c)[i], ((uint8_t *)&rust)[i]) {
			TH_LOG("byte %u", i);
		}
}

TEST_HARNESS_MAIN
