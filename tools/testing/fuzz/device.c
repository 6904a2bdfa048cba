// SPDX-License-Identifier: GPL-2.0-only
/*
 * A libFuzzer target: an input is a list of steps, which are performed on a device
 * of vfio-pci-rust and then on one of vfio-pci. Both give the same answers, except
 * for a SET of the token while a VF is open, and for an opening of the PF, which is
 * already open, with another token. KCOV shows libFuzzer the kernel code that the
 * steps on vfio-pci-rust have reached.
 *
 * It needs two devices with SR-IOV, root, and a kernel with KCOV. `fuzz` builds and
 * runs it.
 *
 * A step is a byte that selects the action, and its arguments:
 *
 *	0  feature	the device (1), flags (4), argsz (1), how many bytes exist (1),
 *			these bytes
 *	1  open by name	PF or VF, and whether the name ends (1), its length (1),
 *			its characters
 *	2  close	which VF (1)
 *	3  open by cdev	whose token (1), flags (4), argsz (1), the token's bytes (16)
 *	4  admit	the number of characters (1), the text for vf_token/admit of
 *			the first VF of vfio-pci-rust
 *
 * An input that ends too early is continued with zeros.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/kcov.h>

#include "lib.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define SIDES		2
#define GROUP_VFS	4		/* descriptors of the VF that is opened by its group */
#define COVER_SIZE	(64 << 10)
#define COUNTERS	(16 << 10)
#define MEMORY		8192		/* for a request or a name, followed by no memory */

static const uint8_t other_token[UUID_LEN] = { 0xab };

/* A driver, and its PF with two VFs. */
struct side {
	const char *driver;
	const char *pf;
	char vf[2][BDF_LEN];
	struct device pf_device;	/* the PF, opened through its group */
	struct device group;		/* of the first VF, without the device */
	int fds[GROUP_VFS];		/* the first VF, opened through its group */
	struct device cdev;		/* the second VF */
	bool cdev_open;
	char *end;			/* of its memory */
};

static struct side sides[SIDES] = { { .driver = DRIVER }, { .driver = C_DRIVER } };
static uint8_t token[UUID_LEN];		/* the PFs' token */
static bool opened;			/* whether this input has opened something */
static unsigned long taints;		/* of the kernel */

/* Counters for libFuzzer, in place of those that a compiler inserts. */
static __attribute__((section("__libfuzzer_extra_counters"))) uint8_t counters[COUNTERS];
static uint64_t *cover;

/* ---- the input ---- */

static const uint8_t *input;
static size_t left;

static void take(void *to, size_t size)
{
	size_t there = size < left ? size : left;

	memset(to, 0, size);
	memcpy(to, input, there);
	input += there;
	left -= there;
}

static uint8_t take_byte(void)
{
	uint8_t byte;

	take(&byte, 1);
	return byte;
}

static uint32_t take_argsz(void)
{
	static const uint32_t huge[] = { 4096, 1u << 31, UINT32_MAX - 8, UINT32_MAX };
	uint8_t byte = take_byte();

	return byte < 256 - ARRAY_SIZE(huge) ? byte : huge[byte - (256 - ARRAY_SIZE(huge))];
}

/* ---- answers and coverage ---- */

__attribute__((noreturn)) static void die(const char *what, int ret)
{
	fprintf(stderr, "device: %s: %s\n", what, strerror(-ret));
	exit(1);
}

static void compare(const char *what, const int answers[SIDES])
{
	if (answers[0] == answers[1])
		return;
	fprintf(stderr, "device: %s: %s says \"%s\", %s \"%s\"\n", what,
		sides[0].driver, strerror(-answers[0]),
		sides[1].driver, strerror(-answers[1]));
	abort();
}

static void begin_coverage(const struct side *side)
{
	if (cover && side == &sides[0])
		__atomic_store_n(&cover[0], 0, __ATOMIC_RELAXED);
}

