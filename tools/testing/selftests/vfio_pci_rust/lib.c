// SPDX-License-Identifier: GPL-2.0-only
#ifndef _GNU_SOURCE	/* may be defined on the command line */
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <linux/iommufd.h>

#include "lib.h"

#define PCI "/sys/bus/pci"
#define DEBUGFS "/sys/kernel/debug"

const uint8_t token_a[UUID_LEN] = {
	0x1b, 0x4e, 0x28, 0xba, 0x2f, 0xa1, 0x41, 0xd2,
	0x88, 0x3f, 0x00, 0x16, 0xd3, 0xcc, 0xa4, 0x27
};

/* Differs from token_a only in the last bit. */
const uint8_t token_b[UUID_LEN] = {
	0x1b, 0x4e, 0x28, 0xba, 0x2f, 0xa1, 0x41, 0xd2,
	0x88, 0x3f, 0x00, 0x16, 0xd3, 0xcc, 0xa4, 0x26
};

static int write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int write_sysfs(const char *text, const char *path_format, ...)
{
	char path[PATH_MAX];
	va_list args;

	va_start(args, path_format);
	vsnprintf(path, sizeof(path), path_format, args);
	va_end(args);
	return write_file(path, text);
}

int read_sysfs(char *text, size_t size, const char *path_format, ...)
{
	char path[PATH_MAX];
	va_list args;
	ssize_t len;
	int fd;

	va_start(args, path_format);
	vsnprintf(path, sizeof(path), path_format, args);
	va_end(args);

	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	len = read(fd, text, size - 1);
	close(fd);
	if (len < 0)
		return -errno;
	if (len && text[len - 1] == '\n')
		len--;
	text[len] = 0;
	return len;
}

const char *module_of(const char *driver)
{
	return strcmp(driver, DRIVER) ? "vfio_pci" : "vfio_pci_rust";
}

const char *setup_modules(void)
{
	if (geteuid())
		return "these tests need root";
	/* Only if it is missing, since starting a program is slow on a debug kernel. */
	if (access(PCI "/drivers/" DRIVER, F_OK) && system("modprobe -q vfio_pci_rust"))
		return "there is no module vfio_pci_rust";
	/* These may be built in. */
	if (access("/sys/module/vfio_iommu_type1", F_OK) || access("/dev/iommu", F_OK))
		(void)!system("modprobe -q -a vfio_iommu_type1 iommufd");
	if (access("/dev/vfio/vfio", F_OK))
		return "the kernel has no VFIO containers";
	return NULL;
}

const char *setup_path(enum path path)
{
	const char *problem = setup_modules();

	if (!problem && path != PATH_GROUP && any_path() == PATH_GROUP)
		problem = "the kernel has no iommufd";
	return problem;
}

enum path any_path(void)
{
	return access("/dev/iommu", F_OK) ? PATH_GROUP : PATH_CDEV;
}

int remove_module(const char *driver)
{
	return syscall(SYS_delete_module, module_of(driver), O_NONBLOCK) ? -errno : 0;
}

bool is_loaded(const char *driver)
{
	char state[16];

	return read_sysfs(state, sizeof(state), "/sys/module/%s/initstate",
			  module_of(driver)) > 0;
}

bool is_builtin(void)
{
	return !is_loaded(DRIVER);
}

int open_module(const char *driver)
{
	char command[64], path[PATH_MAX] = {};
	int fd = -ENOENT;
	FILE *modinfo;

	snprintf(command, sizeof(command), "modinfo -n %s", module_of(driver));
	modinfo = popen(command, "r");
	if (modinfo && fgets(path, sizeof(path), modinfo)) {
		path[strcspn(path, "\n")] = 0;
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	}
	if (modinfo)
		pclose(modinfo);
	return fd;
}

const char *setup_faults(void)
{
	if (access("/proc/thread-self/fail-nth", W_OK) ||
	    access(DEBUGFS "/failslab", F_OK) || access(DEBUGFS "/fail_usercopy", F_OK))
		return "the kernel has no fault injection";
	/* Also fail allocations that may wait for memory, and do not log the faults. */
	if (write_sysfs("N", DEBUGFS "/failslab/ignore-gfp-wait") ||
	    write_sysfs("0", DEBUGFS "/failslab/verbose") ||
	    write_sysfs("0", DEBUGFS "/fail_usercopy/verbose"))
		return "fault injection cannot be set up";
	return NULL;
}

