// SPDX-License-Identifier: GPL-2.0-only
/*
 * Measures operations of vfio-pci and of vfio-pci-rust on the same SR-IOV card,
 * in turns. Prints one JSON object per line: an operation, a driver, a round, and
 * the time of one operation in nanoseconds; with QEMU's -icount a nanosecond is
 * an instruction.
 *
 * `bench` builds and starts it; see Documentation/performance.rst.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "lib.h"

#define UNKNOWN_INDEX	200
#define RESERVED_INDEX	0xffff
#define MODULE_OPTIONS	"enable_sriov=1"
#define COMPRESSED	4	/* a flag of finit_module() */

/* More messages than a rate limit lets through. */
#define REFUSALS	30

static const char *const drivers[] = { C_DRIVER, DRIVER };

static const char *pf;
static int rounds = 3;
static int calls = 500;		/* ioctls in a batch */
static int batches = 21;	/* batches of which the least counts */

/* The state to restore at the end. */
static bool was_loaded[2];
static char enable_sriov[2][8];
static struct rlimit open_files;

static volatile sig_atomic_t stopped;

/* ---- errors and the end ------------------------------------------------------------------ */

#define die(...)						\
	do {							\
		fprintf(stderr, "vfio-bench: " __VA_ARGS__);	\
		fputc('\n', stderr);				\
		exit(1);					\
	} while (0)

/* Ends the program between two operations, so that everything can be restored. */
static void check_stop(void)
{
	if (stopped) {
		fprintf(stderr, "vfio-bench: interrupted\n");
		exit(128 + stopped);
	}
}

static void on_signal(int number)
{
	stopped = number;
}

/* Checks the answer of an ioctl. */
static void expect(const char *operation, int wanted, int got)
{
	if (got != wanted)
		die("%s: expected %s, got %s", operation,
		    wanted ? strerrorname_np(-wanted) : "0",
		    got ? strerrorname_np(-got) : "0");
}

/*
 * Runs first: while a VF is open SR-IOV cannot be disabled, and the functions below
 * need file descriptors.
 */
static void close_all(void)
{
	setrlimit(RLIMIT_NOFILE, &open_files);
	close_range(STDERR_FILENO + 1, ~0U, 0);
}

/* Runs after lib.c has restored the PF, if that was bound. */
static void restore(void)
{
	int i;

	if (pf)
		write_sysfs(pf, "/sys/bus/pci/drivers_probe");
	for (i = 0; i < 2; i++) {
		if (!was_loaded[i])
			(void)!system(i ? "modprobe -q -r vfio_pci_rust" :
					  "modprobe -q -r vfio_pci");
		else if (enable_sriov[i][0])
			write_sysfs(enable_sriov[i], "/sys/module/%s/parameters/enable_sriov",
				    module_of(drivers[i]));
	}
}

/* Runs before the constructor of lib.c, so that its own part runs after. */
static __attribute__((constructor(101))) void restore_at_exit(void)
{
	int i;

	for (i = 0; i < 2; i++) {
		was_loaded[i] = is_loaded(drivers[i]);
		if (read_sysfs(enable_sriov[i], sizeof(enable_sriov[i]),
			       "/sys/module/%s/parameters/enable_sriov",
			       module_of(drivers[i])) < 0)
			enable_sriov[i][0] = 0;
	}
	atexit(restore);
}

/* ---- measuring --------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int count)
{
	qsort(values, count, sizeof(*values), compare);
	return count % 2 ? values[count / 2] :
			   (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* The number of VFs, if operations are compared by it. */
static int scale;

static void report(const char *operation, int driver, int round, double value)
{
	printf("{\"operation\": \"%s\", \"driver\": \"%s\", \"round\": %d, \"value\": %.2f, \"vfs\": %d}\n",
	       operation, drivers[driver], round, value, scale);
	fflush(stdout);
}

/*
 * Ioctls are measured in batches, with the monotonic clock. The least of the batches
 * counts: the others include timer interrupts, or the filling of caches, such as
 * those of the slab for what a call allocates.
 */