/* Counts the pairs of places that ran one after the other, independent of their addresses. */
static void end_coverage(const struct side *side)
{
	uint64_t n, i, last = 0;

	if (!cover || side != &sides[0])
		return;
	n = __atomic_load_n(&cover[0], __ATOMIC_RELAXED);
	for (i = 1; i <= n && i < COVER_SIZE; i++) {
		uint64_t mixed = cover[i] * 0x9e3779b97f4a7c15ull >> 32;
		uint8_t *counter = &counters[(mixed ^ last >> 1) % COUNTERS];

		if (*counter < UINT8_MAX)
			(*counter)++;
		last = mixed;
	}
}

static int answer_of(const struct side *side, int fd, unsigned long request, void *argument)
{
	int ret;

	begin_coverage(side);
	ret = ioctl(fd, request, argument);
	if (ret < 0)
		ret = -errno;
	end_coverage(side);
	return ret;
}

/* ---- steps ---- */

static void close_vf(struct side *side, unsigned int which)
{
	if (which < GROUP_VFS) {
		if (side->fds[which] >= 0)
			close(side->fds[which]);
		side->fds[which] = -1;
	} else {
		close_device(&side->cdev);
		side->cdev_open = false;
	}
}

static bool is_vf_open(const struct side *side)
{
	int i;

	for (i = 0; i < GROUP_VFS; i++)
		if (side->fds[i] >= 0)
			return true;
	return side->cdev_open;
}

/* Restores vfio-pci's token. */
static void set_back(struct side *side)
{
	int ret = set_token(side->pf_device.fd, token);

	if (ret)
		die("the token cannot be set back", ret);
}

static bool is_set(uint32_t flags, uint32_t argsz, size_t there)
{
	return flags == (VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PCI_VF_TOKEN) &&
	       argsz >= VFIO_PCI_RUST_TOKEN_ARGSZ && there >= VFIO_PCI_RUST_TOKEN_ARGSZ;
}

/* The descriptor of a VF if it is open, otherwise that of the PF. */
static int whose_fd(const struct side *side, uint8_t whom)
{
	int slot = whom / 4 % GROUP_VFS;

	if (whom % 4 == 1 && side->fds[slot] >= 0)
		return side->fds[slot];
	if (whom % 4 == 2 && side->cdev_open)
		return side->cdev.fd;
	return side->pf_device.fd;
}

static void do_feature(void)
{
	uint8_t whom = take_byte();
	struct vfio_device_feature header = { };
	uint8_t bytes[128];
	int answers[SIDES], i, fds[SIDES];
	size_t there;

	take(&header.flags, sizeof(header.flags));
	header.argsz = take_argsz();
	there = take_byte() % sizeof(bytes);
	take(bytes, there);
	memcpy(bytes, &header, there < sizeof(header) ? there : sizeof(header));

	for (i = 0; i < SIDES; i++)
		fds[i] = whose_fd(&sides[i], whom);
	for (i = 0; i < SIDES; i++) {
		memcpy(sides[i].end - there, bytes, there);
		answers[i] = answer_of(&sides[i], fds[i], VFIO_DEVICE_FEATURE,
				       sides[i].end - there);
		if (answers[i] > 0) {	/* a dma-buf */
			close(answers[i]);
			answers[i] = 0;
		}
	}

	if (is_set(header.flags, header.argsz, there) && fds[0] == sides[0].pf_device.fd) {
		const uint8_t *new = bytes + sizeof(header);

		if (is_vf_open(&sides[0])) {
			if (answers[0] != -EBUSY || answers[1]) {
				fprintf(stderr, "device: SET with an open VF: %s and %s\n",
					strerror(-answers[0]), strerror(-answers[1]));
				abort();
			}
			set_back(&sides[1]);
			return;
		}
		if (!answers[0])
			memcpy(token, new, sizeof(token));
	}
	compare("feature", answers);
	if (memcmp(sides[0].end - there, sides[1].end - there, there)) {
		fprintf(stderr, "device: what comes back from a feature differs\n");
		abort();
	}
}

/*
 * Writes a name from characters of the input: 1 stands for the VF's address, 2 for the
 * token and 3 for another one as text, 4 for many blanks. Returns the length without the
 * terminating zero.
 */
