/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the selftests of vfio-pci-rust share: PCI devices in sysfs, the two ways
 * to open a VFIO device, and VFIO_DEVICE_FEATURE. When a test program ends, the
 * device of setup_pf() has no VFs and goes to whatever driver wants it.
 *
 * Functions that return int return 0 or a negative errno, if not said otherwise.
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

#ifndef NO_KERNEL_TREE	/* then __printf is defined on the command line */
#include "../kselftest.h"
#endif

/*
 * The harness gives a test 30 seconds. That is too little where an emulated kernel
 * looks after all of its memory and locks, beside other work.
 */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	300

#define DRIVER		VFIO_PCI_RUST_DRIVER_NAME
#define C_DRIVER	"vfio-pci"
#define BDF_LEN		13	/* "0000:01:10.0" with its end */
#define NSEC_PER_SEC	1000000000ll
#define UUID_LEN	VFIO_PCI_RUST_TOKEN_SIZE

/* How a program opens a VFIO device. */
enum path {
	PATH_GROUP,	/* /dev/vfio/GROUP and a container */
	PATH_CDEV,	/* /dev/vfio/devices/vfioN and an iommufd */
	PATH_COMPAT,	/* /dev/vfio/GROUP and an iommufd as its container */
};

/* An open device, or what is left of the attempt. */
struct device {
	int fd;		/* the device */
	int iommu;	/* the container or the iommufd */
	int group;	/* the group, -1 for a cdev */
};

#define DEVICE_CLOSED	{ .fd = -1, .iommu = -1, .group = -1 }

extern const uint8_t token_a[UUID_LEN];
extern const uint8_t token_b[UUID_LEN];

/*
 * What fixtures start with. Each returns NULL, or why the tests cannot run here.
 */

/* Loads our driver, and what opening a device takes. */
const char *setup_modules(void);

/* The same, and looks whether the kernel has this way to open a device. */
const char *setup_path(enum path path);

/*
 * The same, and finds the SR-IOV capable device to test with, which is
 * $VFIO_PCI_RUST_PF, or the first one there is.
 */
const char *setup_pf(const char **pf);

/* Finds another SR-IOV capable device. Who uses it calls restore_device(). */
const char *setup_second_pf(const char *pf, const char **second);

/* Takes the device from a VFIO driver, and gives it to whatever driver wants it. */
void restore_device(const char *bdf);

/* Whether the device is capable of SR-IOV. */
bool is_pf(const char *bdf);

/*
 * Finds a device without SR-IOV that no program needs, which is $VFIO_PCI_RUST_PLAIN, or the
 * first NVMe.
 */
const char *setup_plain(const char **bdf);

/* Finds a VGA device, which is taken from its driver. */
const char *setup_vga(const char **bdf);

/* Gets the kernel ready for arm_fault(). */
const char *setup_faults(void);

/* Opens the file by which a thread is told to fail. */
int open_fail_nth(void);

/* Lets the @n-th allocation or copy from or to user space from now on fail, for this thread. */
void arm_fault(int fail_nth, int n);

/*
 * Ends that; returns how many were still to come, 0 if it came to the failure. Reading and
 * writing are copies that count as well: if one fails, the failure was still to come.
 */
int disarm_fault(int fail_nth);

/* Loads vfio-pci. */
const char *setup_c_driver(void);

/* The name of a driver's module, as /sys/module has it. */
const char *module_of(const char *driver);

/* Removes a driver's module, if nobody uses it. */
int remove_module(const char *driver);

/* Whether a driver is there as a module. */
bool is_loaded(const char *driver);

/* Opens the file of a driver's module; returns the descriptor. */
int open_module(const char *driver);

/* Whether our driver, which is there, is a part of the kernel's image. */
bool is_builtin(void);

/* A number from the environment. */
long env_number(const char *name, long otherwise);

/* Puts the address of the VF with this index into @bdf. */
int vf_bdf(const char *pf, int index, char bdf[BDF_LEN]);

/* Binds a device to a driver by driver_override; NULL only unbinds it. */
int bind_driver(const char *bdf, const char *driver);

/* Whether the device is bound to the driver. */
bool is_bound(const char *bdf, const char *driver);

/*
 * Brings a PF into the state that tests start from: bound to @driver, which is
 * DRIVER or C_DRIVER, with @count VFs. What is right already stays, since SR-IOV
 * takes its time.
 */
int ensure_pf(const char *pf, const char *driver, int count);

/* Whether the device can be opened: not any more once it is being unbound. */
bool is_registered(const char *bdf);

int set_numvfs(const char *pf, int count);
int set_parameter(const char *driver, const char *name, const char *value);
int set_enable_sriov(const char *driver, bool on);

/* Writes @text to /sys/bus/pci/@file, with BDFs and such filled in by printf. */
__printf(2, 3) int write_sysfs(const char *text, const char *path_format, ...);

/* Reads a file below /sys, without the newline. Returns its length or -errno. */
__printf(3, 4) int read_sysfs(char *text, size_t size, const char *path_format, ...);

/* The file of a device's group in /dev. */
int group_node(const char *bdf, char path[PATH_MAX]);

/* A token as text: 36 characters and their end. */
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
 * Opening a device takes two steps: all that leads to it, and the ioctl that
 * presents the token, if @token is not NULL, and opens.
 */
int prepare_device(struct device *device, const char *bdf, enum path path);
int present_token(struct device *device, const char *bdf, enum path path,
		  const uint8_t *token);

/* The same at once. */
int open_device(struct device *device, const char *bdf, enum path path,
		const uint8_t *token);

/* Opens through the group, with the name as it is given. */
int open_named(struct device *device, const char *bdf, const char *name);

void close_device(struct device *device);

/* The cdev where the kernel has that, which takes an iommufd, else the group. */
enum path any_path(void);

/* Opens and closes again. */
int try_open(const char *bdf, enum path path, const uint8_t *token);

/*
 * Opens a PF, once it is as ensure_pf() makes it, and sets token_a: what most tests
 * of the token start from.
 */
int start_pf(struct device *device, const char *pf, const char *driver, int count,
	     enum path path);

/* VFIO_DEVICE_SET_IRQS for the first interrupt of an index. */
int set_irq(int fd, uint32_t flags, uint32_t index, int event);

/* Lets the interrupt signal an eventfd. */
int on_event(int fd, uint32_t index, int event);

/*
 * VFIO_DEVICE_FEATURE with @size bytes of data at @data behind the header;
 * argsz is 8 + @size.
 */
int feature(int fd, uint32_t flags, const void *data, uint32_t size);
int set_token(int fd, const uint8_t *token);

/* Nanoseconds on a clock. */
int64_t now(clockid_t clock);

/* The last of the processors that this program may run on. */
int last_processor(void);

/*
 * A thread on that processor, which stops whatever is less urgent than its
 * real-time priority wherever that is, be it in the kernel.
 */
int start_urgent(pthread_t *thread, int priority, int processor,
		 void *(*run)(void *argument), void *argument);

/* Acts on a device in a thread of its own, since that waits for users. */
struct action {
	int (*act)(const char *bdf);
	const char *bdf;
	pthread_t thread;
	int result;
};

int start_action(struct action *action);
bool has_ended(struct action *action);

/* Waits for its end. */
int result_of(struct action *action);

/* A descriptor of the kernel log that starts at its end. */
int open_log(void);

/* Whether a line that has come since contains all of @words (ends with NULL). */
bool log_has(int fd, const char *const *words);

#endif /* SELFTEST_VFIO_PCI_RUST_LIB_H */