#define MEASURE(operation, driver, round, call)				\
	do {								\
		double least_ = 0;					\
		int b_, i_;						\
									\
		check_stop();						\
		for (b_ = 0; b_ < batches; b_++) {			\
			int64_t start_ = now(CLOCK_MONOTONIC);		\
			double value_;					\
									\
			for (i_ = 0; i_ < calls; i_++) {		\
				call;					\
			}						\
			value_ = (now(CLOCK_MONOTONIC) - start_) / (double)calls; \
			if (!b_ || value_ < least_)			\
				least_ = value_;			\
		}							\
		report(operation, driver, round, least_);		\
	} while (0)

/*
 * Operations that take milliseconds also sleep and wait for hardware, so only the time
 * counts in which this thread runs, and the median of a few repetitions.
 */
#define CPU_TIME	CLOCK_THREAD_CPUTIME_ID
#define REPETITIONS	5

/* Repetition -1 does not count, as the first one fills caches. */
static void keep(double values[REPETITIONS], int repetition, int64_t value)
{
	if (repetition >= 0)
		values[repetition] = value;
}

/* ---- prepared VFIO_DEVICE_FEATURE calls ---------------------------------------------------- */

/* A struct vfio_device_feature with a token. */
struct request {
	uint32_t argsz;
	uint32_t flags;
	uint8_t data[UUID_LEN];
};

static struct request request(uint32_t flags, const uint8_t *token)
{
	struct request r = {
		.argsz = sizeof(r),
		.flags = flags,
	};

	if (token)
		memcpy(r.data, token, UUID_LEN);
	return r;
}

static int answer(int fd, struct request *r)
{
	return ioctl(fd, VFIO_DEVICE_FEATURE, r) ? -errno : 0;
}

/* Measures one kind of request, which always has the same answer. */
static void measure_feature(const char *operation, int driver, int round, int fd,
			    uint32_t flags, int wanted)
{
	struct request r = request(flags, NULL);

	expect(operation, wanted, answer(fd, &r));
	MEASURE(operation, driver, round, ioctl(fd, VFIO_DEVICE_FEATURE, &r));
}

/* ---- operations on an open PF -------------------------------------------------------------- */

#define GET	VFIO_DEVICE_FEATURE_GET
#define SET	VFIO_DEVICE_FEATURE_SET
#define PROBE	VFIO_DEVICE_FEATURE_PROBE
#define TOKEN	VFIO_DEVICE_FEATURE_PCI_VF_TOKEN

static void measure_set(int driver, int round, int fd)
{
	struct request a = request(SET | TOKEN, token_a);
	struct request b = request(SET | TOKEN, token_b);

	expect("set", 0, answer(fd, &a));
	expect("set", 0, answer(fd, &b));
	MEASURE("set", driver, round,
		ioctl(fd, VFIO_DEVICE_FEATURE, i_ % 2 ? &b : &a));
	expect("set_same", 0, answer(fd, &a));
	MEASURE("set_same", driver, round, ioctl(fd, VFIO_DEVICE_FEATURE, &a));
}

static void measure_pf(int driver, int round, int fd)
{
	expect("floor", -ENOTTY, ioctl(fd, _IO(VFIO_TYPE, VFIO_BASE + 99)) ? -errno : 0);
	MEASURE("floor", driver, round, ioctl(fd, _IO(VFIO_TYPE, VFIO_BASE + 99)));

	measure_feature("probe_token", driver, round, fd, PROBE | SET | TOKEN, 0);
	measure_feature("probe_unknown", driver, round, fd, PROBE | UNKNOWN_INDEX, -ENOTTY);
	measure_feature("probe_reserved", driver, round, fd, PROBE | RESERVED_INDEX, -ENOTTY);
	measure_feature("get", driver, round, fd, GET | TOKEN, -EINVAL);
	measure_feature("probe_low_power_entry", driver, round, fd,
			PROBE | SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, 0);
	measure_feature("probe_low_power_wakeup", driver, round, fd,
			PROBE | SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY_WITH_WAKEUP, 0);
	measure_feature("probe_low_power_exit", driver, round, fd,
			PROBE | SET | VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, 0);
	measure_set(driver, round, fd);
}

