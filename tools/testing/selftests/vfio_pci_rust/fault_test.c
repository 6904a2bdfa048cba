// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every allocation and every copy from and to user space in a system call fails,
 * one at a time: the first, the second, and so on, until the call completes without
 * a fault. The call may still succeed. If it fails, its error says why, the device
 * can be used as before, and the token has not changed.
 *
 * This needs a kernel with CONFIG_FAILSLAB and CONFIG_FAULT_INJECTION_USERCOPY.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define HOURS	3600

struct state {
	const char *pf;
	char vf[BDF_LEN];
	struct device pf_device;	/* the open PF, whose VF has token_a */
	struct device device;		/* the device that is being opened */
	const char *target;		/* its address */
	enum path path;
	int answer;			/* to the last call */
	int late;			/* refused openings that changed the token */
	int unusable;			/* devices that were bound without a node */
	int fail_nth;			/* the file that controls the faults */
	int file;			/* the file that is being written, or loaded */
};

FIXTURE(fault) {
	struct state state;
};

/* Opens the PF and sets token_a, for the checks of the VF. */
static int start_token(struct state *state)
{
	int ret;

	close_device(&state->pf_device);
	ret = open_device(&state->pf_device, state->pf, PATH_CDEV, NULL);
	return ret ? ret : set_token(state->pf_device.fd, token_a);
}

FIXTURE_SETUP(fault)
{
	struct state *state = &self->state;
	const char *problem = setup_faults();

	state->pf_device = (struct device)DEVICE_CLOSED;
	state->device = (struct device)DEVICE_CLOSED;
	state->file = -1;
	if (!problem)
		problem = setup_pf(&state->pf);
	if (problem)
		SKIP(return, "%s", problem);

	state->fail_nth = open_fail_nth();
	ASSERT_LE(0, state->fail_nth);
	ASSERT_EQ(0, ensure_pf(state->pf, DRIVER, 1));
	ASSERT_EQ(0, vf_bdf(state->pf, 0, state->vf));
	ASSERT_EQ(0, start_token(state));
}

FIXTURE_TEARDOWN(fault)
{
	struct state *state = &self->state;

	close_device(&state->device);
	close_device(&state->pf_device);
	close(state->file);
	close(state->fail_nth);
}

/* The VF can be used with the previous token, and does not count as open. */
static const char *check_token(struct state *state)
{
	int wrong = try_open(state->vf, PATH_CDEV, token_b);

	if (wrong && wrong != -EACCES)
		return "the VF cannot be opened at all";
	if (!wrong)
		return "the VF opens with another token";
	if (try_open(state->vf, PATH_CDEV, token_a))
		return "the VF does not open with the token from before";
	if (set_token(state->pf_device.fd, token_a))
		return "the token cannot be set any more";
	return NULL;
}

static const char *check_pf(struct state *state)
{
	return try_open(state->pf, PATH_CDEV, NULL) ? "the PF does not open" : NULL;
}

/* The opening of the PF presented token_b, which takes effect only if it succeeded. */
static const char *check_pf_opening(struct state *state)
{
	bool changed = !try_open(state->vf, PATH_CDEV, token_b);
	const uint8_t *other = changed ? token_a : token_b;

	if (try_open(state->vf, PATH_CDEV, other) != -EACCES ||
	    (!changed && try_open(state->vf, PATH_CDEV, token_a)))
		return "the VF opens with another token";
	if (!changed && !state->answer)
		return "the token is not the one that opened the PF";
	if (changed && state->answer) {
		if (state->path == PATH_CDEV)
			return "an opening that was refused changed the token";
		state->late++;
	}
	return try_open(state->pf, PATH_CDEV, token_a) ? "the PF does not open" : NULL;
}

/* A system call, with preparation and checks. All but check() return 0 or -errno. */
struct operation {
	const char *name;
	int (*prepare)(struct state *state);
	int (*call)(struct state *state);
	/* Restores the device, so that check() can be called. */
	int (*undo)(struct state *state, int answer);
	/* Returns what is wrong. */
	const char *(*check)(struct state *state);
	/* Its possible errors, besides ENOMEM and EFAULT. */
	int errors[3];
};

static bool is_expected(const struct operation *operation, int answer)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(operation->errors); i++)
		if (answer == operation->errors[i])
			return true;
	return answer == -ENOMEM || answer == -EFAULT;
}