int open_fail_nth(void)
{
	return open("/proc/thread-self/fail-nth", O_RDWR);
}

void arm_fault(int fail_nth, int n)
{
	dprintf(fail_nth, "%d", n);
}

int disarm_fault(int fail_nth)
{
	char left[16] = {};
	bool read_it = pread(fail_nth, left, sizeof(left) - 1, 0) > 0;

	(void)!pwrite(fail_nth, "0", 1, 0);
	return read_it ? atoi(left) : 1;
}

long env_number(const char *name, long otherwise)
{
	const char *text = getenv(name);

	return text ? atol(text) : otherwise;
}

bool core_keeps_token(void)
{
	return env_number("VFIO_PCI_RUST_RFC", 0);
}

/* The first PCI device for which @wanted holds, other than @not. */
static const char *find_device(bool (*wanted)(const char *bdf), const char *not)
{
	static char found[BDF_LEN];
	struct dirent **names;
	const char *ret = NULL;
	int n, i;

	n = scandir(PCI "/devices", &names, NULL, alphasort);
	for (i = 0; i < n; i++) {
		const char *name = names[i]->d_name;

		if (!ret && strlen(name) < BDF_LEN && name[0] != '.' &&
		    (!not || strcmp(name, not)) && wanted(name)) {
			snprintf(found, BDF_LEN, "%.12s", name);
			ret = found;
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return ret;
}

bool is_pf(const char *bdf)
{
	char text[16];

	return read_sysfs(text, sizeof(text), PCI "/devices/%s/sriov_totalvfs",
			  bdf) > 0 && atoi(text) > 0;
}

static const char *find_pf(void)
{
	const char *found = getenv("VFIO_PCI_RUST_PF");

	return found ? found : find_device(is_pf, NULL);
}

const char *setup_pf(const char **pf)
{
	static char address[BDF_LEN];
	const char *problem = setup_modules();
	const char *found;

	if (problem)
		return problem;
	found = find_pf();
	if (!found)
		return "there is no device with SR-IOV";
	snprintf(address, sizeof(address), "%s", found);
	*pf = address;
	return NULL;
}

const char *setup_second_pf(const char *pf, const char **second)
{
	static char address[BDF_LEN];
	const char *found = find_device(is_pf, pf);

	if (!found)
		return "there is no second device with SR-IOV";
	snprintf(address, sizeof(address), "%s", found);
	*second = address;
	return NULL;
}

static bool is_plain_nvme(const char *bdf)
{
	char text[16], path[PATH_MAX];

	snprintf(path, sizeof(path), PCI "/devices/%s/physfn", bdf);
	return read_sysfs(text, sizeof(text), PCI "/devices/%s/class", bdf) > 0 &&
	       !strcmp(text, "0x010802") && !is_pf(bdf) && access(path, F_OK);
}

const char *setup_plain(const char **bdf)
{
	static char address[BDF_LEN];
	const char *found = getenv("VFIO_PCI_RUST_PLAIN") ?: find_device(is_plain_nvme, NULL);

	if (!found)
		return "there is no NVMe device without SR-IOV";
	snprintf(address, sizeof(address), "%s", found);
	*bdf = address;
	return NULL;
}

static bool is_vga(const char *bdf)
{
	char text[16];

	return read_sysfs(text, sizeof(text), PCI "/devices/%s/class", bdf) > 0 &&
	       !strcmp(text, "0x030000");
}

const char *setup_vga(const char **bdf)
{
	static char address[BDF_LEN];
	const char *found = find_device(is_vga, NULL);

	if (!found)
		return "there is no VGA device";
	snprintf(address, sizeof(address), "%s", found);
	*bdf = address;
	return NULL;
}

const char *setup_c_driver(void)
{
	if (access(PCI "/drivers/" C_DRIVER, F_OK) && system("modprobe -q vfio-pci"))
		return "there is no module vfio-pci";
	return NULL;
}

__printf(2, 3) static int last_of_link(char name[NAME_MAX + 1], const char *path_format, ...)
{
	char path[PATH_MAX], target[PATH_MAX];
	va_list args;
	ssize_t len;

	va_start(args, path_format);
	vsnprintf(path, sizeof(path), path_format, args);
	va_end(args);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return -errno;
	target[len] = 0;
	snprintf(name, NAME_MAX + 1, "%s", strrchr(target, '/') + 1);
	return 0;
}

int vf_bdf(const char *pf, int index, char bdf[BDF_LEN])
{
	char name[NAME_MAX + 1];
	int ret;

	ret = last_of_link(name, PCI "/devices/%s/virtfn%d", pf, index);
	if (!ret)
		snprintf(bdf, BDF_LEN, "%.*s", BDF_LEN - 1, name);
	return ret;
}

bool is_bound(const char *bdf, const char *driver)
{
	char name[NAME_MAX + 1];

	return !last_of_link(name, PCI "/devices/%s/driver", bdf) &&
	       !strcmp(name, driver);
}

bool is_registered(const char *bdf)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), PCI "/devices/%s/vfio-dev", bdf);
	return !access(path, F_OK);
}