/* While a VF is open this driver refuses, and logs it; vfio-pci does not. */
static void measure_refused_set(int driver, int round, int fd)
{
	struct request a = request(SET | TOKEN, token_a);
	int i;

	expect("set_refused", driver ? -EBUSY : 0, answer(fd, &a));
	for (i = 0; i < REFUSALS; i++)
		answer(fd, &a);
	MEASURE("set_refused", driver, round, ioctl(fd, VFIO_DEVICE_FEATURE, &a));
}

/* ---- operations on a VF -------------------------------------------------------------------- */

static int open_by_name(const struct device *vf, const char *name)
{
	int fd = ioctl(vf->group, VFIO_GROUP_GET_DEVICE_FD, name);

	return fd < 0 ? -errno : fd;
}

/* Without a free file descriptor, the opening of a device ends right after the check of the token. */
static void forbid_new_files(void)
{
	int first = dup(0);
	struct rlimit none = { .rlim_cur = first, .rlim_max = open_files.rlim_max };

	close(first);
	setrlimit(RLIMIT_NOFILE, &none);
}

static void allow_new_files(void)
{
	setrlimit(RLIMIT_NOFILE, &open_files);
}

/*
 * The check of a token. With the right one the call goes on to a descriptor for the
 * device, which is refused; with a wrong one it ends at the check, and both
 * drivers have exhausted their rate limits for the log.
 */
static void measure_match(int driver, int round, const char *bdf, const struct device *vf)
{
	char right[128], wrong[128];
	int i, got;

	device_name(right, bdf, token_a);
	device_name(wrong, bdf, token_b);

	forbid_new_files();
	got = open_by_name(vf, right);
	if (got == -EMFILE)
		MEASURE("match_right", driver, round,
			ioctl(vf->group, VFIO_GROUP_GET_DEVICE_FD, right));
	allow_new_files();
	expect("match_right", -EMFILE, got);

	for (i = 0; i < REFUSALS; i++)
		expect("match_wrong", -EACCES, open_by_name(vf, wrong));
	MEASURE("match_wrong", driver, round,
		ioctl(vf->group, VFIO_GROUP_GET_DEVICE_FD, wrong));
}

static void measure_open(const char *operation, int driver, int round, const char *bdf,
			 const struct device *vf)
{
	double values[REPETITIONS] = {};
	char name[128];
	int i, fd;

	device_name(name, bdf, token_a);
	for (i = -1; i < REPETITIONS; i++) {
		int64_t start;

		check_stop();
		start = now(CPU_TIME);
		fd = open_by_name(vf, name);
		if (fd >= 0)
			close(fd);
		keep(values, i, now(CPU_TIME) - start);
		expect(operation, 0, fd < 0 ? fd : 0);
	}
	report(operation, driver, round, median(values, REPETITIONS));
}

static void measure_vf(int driver, int round, struct device *pf_device)
{
	struct device vf;
	char bdf[BDF_LEN], name[128];
	int fd;

	expect("address of a VF", 0, vf_bdf(pf, 0, bdf));
	expect("token", 0, set_token(pf_device->fd, token_a));
	expect("group of a VF", 0, prepare_device(&vf, bdf, PATH_GROUP));

	measure_match(driver, round, bdf, &vf);

	device_name(name, bdf, token_a);
	fd = open_by_name(&vf, name);
	expect("open of a VF", 0, fd < 0 ? fd : 0);
	measure_refused_set(driver, round, pf_device->fd);
	close(fd);

	measure_open("open_close_reset", driver, round, bdf, &vf);
	/* The core opens a device even if it cannot be reset. */
	if (write_sysfs("\n", "/sys/bus/pci/devices/%s/reset_method", bdf))
		die("the reset of %s cannot be switched off: the kernel has no reset_method", bdf);
	measure_open("open_close", driver, round, bdf, &vf);
	write_sysfs("default", "/sys/bus/pci/devices/%s/reset_method", bdf);
	close_device(&vf);
}

