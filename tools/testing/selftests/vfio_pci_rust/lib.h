/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Code shared by the selftests of vfio-pci-rust: PCI devices in sysfs, the two
 * ways to open a VFIO device, and VFIO_DEVICE_FEATURE. When a test program ends,
 * it removes the VFs of the device of setup_pf() and lets the kernel choose a
 * driver for it.
 *
 * Functions that return int return 0 or a negative errno, unless noted otherwise.
 */
#ifndef SELFTEST_VFIO_PCI_RUST_LIB_H
#define SELFTEST_VFIO_PCI_RUST_LIB_H

#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <linux/vfio.h>
#include <linux/vfio_pci_rust.h>

#ifndef NO_KERNEL_TREE	/* without one, __printf is defined on the command line */
#include "../kselftest.h"
#endif

/*
 * The harness gives a test 30 seconds. That is too little for an emulated kernel
 * that checks its memory and locks, on a busy host.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	300

#define DRIVER		VFIO_PCI_RUST_DRIVER_NAME
#define C_DRIVER	"vfio-pci"
#define BDF_LEN		13	/* "0000:01:10.0" with the terminating zero */
#define NSEC_PER_SEC	1000000000ll
#define UUID_LEN	VFIO_PCI_RUST_TOKEN_SIZE

/* How a program opens a VFIO device. */
enum path {
	PATH_GROUP,	/* /dev/vfio/GROUP and a container */
	PATH_CDEV,	/* /dev/vfio/devices/vfioN and an iommufd */
	PATH_COMPAT,	/* /dev/vfio/GROUP and an iommufd as its container */
};

/* An open device, or one that is being opened. */
struct device {
	int fd;		/* the device */
	int iommu;	/* the container or the iommufd */
	int group;	/* the group, -1 for a cdev */
};

#define DEVICE_CLOSED	{ .fd = -1, .iommu = -1, .group = -1 }

extern const uint8_t token_a[UUID_LEN];
extern const uint8_t token_b[UUID_LEN];

/*
 * Fixtures start with these functions. Each returns NULL, or why the tests cannot
 * run here.
 */

/* Loads this driver, and the modules that are needed to open a device. */
const char *setup_modules(void);

/* The same, and checks that the kernel has this way to open a device. */
const char *setup_path(enum path path);

/*
 * The same, and finds the SR-IOV capable device to test with, which is
 * $VFIO_PCI_RUST_PF, or the first one there is.
 */
const char *setup_pf(const char **pf);

/* Finds another SR-IOV capable device. The caller restores it with restore_device(). */
const char *setup_second_pf(const char *pf, const char **second);

/* Unbinds the device from a VFIO driver, and lets the kernel choose its driver. */
void restore_device(const char *bdf);

/* Whether the device is capable of SR-IOV. */
bool is_pf(const char *bdf);

/*
 * Finds a device without SR-IOV that no program needs, which is $VFIO_PCI_RUST_PLAIN, or the
 * first NVMe.
 */
const char *setup_plain(const char **bdf);

/* Finds a VGA device. The tests take it from its driver. */
const char *setup_vga(const char **bdf);

/* Prepares the kernel for arm_fault(). */
const char *setup_faults(void);

/* Opens the file that controls the faults of this thread. */
int open_fail_nth(void);

/* Makes the @n-th allocation or copy from or to user space of this thread fail. */
void arm_fault(int fail_nth, int n);

/*
 * Ends that; returns how many were still missing, 0 if one has failed. Reading and writing
 * this file are copies that count as well: if one of them fails, the fault was still to come.
 */
int disarm_fault(int fail_nth);

/* Loads vfio-pci. */
const char *setup_c_driver(void);

/* The name of a driver's module in /sys/module. */
const char *module_of(const char *driver);

/* Removes a driver's module, unless it is in use. */
int remove_module(const char *driver);

/* Whether a driver is loaded as a module. */
bool is_loaded(const char *driver);

/* Opens the file of a driver's module; returns the descriptor. */
int open_module(const char *driver);

/* Whether this driver is built into the kernel, given that it is present. */
bool is_builtin(void);

/* A number from the environment. */
long env_number(const char *name, long otherwise);

/* Whether the environment says that the core has the patches by which vfio-pci keeps its token. */
bool core_keeps_token(void);

/* Puts the address of the VF with this index into @bdf. */
int vf_bdf(const char *pf, int index, char bdf[BDF_LEN]);