int bind_driver(const char *bdf, const char *driver)
{
	int ret;

	ret = write_sysfs(bdf, PCI "/devices/%s/driver/unbind", bdf);
	if (ret && ret != -ENOENT)
		return ret;
	ret = write_sysfs(driver ? driver : "\n",
			  PCI "/devices/%s/driver_override", bdf);
	if (ret || !driver)
		return ret;
	ret = write_sysfs(bdf, PCI "/drivers_probe");
	if (ret)
		return ret;
	return is_bound(bdf, driver) ? 0 : -ENODEV;
}

int set_numvfs(const char *pf, int count)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", count);
	return write_sysfs(text, PCI "/devices/%s/sriov_numvfs", pf);
}

void reset_vfs_by_flr_alone(const char *pf)
{
	char vf[BDF_LEN];
	int i;

	for (i = 0; !vf_bdf(pf, i, vf); i++)
		write_sysfs("flr", PCI "/devices/%s/reset_method", vf);
}

int ensure_pf(const char *pf, const char *driver, int count)
{
	char text[16];
	int ret = 0;

	if (!is_bound(pf, driver))
		ret = bind_driver(pf, driver);
	if (!ret)
		ret = set_enable_sriov(driver, true);
	if (ret)
		return ret;

	ret = read_sysfs(text, sizeof(text), PCI "/devices/%s/sriov_numvfs", pf);
	if (ret == -ENOENT && !count)
		return 0;
	if (ret < 0)
		return ret;
	if (atoi(text) == count)
		return 0;
	ret = set_numvfs(pf, 0);
	return ret || !count ? ret : set_numvfs(pf, count);
}

void restore_device(const char *bdf)
{
	if (!bdf || (!is_bound(bdf, DRIVER) && !is_bound(bdf, C_DRIVER)))
		return;
	set_numvfs(bdf, 0);
	bind_driver(bdf, NULL);
	write_sysfs(bdf, PCI "/drivers_probe");
}

static pid_t main_pid;

/* The tests run in children. Only their parent restores the device that they share. */
static void restore_pf(void)
{
	if (getpid() == main_pid)
		restore_device(find_pf());
}

static __attribute__((constructor)) void restore_pf_at_exit(void)
{
	main_pid = getpid();
	atexit(restore_pf);
}

int set_parameter(const char *driver, const char *name, const char *value)
{
	return write_sysfs(value, "/sys/module/%s/parameters/%s", module_of(driver), name);
}

int set_enable_sriov(const char *driver, bool on)
{
	return set_parameter(driver, "enable_sriov", on ? "1" : "0");
}

void token_text(char text[37], const uint8_t *token)
{
	int len = 0, i;

	for (i = 0; i < UUID_LEN; i++)
		len += snprintf(text + len, 37 - len, "%s%02x",
				i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
				token[i]);
}