static void fail_in_turn(struct __test_metadata *_metadata, struct state *state,
			 const struct operation *operation)
{
	/* All of the first faults, and fewer and fewer of the later ones. */
	int all = env_number("VFIO_PCI_RUST_FAULTS", 200);
	int n, answer, faults = 0, refused = 0;
	const char *problem;
	bool failed;

	for (n = 1;; n += n < all ? 1 : 1 + n / 8) {
		ASSERT_EQ(0, operation->prepare(state));
		arm_fault(state->fail_nth, n);
		answer = operation->call(state);
		failed = !disarm_fault(state->fail_nth);
		state->answer = answer;
		faults += failed;
		refused += failed && answer;

		EXPECT_TRUE(!answer || (failed && is_expected(operation, answer))) {
			TH_LOG("%s: fault %d: %s", operation->name, n, strerror(-answer));
		}
		ASSERT_EQ(0, operation->undo(state, answer)) {
			TH_LOG("%s: fault %d cannot be undone", operation->name, n);
		}
		problem = operation->check(state);
		ASSERT_EQ(NULL, problem) {
			TH_LOG("%s: fault %d: %s", operation->name, n, problem);
		}
		if (!failed)
			break;
	}
	/* At least one fault was reached. */
	EXPECT_LT(1, n);
	ksft_print_msg("%s: %d faults, %d of them refused it\n", operation->name, faults, refused);
}

/* ---- opening and closing ---- */

static int prepare(struct state *state)
{
	return prepare_device(&state->device, state->target, state->path);
}

static int present_token_a(struct state *state)
{
	return present_token(&state->device, state->target, state->path, token_a);
}

static int present_token_b(struct state *state)
{
	return present_token(&state->device, state->target, state->path, token_b);
}

static int close_again(struct state *state, int answer)
{
	close_device(&state->device);
	return 0;
}

TEST_F_TIMEOUT(fault, opening_a_vf_by_group, HOURS)
{
	struct state *state = &self->state;

	state->target = state->vf;
	state->path = PATH_GROUP;
	fail_in_turn(_metadata, state, &(struct operation) {
		"opening a VF by its group",
		prepare, present_token_a, close_again, check_token,
	});
}

TEST_F_TIMEOUT(fault, opening_a_vf_by_cdev, HOURS)
{
	struct state *state = &self->state;

	state->target = state->vf;
	state->path = PATH_CDEV;
	fail_in_turn(_metadata, state, &(struct operation) {
		"opening a VF by its cdev",
		prepare, present_token_a, close_again, check_token,
	});
}

static int reopen_pf(struct state *state, int answer)
{
	close_device(&state->device);
	return open_device(&state->pf_device, state->pf, PATH_CDEV, NULL);
}

TEST_F_TIMEOUT(fault, opening_a_pf_by_group, HOURS)
{
	struct state *state = &self->state;

	state->target = state->pf;
	state->path = PATH_GROUP;
	close_device(&state->pf_device);
	fail_in_turn(_metadata, state, &(struct operation) {
		"opening a PF by its group",
		prepare, present_token_b, close_again, check_pf_opening,
	});
	/* The core creates the file last, in two steps, and tells the driver of no failure. */
	ksft_print_msg("%d changed the token, for lack of a file\n", state->late);
	EXPECT_GE(2, state->late);
	EXPECT_EQ(0, reopen_pf(state, 0));
	EXPECT_EQ(NULL, check_token(state));
}

TEST_F_TIMEOUT(fault, opening_a_pf_by_cdev, HOURS)
{
	struct state *state = &self->state;

	state->target = state->pf;
	state->path = PATH_CDEV;
	close_device(&state->pf_device);
	fail_in_turn(_metadata, state, &(struct operation) {
		"opening a PF by its cdev",
		prepare, present_token_b, close_again, check_pf_opening,
	});
	EXPECT_EQ(0, reopen_pf(state, 0));
	EXPECT_EQ(NULL, check_token(state));
}

static int open_the_vf(struct state *state)
{
	return open_device(&state->device, state->vf, PATH_CDEV, token_a);
}

static int close_the_device(struct state *state)
{
	int ret = close(state->device.fd) ? -errno : 0;

	state->device.fd = -1;
	return ret;
}

TEST_F_TIMEOUT(fault, closing_a_vf, HOURS)
{
	struct state *state = &self->state;

	fail_in_turn(_metadata, state, &(struct operation) {
		"closing a VF",
		open_the_vf, close_the_device, close_again, check_token,
	});
}

/* ---- VFIO_DEVICE_FEATURE ---- */

static int prepare_nothing(struct state *state)
{
	return 0;
}

static int undo_nothing(struct state *state, int answer)
{
	return 0;
}

static int set_token_b(struct state *state)
{
	return set_token(state->pf_device.fd, token_b);
}