/* Probe and remove of the last VF, which no program has open. */
static void measure_bind(int driver, int round, int vfs)
{
	double probe[REPETITIONS] = {}, remove[REPETITIONS] = {};
	char bdf[BDF_LEN];
	int i, unbind, bind;

	expect("address of a VF", 0, vf_bdf(pf, vfs - 1, bdf));
	for (i = -1; i < REPETITIONS; i++) {
		int64_t start, middle, end;

		check_stop();
		start = now(CPU_TIME);
		unbind = write_sysfs(bdf, "/sys/bus/pci/drivers/%s/unbind", drivers[driver]);
		middle = now(CPU_TIME);
		bind = write_sysfs(bdf, "/sys/bus/pci/drivers/%s/bind", drivers[driver]);
		end = now(CPU_TIME);
		expect("remove", 0, unbind);
		expect("probe", 0, bind);
		keep(probe, i, end - middle);
		keep(remove, i, middle - start);
	}
	report("probe", driver, round, median(probe, REPETITIONS));
	report("remove", driver, round, median(remove, REPETITIONS));
}

static int total_vfs(void)
{
	char text[16];

	return read_sysfs(text, sizeof(text), "/sys/bus/pci/devices/%s/sriov_totalvfs", pf) > 0 ?
	       atoi(text) : 0;
}

static void measure_sriov(int driver, int round, int vfs)
{
	double values[REPETITIONS] = {};
	int i, ret;

	for (i = -1; i < REPETITIONS; i++) {
		int64_t start;

		check_stop();
		ret = set_numvfs(pf, 0);
		expect("SR-IOV off", 0, ret);
		start = now(CPU_TIME);
		ret = set_numvfs(pf, vfs);
		keep(values, i, now(CPU_TIME) - start);
		expect("SR-IOV on", 0, ret);
	}
	report("sriov_on", driver, round, median(values, REPETITIONS));
}

/* ---- the module ---------------------------------------------------------------------------- */

static bool is_elf(int fd)
{
	char magic[4];

	return pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	       !memcmp(magic, "\177ELF", sizeof(magic));
}

static void measure_load(int driver, int round)
{
	double values[REPETITIONS] = {};
	const char *name = module_of(drivers[driver]);
	int fd = open_module(drivers[driver]), i, ret = 0, flags;

	if (fd < 0) {
		fprintf(stderr, "vfio-bench: %s has no file, so loading it is not measured\n",
			name);
		return;
	}
	flags = is_elf(fd) ? 0 : COMPRESSED;
	for (i = -1; i < REPETITIONS && !ret; i++) {
		int64_t start;

		check_stop();
		if (syscall(SYS_delete_module, name, O_NONBLOCK)) {
			fprintf(stderr, "vfio-bench: %s is in use, so loading it is not measured\n",
				name);
			goto out;
		}
		start = now(CPU_TIME);
		ret = syscall(SYS_finit_module, fd, MODULE_OPTIONS, flags) ? -errno : 0;
		keep(values, i, now(CPU_TIME) - start);
	}
	expect("module_load", 0, ret);
	report("module_load", driver, round, median(values, REPETITIONS));
out:
	close(fd);
}

/* ---- all of it ----------------------------------------------------------------------------- */

static void measure_driver(int driver, int round)
{
	struct device pf_device;
	int vfs = total_vfs();

	if (vfs > 7)
		vfs = 7;
	expect("binding the PF", 0, ensure_pf(pf, drivers[driver], 0));
	measure_sriov(driver, round, vfs);
	measure_bind(driver, round, vfs);

	expect("open of the PF", 0, open_device(&pf_device, pf, any_path(), NULL));
	measure_pf(driver, round, pf_device.fd);
	measure_vf(driver, round, &pf_device);
	close_device(&pf_device);

	expect("SR-IOV off", 0, set_numvfs(pf, 0));
	expect("unbinding the PF", 0, bind_driver(pf, NULL));
	measure_load(driver, round);
}