void device_name(char name[128], const char *bdf, const uint8_t *token)
{
	char text[37];

	if (token)
		token_text(text, token);
	snprintf(name, 128, "%s%s%s", bdf, token ? " vf_token=" : "", token ? text : "");
}

#define ADMIT_FILE "vf_token/admit"

int admit(const char *bdf, const uint8_t *token)
{
	char text[37] = "none";

	if (token)
		token_text(text, token);
	return write_sysfs(text, PCI "/devices/%s/" ADMIT_FILE, bdf);
}

long token_file(const char *bdf, const char *name)
{
	char text[32];
	int ret = read_sysfs(text, sizeof(text), PCI "/devices/%s/vf_token/%s", bdf, name);

	return ret < 0 ? ret : atol(text);
}

int group_node(const char *bdf, char path[PATH_MAX])
{
	char group[NAME_MAX + 1];
	int ret;

	ret = last_of_link(group, PCI "/devices/%s/iommu_group", bdf);
	if (!ret)
		snprintf(path, PATH_MAX, "/dev/vfio/%s", group);
	return ret;
}

static int prepare_group(struct device *device, const char *bdf, const char *container)
{
	char path[PATH_MAX];
	int ret;

	ret = group_node(bdf, path);
	if (ret)
		return ret;

	device->iommu = open(container, O_RDWR);
	device->group = open(path, O_RDWR);
	if (device->iommu < 0 || device->group < 0)
		return -errno;
	if (ioctl(device->group, VFIO_GROUP_SET_CONTAINER, &device->iommu) ||
	    ioctl(device->iommu, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -errno;
	return 0;
}

static int prepare_cdev(struct device *device, const char *bdf)
{
	char path[PATH_MAX];
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), PCI "/devices/%s/vfio-dev", bdf);
	dir = opendir(path);
	if (!dir)
		return -errno;
	do {
		entry = readdir(dir);
	} while (entry && entry->d_name[0] == '.');
	if (entry)
		snprintf(path, sizeof(path), "/dev/vfio/devices/%s", entry->d_name);
	closedir(dir);
	if (!entry)
		return -ENODEV;

	device->iommu = open("/dev/iommu", O_RDWR);
	if (device->iommu < 0)
		return -errno;
	device->fd = open(path, O_RDWR);
	return device->fd < 0 ? -errno : 0;
}

int prepare_device(struct device *device, const char *bdf, enum path path)
{
	int ret;

	*device = (struct device)DEVICE_CLOSED;
	if (path == PATH_CDEV)
		ret = prepare_cdev(device, bdf);
	else
		ret = prepare_group(device, bdf, path == PATH_GROUP ? "/dev/vfio/vfio" :
								      "/dev/iommu");
	if (ret)
		close_device(device);
	return ret;
}

static int present_name(struct device *device, const char *name)
{
	device->fd = ioctl(device->group, VFIO_GROUP_GET_DEVICE_FD, name);
	return device->fd < 0 ? -errno : 0;
}

int present_token(struct device *device, const char *bdf, enum path path,
		  const uint8_t *token)
{
	struct vfio_device_bind_iommufd bind = {
		.argsz = sizeof(bind),
		.iommufd = device->iommu,
	};
	char name[128];

	if (path != PATH_CDEV) {
		device_name(name, bdf, token);
		return present_name(device, name);
	}
	if (token) {
		bind.flags = VFIO_DEVICE_BIND_FLAG_TOKEN;
		bind.token_uuid_ptr = (uintptr_t)token;
	}
	return ioctl(device->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind) ? -errno : 0;
}

int open_device(struct device *device, const char *bdf, enum path path,
		const uint8_t *token)
{
	int ret = prepare_device(device, bdf, path);

	if (ret)
		return ret;
	ret = present_token(device, bdf, path, token);
	if (ret)
		close_device(device);
	return ret;
}

int open_named(struct device *device, const char *bdf, const char *name)
{
	int ret = prepare_device(device, bdf, PATH_GROUP);

	if (ret)
		return ret;
	ret = present_name(device, name);
	if (ret)
		close_device(device);
	return ret;
}