/* Checks that a successful SET took effect, and undoes it; check_token() covers a failed one. */
static int set_token_back(struct state *state, int answer)
{
	int ret = 0;

	if (!answer)
		ret = try_open(state->vf, PATH_CDEV, token_b);
	if (!answer && !ret)
		ret = set_token(state->pf_device.fd, token_a);
	return ret;
}

TEST_F_TIMEOUT(fault, setting_the_token, HOURS)
{
	struct state *state = &self->state;

	fail_in_turn(_metadata, state, &(struct operation) {
		"setting the token",
		prepare_nothing, set_token_b, set_token_back, check_token,
	});
}

static int probe_token(struct state *state)
{
	return feature(state->pf_device.fd, VFIO_DEVICE_FEATURE_PROBE |
		       VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, NULL, 0);
}

TEST_F_TIMEOUT(fault, asking_for_the_token, HOURS)
{
	struct state *state = &self->state;

	fail_in_turn(_metadata, state, &(struct operation) {
		"asking whether there is a token",
		prepare_nothing, probe_token, undo_nothing, check_token,
	});
}

static int admit_vf(struct state *state)
{
	return admit(state->vf, token_a);
}

static int open_admitted(struct state *state, int answer)
{
	int ret = try_open(state->vf, PATH_CDEV, NULL);

	if (ret != (answer ? -EACCES : 0))
		return ret ? ret : -EACCES;
	return admit(state->vf, NULL);
}

TEST_F_TIMEOUT(fault, admitting_a_vf, HOURS)
{
	struct state *state = &self->state;

	fail_in_turn(_metadata, state, &(struct operation) {
		"admitting a VF",
		prepare_nothing, admit_vf, open_admitted, check_token,
	});
}

static int count_open_vfs(struct state *state)
{
	long count = token_file(state->pf, "open_vfs");

	return count > 0 ? -EBUSY : count;
}

TEST_F_TIMEOUT(fault, counting_open_vfs, HOURS)
{
	struct state *state = &self->state;

	fail_in_turn(_metadata, state, &(struct operation) {
		"counting the open VFs",
		prepare_nothing, count_open_vfs, undo_nothing, check_token,
	});
}

static int enter_low_power(struct state *state)
{
	return feature(state->pf_device.fd, VFIO_DEVICE_FEATURE_SET |
		       VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY, NULL, 0);
}

static int exit_low_power(struct state *state)
{
	return feature(state->pf_device.fd, VFIO_DEVICE_FEATURE_SET |
		       VFIO_DEVICE_FEATURE_LOW_POWER_EXIT, NULL, 0);
}

static int exit_if_entered(struct state *state, int answer)
{
	return answer ? 0 : exit_low_power(state);
}

static int exit_if_not_done(struct state *state, int answer)
{
	return answer ? exit_low_power(state) : 0;
}

TEST_F_TIMEOUT(fault, entering_low_power, HOURS)
{
	struct state *state = &self->state;

	fail_in_turn(_metadata, state, &(struct operation) {
		"entering low power",
		prepare_nothing, enter_low_power, exit_if_entered, check_token,
	});
}

TEST_F_TIMEOUT(fault, leaving_low_power, HOURS)
{
	struct state *state = &self->state;

	fail_in_turn(_metadata, state, &(struct operation) {
		"leaving low power",
		enter_low_power, exit_low_power, exit_if_not_done, check_token,
	});
}

/* ---- binding, VFs, the module ---- */

static int write_to(int file, const char *text)
{
	return pwrite(file, text, strlen(text), 0) < 0 ? -errno : 0;
}

static int file_of_driver(const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/drivers/" DRIVER "/%s", name);
	return open(path, O_WRONLY);
}

static int unbind_vf(struct state *state)
{
	return write_sysfs(state->vf, "/sys/bus/pci/drivers/" DRIVER "/unbind");
}

static int write_vf(struct state *state)
{
	return write_to(state->file, state->vf);
}

/*
 * Without memory for the name of its node a device is registered nevertheless, and no
 * error is reported.
 */
static bool is_usable(const char *bdf)
{
	struct device device = DEVICE_CLOSED;
	int ret = prepare_device(&device, bdf, PATH_CDEV);

	close_device(&device);
	return !ret;
}

static int bind_vf(struct state *state, int answer)
{
	if (is_bound(state->vf, DRIVER)) {
		if (is_usable(state->vf))
			return 0;
		unbind_vf(state);
		state->unusable++;
	}
	return write_sysfs(state->vf, "/sys/bus/pci/drivers/" DRIVER "/bind");
}

TEST_F_TIMEOUT(fault, binding_a_vf, HOURS)
{
	struct state *state = &self->state;

	state->file = file_of_driver("bind");
	ASSERT_LE(0, state->file);
	fail_in_turn(_metadata, state, &(struct operation) {
		"binding a VF",
		unbind_vf, write_vf, bind_vf, check_token,
	});
	ksft_print_msg("%d times it had no node then\n", state->unusable);
	EXPECT_GE(4, state->unusable);
}