/* A few operations with one VF, with some, and with the largest number. */
static void measure_scale(int driver, int round)
{
	const int counts[] = { 1, 16, total_vfs() };
	struct device pf_device, vf;
	char bdf[BDF_LEN];
	size_t i;

	expect("binding the PF", 0, ensure_pf(pf, drivers[driver], 0));
	for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		int vfs = counts[i];

		scale = vfs;
		measure_sriov(driver, round, vfs);
		measure_bind(driver, round, vfs);
		expect("open of the PF", 0, open_device(&pf_device, pf, any_path(), NULL));
		measure_set(driver, round, pf_device.fd);
		expect("token", 0, set_token(pf_device.fd, token_a));
		expect("address of a VF", 0, vf_bdf(pf, vfs - 1, bdf));
		expect("group of a VF", 0, prepare_device(&vf, bdf, PATH_GROUP));
		measure_match(driver, round, bdf, &vf);
		close_device(&vf);
		close_device(&pf_device);
	}
	expect("SR-IOV off", 0, set_numvfs(pf, 0));
	expect("unbinding the PF", 0, bind_driver(pf, NULL));
}

static void usage(FILE *where)
{
	fprintf(where,
		"usage: vfio-bench [--pf ADDRESS] [--rounds N] [--calls N] [--short] [--scale]\n"
		"\n"
		"  --pf ADDRESS  the SR-IOV capable device, such as 0000:01:00.0; it is taken from\n"
		"                its driver for the time (default: the first one there is)\n"
		"  --rounds N    how often each driver has its turn (default: 3)\n"
		"  --calls N     how many ioctls are timed at once (default: 500)\n"
		"  --scale       a few operations with 1 and 16 VFs, and as many as there can be\n"
		"  --short       fewer batches: enough where time is deterministic\n");
}

static int number(const char *option, const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (*end || value < 1 || value > 1000000)
		die("%s wants a number from 1, not '%s'", option, text);
	return value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "pf", required_argument, NULL, 'p' },
		{ "rounds", required_argument, NULL, 'r' },
		{ "calls", required_argument, NULL, 'c' },
		{ "short", no_argument, NULL, 's' },
		{ "scale", no_argument, NULL, 'S' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	struct sigaction action = { .sa_handler = on_signal };
	void (*measure)(int driver, int round) = measure_driver;
	const char *problem;
	char text[16];
	int option, round, i;

	while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (option) {
		case 'p':
			setenv("VFIO_PCI_RUST_PF", optarg, 1);
			break;
		case 'r':
			rounds = number("--rounds", optarg);
			break;
		case 'c':
			calls = number("--calls", optarg);
			break;
		case 's':
			batches = 15;
			break;
		case 'S':
			measure = measure_scale;
			break;
		case 'h':
			usage(stdout);
			return 0;
		default:
			usage(stderr);
			return 2;
		}
	}
	if (optind < argc) {
		usage(stderr);
		return 2;
	}

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	getrlimit(RLIMIT_NOFILE, &open_files);
	atexit(close_all);

	problem = setup_pf(&pf);
	if (!problem)
		problem = setup_c_driver();
	if (problem)
		die("%s", problem);
	if (!total_vfs())
		die("%s is not a PCI device with SR-IOV; `lspci -D` lists addresses", pf);

	if (read_sysfs(text, sizeof(text), "/sys/bus/pci/devices/%s/sriov_numvfs", pf) > 0 &&
	    atoi(text)) {
		fprintf(stderr,
			"vfio-bench: %s has VFs: write 0 to sriov_numvfs if nobody uses them\n",
			pf);
		restore();
		_exit(1);	/* lib.c would remove the VFs at exit() */
	}

	for (round = 1; round <= rounds; round++)
		for (i = 0; i < 2; i++)
			measure(i, round);
	return 0;
}