static size_t write_name(char *to, size_t size, const char *vf, const uint8_t *letters,
			 size_t count)
{
	char text[128];
	size_t len = 0, i, n;

	for (i = 0; i < count; i++) {
		switch (letters[i]) {
		case 1:
			snprintf(text, sizeof(text), "%s", vf);
			break;
		case 2:
		case 3:
			device_name(text, "", letters[i] == 2 ? token : other_token);
			memmove(text, text + strlen(" vf_token="), UUID_LEN * 2 + 5);
			break;
		case 4:
			snprintf(text, sizeof(text), "%120s", "");
			break;
		default:
			text[0] = letters[i];
			text[1] = 0;
		}
		/* A zero is a character like others. */
		n = letters[i] ? strlen(text) : 1;
		if (len + n >= size)
			break;
		memcpy(to + len, text, n);
		len += n;
	}
	to[len] = 0;
	return len;
}

/* Opens the first VF with that token, and closes it. */
static int try_vf(const struct side *side, const uint8_t *with)
{
	char name[128];
	int fd;

	device_name(name, side->vf[0], with);
	fd = answer_of(side, side->group.group, VFIO_GROUP_GET_DEVICE_FD, name);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

/* The PF, which is open already, was opened by name, and no VF is open. */
static void check_token(int answers[SIDES])
{
	int i;

	/* With another token, which vfio-pci accepts. */
	if (answers[0] == -EACCES && !answers[1] && try_vf(&sides[1], token) == -EACCES) {
		set_back(&sides[1]);
		answers[1] = answers[0];
	}
	for (i = 0; i < SIDES; i++) {
		if (!try_vf(&sides[i], token))
			continue;
		fprintf(stderr, "device: %s: the token has changed\n", sides[i].driver);
		abort();
	}
}

static void do_name(void)
{
	uint8_t how = take_byte();
	bool ends = how & 1, is_pf = how & 2;
	uint8_t letters[256];
	size_t count = take_byte();
	int answers[SIDES], fds[SIDES], slot = 0, i;
	char name[MEMORY];

	take(letters, count);
	while (slot < GROUP_VFS - 1 && sides[0].fds[slot] >= 0)
		slot++;
	for (i = 0; i < SIDES; i++) {
		struct side *side = &sides[i];
		size_t len;

		if (!is_pf)
			close_vf(side, slot);
		len = write_name(name, sizeof(name), is_pf ? side->pf : side->vf[0],
				 letters, count) + ends;
		memcpy(side->end - len, name, len);
		fds[i] = answer_of(side, is_pf ? side->pf_device.group : side->group.group,
				   VFIO_GROUP_GET_DEVICE_FD, side->end - len);
		answers[i] = fds[i] < 0 ? fds[i] : 0;
		opened |= !answers[i];
		if (!is_pf)
			side->fds[slot] = fds[i] < 0 ? -1 : fds[i];
		else if (fds[i] >= 0)
			close(fds[i]);
	}
	if (is_pf && !is_vf_open(&sides[0]))
		check_token(answers);
	compare(is_pf ? "open the PF by name" : "open a VF by name", answers);
}

/* The token of the PFs, or another one. */
static void take_token(uint8_t whose, uint8_t bytes[UUID_LEN])
{
	take(bytes, UUID_LEN);
	if (whose & 1)
		memcpy(bytes, token, UUID_LEN);
}

static void do_cdev(void)
{
	uint8_t whose = take_byte(), bytes[UUID_LEN];
	/* The kernel checks that the bytes that a longer argsz covers are zero. */
	static struct {
		struct vfio_device_bind_iommufd bind;
		uint8_t behind[4096];
	} request;
	struct vfio_device_bind_iommufd bind = {};
	int answers[SIDES], i;

	take(&bind.flags, sizeof(bind.flags));
	bind.argsz = take_argsz();
	take_token(whose, bytes);
	for (i = 0; i < SIDES; i++) {
		struct side *side = &sides[i];

		if (side->cdev.fd < 0) {
			int ret = prepare_device(&side->cdev, side->vf[1], PATH_CDEV);

			if (ret)
				die("a VF's cdev does not open", ret);
		}
		memcpy(side->end - UUID_LEN, bytes, UUID_LEN);
		/* Also from memory that is not mapped, or only in part. */
		bind.token_uuid_ptr = (uintptr_t)side->end - (whose & 2 ? UUID_LEN - 1 : UUID_LEN);
		bind.iommufd = whose & 4 ? -1 : side->cdev.iommu;
		request.bind = bind;
		answers[i] = answer_of(side, side->cdev.fd, VFIO_DEVICE_BIND_IOMMUFD, &request);
		side->cdev_open |= !answers[i];
		opened |= !answers[i];
	}
	compare("open by cdev", answers);
}

static bool is_uuid(const char *text, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if (i == 8 || i == 13 || i == 18 || i == 23 ? text[i] != '-' : !isxdigit(text[i]))
			return false;
	return len == 36;
}

/* The answer to a text of @len bytes, and whether the VF is admitted afterwards. */
static int admit_answer(const char *text, size_t len, bool *admitted)
{
	char right[37];

	if (!len)
		return 0;
	if (text[len - 1] == '\n')
		len--;
	if (len == 4 && !memcmp(text, "none", 4)) {
		*admitted = false;
		return 0;
	}
	if (!is_uuid(text, len))
		return -EINVAL;
	token_text(right, token);
	if (strncasecmp(text, right, len))
		return -EACCES;
	*admitted = true;
	return 0;
}

/* vfio-pci does not have this, so nothing of it may be left afterwards. */
static void do_admit(void)
{
	struct side *side = &sides[0];
	uint8_t letters[256];
	size_t count = take_byte(), len;
	int fd, answer, expected, i;
	bool admitted = false;
	char text[MEMORY], path[128];

	take(letters, count);
	len = write_name(text, sizeof(text), "", letters, count);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vf_token/admit", side->vf[0]);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		die(path, -errno);
	expected = admit_answer(text, len, &admitted);
	memcpy(side->end - len, text, len);
	begin_coverage(side);
	answer = write(fd, side->end - len, len) < 0 ? -errno : 0;
	end_coverage(side);
	/* Slow steps are performed only once. */
	for (i = 0; i < 2 && answer == expected && (i || admitted); i++) {
		answer = try_vf(side, NULL);
		expected = admitted ? 0 : -EACCES;
		if (admitted && pwrite(fd, "none", 4, 0) != 4)
			die("an admission cannot be withdrawn", -errno);
		admitted = false;
	}
	close(fd);
	if (answer != expected) {
		fprintf(stderr, "device: admission: \"%s\" in the place of \"%s\"\n",
			strerror(-answer), strerror(-expected));
		abort();
	}
}

/* Brings the device back to its initial state. */
static void reset(void)
{
	static unsigned int openings;
	int answers[SIDES], i, j;

	for (i = 0; i < SIDES; i++) {
		struct side *side = &sides[i];

		for (j = 0; j <= GROUP_VFS; j++)
			close_vf(side, j);
		/* It may be in low power. */
		feature(side->pf_device.fd, VFIO_DEVICE_FEATURE_SET |
			VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0);
		answers[i] = set_token(side->pf_device.fd, token_a);
	}
	compare("SET at the end", answers);
	if (answers[0])
		die("the token cannot be set any more", answers[0]);
	memcpy(token, token_a, UUID_LEN);

	/* This takes much longer than everything else, so it is not always done. */
	if (!opened || ++openings % 8)
		return;
	for (i = 0; i < SIDES; i++) {
		answers[i] = try_vf(&sides[i], token_a);
		if (!answers[i])
			answers[i] = try_open(sides[i].vf[1], PATH_CDEV, token_a);
	}
	compare("open at the end", answers);
	if (answers[0])
		die("VFs cannot be opened any more", answers[0]);
}

/* ---- */

/* The library can restore the devices only when they are closed. */
static void close_all(void)
{
	int i, j;

	for (i = 0; i < SIDES; i++) {
		for (j = 0; j <= GROUP_VFS; j++)
			close_vf(&sides[i], j);
		close_device(&sides[i].group);
		close_device(&sides[i].pf_device);
	}
	restore_device(sides[1].pf);
}

static void start_side(struct side *side)
{
	int i;

	side->pf_device = side->group = side->cdev = (struct device)DEVICE_CLOSED;
	for (i = 0; i < GROUP_VFS; i++)
		side->fds[i] = -1;
}

static int setup_side(struct side *side)
{
	int ret, i;
	char *memory;

	memory = mmap(NULL, MEMORY + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		      -1, 0);
	if (memory == MAP_FAILED || mprotect(memory + MEMORY, 4096, PROT_NONE))
		return -errno;
	side->end = memory + MEMORY;

	ret = ensure_pf(side->pf, side->driver, 2);
	for (i = 0; i < 2 && !ret; i++) {
		ret = vf_bdf(side->pf, i, side->vf[i]);
		/* A reset takes a tenth of a second. */
		if (!ret)
			write_sysfs("\n", "/sys/bus/pci/devices/%s/reset_method", side->vf[i]);
	}
	if (!ret)
		ret = open_device(&side->pf_device, side->pf, PATH_GROUP, NULL);
	if (!ret)
		ret = prepare_device(&side->group, side->vf[0], PATH_GROUP);
	return ret;
}

static void start_coverage(void)
{
	int fd = open("/sys/kernel/debug/kcov", O_RDWR);

	if (fd < 0 || ioctl(fd, KCOV_INIT_TRACE, COVER_SIZE))
		die("the kernel has no KCOV", -errno);
	cover = mmap(NULL, COVER_SIZE * sizeof(*cover), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (cover == MAP_FAILED || ioctl(fd, KCOV_ENABLE, KCOV_TRACE_PC))
		die("KCOV", -errno);
}

/* The taint flags of the kernel, which show a warning, a report of KASAN and others. */
static unsigned long read_taints(void)
{
	FILE *file = fopen("/proc/sys/kernel/tainted", "r");
	unsigned long ret = 0;

	if (!file || fscanf(file, "%lu", &ret) != 1)
		die("/proc/sys/kernel/tainted", -errno);
	fclose(file);
	return ret;
}

/* Saves the input, in case the kernel crashes on it. */
static void write_last(const uint8_t *data, size_t size)
{
	const char *path = getenv("FUZZ_LAST");
	static int fd = -1;

	if (fd < 0 && path)
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd >= 0 && (ftruncate(fd, size) || pwrite(fd, data, size, 0) < 0))
		die(path, -errno);
}

/* Called at the first input: when libFuzzer merges, only the processes that it starts get one. */
static void setup(void)
{
	const char *problem = setup_pf(&sides[0].pf);
	int ret = 0, i;

	if (!problem)
		problem = setup_second_pf(sides[0].pf, &sides[1].pf);
	if (!problem)
		problem = setup_c_driver();
	if (problem) {
		fprintf(stderr, "device: %s\n", problem);
		exit(1);
	}
	for (i = 0; i < SIDES; i++)
		start_side(&sides[i]);
	atexit(close_all);
	for (i = 0; i < SIDES && !ret; i++)
		ret = setup_side(&sides[i]);
	if (ret)
		die("the devices cannot be prepared", ret);
	reset();
	start_coverage();
	taints = read_taints();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool ready;

	if (!ready)
		setup();
	ready = true;
	write_last(data, size);
	opened = false;
	input = data;
	left = size;
	while (left) {
		switch (take_byte() % 5) {
		case 0:
			do_feature();
			break;
		case 1:
			do_name();
			break;
		case 2:
			{
				unsigned int which = take_byte() % (GROUP_VFS + 1);

				close_vf(&sides[0], which);
				close_vf(&sides[1], which);
			}
			break;
		case 3:
			do_cdev();
			break;
		case 4:
			do_admit();
			break;
		}
	}
	reset();
	if (read_taints() != taints) {
		fprintf(stderr, "device: the kernel has reported something, see its log\n");
		abort();
	}
	return 0;
}