TEST_F_TIMEOUT(fault, unbinding_a_vf, HOURS)
{
	struct state *state = &self->state;

	state->file = file_of_driver("unbind");
	ASSERT_LE(0, state->file);
	fail_in_turn(_metadata, state, &(struct operation) {
		"unbinding a VF",
		prepare_nothing, write_vf, bind_vf, check_token,
	});
}

static int unbind_pf(struct state *state)
{
	return write_sysfs(state->pf, "/sys/bus/pci/drivers/" DRIVER "/unbind");
}

static int write_pf(struct state *state)
{
	return write_to(state->file, state->pf);
}

static int bind_pf(struct state *state, int answer)
{
	if (is_bound(state->pf, DRIVER)) {
		if (is_usable(state->pf))
			return 0;
		unbind_pf(state);
		state->unusable++;
	}
	return write_sysfs(state->pf, "/sys/bus/pci/drivers/" DRIVER "/bind");
}

TEST_F_TIMEOUT(fault, binding_a_pf, HOURS)
{
	struct state *state = &self->state;

	close_device(&state->pf_device);
	ASSERT_EQ(0, set_numvfs(state->pf, 0));
	state->file = file_of_driver("bind");
	ASSERT_LE(0, state->file);
	fail_in_turn(_metadata, state, &(struct operation) {
		"binding a PF",
		unbind_pf, write_pf, bind_pf, check_pf,
	});
	ksft_print_msg("%d times it had no node then\n", state->unusable);
	EXPECT_GE(4, state->unusable);
}

TEST_F_TIMEOUT(fault, unbinding_a_pf, HOURS)
{
	struct state *state = &self->state;

	close_device(&state->pf_device);
	ASSERT_EQ(0, set_numvfs(state->pf, 0));
	state->file = file_of_driver("unbind");
	ASSERT_LE(0, state->file);
	fail_in_turn(_metadata, state, &(struct operation) {
		"unbinding a PF",
		prepare_nothing, write_pf, bind_pf, check_pf,
	});
}

static int file_of_numvfs(const char *pf)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/sriov_numvfs", pf);
	return open(path, O_WRONLY);
}

static int write_zero(struct state *state)
{
	return write_to(state->file, "0");
}

/* Makes sure that the VF exists and is bound, whether the call succeeded or not. */
static int ensure_vf(struct state *state, int answer)
{
	int ret = ensure_pf(state->pf, DRIVER, 1);

	return ret ? ret : bind_vf(state, 0);
}

/*
 * Enabling VFs is not tested: pci_device_add() cannot report a lack of memory and goes
 * on until it dereferences a null pointer, with any driver. This driver's part of it is
 * binding the VF.
 */
TEST_F_TIMEOUT(fault, disabling_vfs, HOURS)
{
	struct state *state = &self->state;

	state->file = file_of_numvfs(state->pf);
	ASSERT_LE(0, state->file);
	fail_in_turn(_metadata, state, &(struct operation) {
		"disabling a VF",
		prepare_nothing, write_zero, ensure_vf, check_token,
	});
}

static int unload(struct state *state)
{
	int ret = remove_module(DRIVER);

	return ret == -ENOENT ? 0 : ret;
}

static int load(struct state *state)
{
	return syscall(SYS_finit_module, state->file, "", 0) ? -errno : 0;
}

static int ensure_loaded(struct state *state, int answer)
{
	int ret = setup_modules() ? -ENODEV : 0;

	return ret ? ret : ensure_pf(state->pf, DRIVER, 0);
}

TEST_F_TIMEOUT(fault, loading_the_module, HOURS)
{
	struct state *state = &self->state;

	if (is_builtin())
		SKIP(return, "the driver is built in");
	close_device(&state->pf_device);
	state->file = open_module(DRIVER);
	ASSERT_LE(0, state->file);
	fail_in_turn(_metadata, state, &(struct operation) {
		"loading the module",
		unload, load, ensure_loaded, check_pf,
	});
}

static int remove_it(struct state *state)
{
	return remove_module(DRIVER);
}

TEST_F_TIMEOUT(fault, removing_the_module, HOURS)
{
	struct state *state = &self->state;

	if (is_builtin())
		SKIP(return, "the driver is built in");
	close_device(&state->pf_device);
	fail_in_turn(_metadata, state, &(struct operation) {
		"removing the module, with a PF bound",
		prepare_nothing, remove_it, ensure_loaded, check_pf,
	});
}

TEST_HARNESS_MAIN