void close_device(struct device *device)
{
	if (device->fd >= 0)
		close(device->fd);
	if (device->group >= 0)
		close(device->group);
	if (device->iommu >= 0)
		close(device->iommu);
	*device = (struct device)DEVICE_CLOSED;
}

int try_open(const char *bdf, enum path path, const uint8_t *token)
{
	struct device device;
	int ret;

	ret = open_device(&device, bdf, path, token);
	close_device(&device);
	return ret;
}

int set_irq(int fd, uint32_t flags, uint32_t index, int event)
{
	struct {
		struct vfio_irq_set set;
		int event;
	} request = {
		.set = {
			.argsz = sizeof(request),
			.flags = flags,
			.index = index,
			.count = 1,
		},
		.event = event,
	};

	return ioctl(fd, VFIO_DEVICE_SET_IRQS, &request) ? -errno : 0;
}

int on_event(int fd, uint32_t index, int event)
{
	return set_irq(fd, VFIO_IRQ_SET_ACTION_TRIGGER | VFIO_IRQ_SET_DATA_EVENTFD,
		       index, event);
}

int feature(int fd, uint32_t flags, const void *data, uint32_t size)
{
	uint64_t buffer[64] = {};
	struct vfio_device_feature *feature = (void *)buffer;

	if (sizeof(*feature) + size > sizeof(buffer))
		return -E2BIG;
	feature->argsz = sizeof(*feature) + size;
	feature->flags = flags;
	if (data)
		memcpy(feature->data, data, size);
	return ioctl(fd, VFIO_DEVICE_FEATURE, feature) ? -errno : 0;
}

int set_token(int fd, const uint8_t *token)
{
	return feature(fd, VFIO_DEVICE_FEATURE_SET |
			   VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, token, UUID_LEN);
}

int start_pf(struct device *device, const char *pf, const char *driver, int count,
	     enum path path)
{
	return ensure_pf(pf, driver, count) ?: open_device(device, pf, path, NULL) ?:
	       set_token(device->fd, token_a);
}

int64_t now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return time.tv_sec * NSEC_PER_SEC + time.tv_nsec;
}

int last_processor(void)
{
	cpu_set_t processors;
	int i, last = 0;

	sched_getaffinity(0, sizeof(processors), &processors);
	for (i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &processors))
			last = i;
	return last;
}

int start_urgent(pthread_t *thread, int priority, int processor,
		 void *(*run)(void *argument), void *argument)
{
	struct sched_param urgent = { .sched_priority = priority };
	pthread_attr_t attributes;
	cpu_set_t processors;
	int ret;

	CPU_ZERO(&processors);
	CPU_SET(processor, &processors);
	pthread_attr_init(&attributes);
	pthread_attr_setinheritsched(&attributes, PTHREAD_EXPLICIT_SCHED);
	pthread_attr_setschedpolicy(&attributes, SCHED_FIFO);
	pthread_attr_setschedparam(&attributes, &urgent);
	pthread_attr_setaffinity_np(&attributes, sizeof(processors), &processors);
	ret = pthread_create(thread, &attributes, run, argument);
	pthread_attr_destroy(&attributes);
	return -ret;
}

static void *act(void *argument)
{
	struct action *action = argument;

	action->result = action->act(action->bdf);
	return NULL;
}

int start_action(struct action *action)
{
	return -pthread_create(&action->thread, NULL, act, action);
}

bool has_ended(struct action *action)
{
	return !pthread_tryjoin_np(action->thread, NULL);
}

int result_of(struct action *action)
{
	int ret = pthread_join(action->thread, NULL);

	return ret ? -ret : action->result;
}

int open_log(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	if (fd >= 0)
		lseek(fd, 0, SEEK_END);
	return fd;
}

bool log_has(int fd, const char *const *words)
{
	char line[8192];
	ssize_t len;

	for (;;) {
		const char *const *word = words;

		len = read(fd, line, sizeof(line) - 1);
		if (len < 0 && errno == EPIPE)
			continue;	/* overwritten: go on with the oldest line */
		if (len <= 0)
			return false;
		line[len] = 0;
		while (*word && strstr(line, *word))
			word++;
		if (!*word)
			return true;
	}
}