/* Binds a device to a driver by driver_override; NULL only unbinds it. */
int bind_driver(const char *bdf, const char *driver);

/* Whether the device is bound to the driver. */
bool is_bound(const char *bdf, const char *driver);

/*
 * Brings a PF into the state that tests start from: bound to @driver, which is
 * DRIVER or C_DRIVER, with @count VFs. Changes only what differs, since enabling
 * SR-IOV is slow.
 */
int ensure_pf(const char *pf, const char *driver, int count);

/* Whether the device can be opened, which ends when it is being unbound. */
bool is_registered(const char *bdf);

int set_numvfs(const char *pf, int count);

/*
 * For tests that open or reset a VF and its PF at the same time. A VF cannot be reset by
 * FLR while its PF is being reset. Linux 7.3 then resets the slot, and with it the PF,
 * whose BARs nobody restores: pciehp's slot includes the VFs.
 */
void reset_vfs_by_flr_alone(const char *pf);

int set_parameter(const char *driver, const char *name, const char *value);
int set_enable_sriov(const char *driver, bool on);

/* Writes @text to a file, whose path is formatted as by printf(). */
__printf(2, 3) int write_sysfs(const char *text, const char *path_format, ...);

/* Reads a file without the newline at its end. Returns the length or -errno. */
__printf(3, 4) int read_sysfs(char *text, size_t size, const char *path_format, ...);

/* The path of a device's group in /dev. */
int group_node(const char *bdf, char path[PATH_MAX]);

/* A token as text: 36 characters and the terminating zero. */
void token_text(char text[37], const uint8_t *token);

/*
 * Writes a token to vf_token/admit of a PF or VF, so that it can be opened without
 * one; NULL withdraws that.
 */
int admit(const char *bdf, const uint8_t *token);

/* What vf_token/NAME of the device shows, as a number; or a negative errno. */
long token_file(const char *bdf, const char *name);

/* The name by which a device is opened through its group. */
void device_name(char name[128], const char *bdf, const uint8_t *token);

/*
 * Opening a device takes two steps: the preparation, and the ioctl that presents
 * the token, unless @token is NULL, and opens the device.
 */
int prepare_device(struct device *device, const char *bdf, enum path path);
int present_token(struct device *device, const char *bdf, enum path path,
		  const uint8_t *token);

/* Both steps. */
int open_device(struct device *device, const char *bdf, enum path path,
		const uint8_t *token);

/* Opens through the group, with @name unchanged. */
int open_named(struct device *device, const char *bdf, const char *name);

void close_device(struct device *device);

/* PATH_CDEV if the kernel has iommufd, which this path requires; otherwise PATH_GROUP. */
enum path any_path(void);

/* Opens the device and closes it again. */
int try_open(const char *bdf, enum path path, const uint8_t *token);

/*
 * Prepares a PF with ensure_pf(), opens it and sets token_a. Most tests of the token
 * start from this.
 */
int start_pf(struct device *device, const char *pf, const char *driver, int count,
	     enum path path);

/* VFIO_DEVICE_SET_IRQS for the first interrupt of an index. */
int set_irq(int fd, uint32_t flags, uint32_t index, int event);

/* Makes the interrupt signal an eventfd. */
int on_event(int fd, uint32_t index, int event);

/*
 * VFIO_DEVICE_FEATURE with @size bytes of data at @data behind the header;
 * argsz is 8 + @size.
 */
int feature(int fd, uint32_t flags, const void *data, uint32_t size);
int set_token(int fd, const uint8_t *token);

/* The time of a clock in nanoseconds. */
int64_t now(clockid_t clock);

/* The last of the processors that this program may run on. */
int last_processor(void);

/*
 * Starts a thread on that processor with a real-time priority. It preempts threads
 * of lower priority at any point, even in the kernel.
 */
int start_urgent(pthread_t *thread, int priority, int processor,
		 void *(*run)(void *argument), void *argument);

/* An action on a device, in a thread of its own because it waits for users. */
struct action {
	int (*act)(const char *bdf);
	const char *bdf;
	pthread_t thread;
	int result;
};

int start_action(struct action *action);
bool has_ended(struct action *action);

/* Waits for its end, and returns its result. */
int result_of(struct action *action);

/* Opens the kernel log at its end; returns the descriptor. */
int open_log(void);

/* Whether a line logged since then contains all of @words (NULL-terminated). */
bool log_has(int fd, const char *const *words);

#endif /* SELFTEST_VFIO_PCI_RUST_LIB_H */
