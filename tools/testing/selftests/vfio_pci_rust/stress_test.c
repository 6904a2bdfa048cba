// SPDX-License-Identifier: GPL-2.0-only
/*
 * Everything at once: setters of the token, openers of VFs, an administrator that
 * unbinds, rebinds, resets and turns SR-IOV off and on, a reader of sysfs. Each answer is
 * checked against what the other threads have done in the meantime.
 *
 * VFIO_PCI_RUST_OPERATIONS in the environment limits the operations, and
 * VFIO_PCI_RUST_SEED repeats the choices of each thread, but not their order in time.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define SETTERS		3
#define OPENERS		4
#define VFS		4
#define OPERATIONS	5000	/* of setters and openers together */
#define CHANGES		20	/* by the administrator, during these operations */
#define MAX_LOCKED	6000	/* tries to open the PF, at intervals of 5 ms */
#define CALLS		1000000
#define HOURS		(3 * 3600)

enum { NEVER_SET, BEING_SET, SET, REFUSED };

/* A value that a setter gives the token. No value is used twice. */
struct value {
	atomic_int state;
	atomic_long begin, end;	/* when the call began and ended */
	atomic_bool alone;	/* no other change was in progress when it began */
};

enum { COUNT_SET, COUNT_SET_BUSY, COUNT_SET_NODEV, COUNT_OPENED, COUNT_ADMITTED, COUNT_EACCES,
	COUNT_GONE, COUNT_SRIOV, COUNT_VF_BOUND, COUNT_PF_OPENED, COUNT_PF_LOCKED, COUNT_PF_BOUND,
	COUNT_RESET, COUNT_READ, COUNTS };

static const char * const count_names[COUNTS] = {
	"SET", "SET with a VF open", "SET without VFs", "VF opened", "VF admitted", "VF refused",
	"VF not there", "SR-IOV off and on", "VF unbound and bound", "PF closed and opened",
	"PF locked", "PF unbound and bound", "PF or VF reset", "sysfs read",
};

/* The data of all threads. */
static struct {
	const char *pf;
	uint64_t seed;
	long operations;
	struct value *values;
	atomic_long used;	/* operations, and values, so far */
	atomic_long changes;	/* what the administrator has done so far */
	long per_change;
	/* The openers wait, so that the PF can be opened or reset while no VF is open. */
	atomic_bool quiet;
	atomic_int in_flight;	/* changes of the token in progress */
	atomic_long clock;
	/* When the latest change of the token began, and the latest one that succeeded. */
	atomic_long last_begin, last_success;
	/*
	 * The state of an opener, modulo 3: 0 has nothing open, 1 is unknown, 2 has a VF
	 * open. The number always grows.
	 */
	atomic_long has[OPENERS];
	/* For every VF: odd while it may be admitted, by one opener at a time. */
	atomic_long admitted[VFS];
	/* Odd while the administrator changes the number of VFs. */
	atomic_long vfs_changed;
	/* Odd while VFs are created, removed, bound or unbound: SET may be refused then. */
	atomic_long vfs_moved;
	/* Held for reading while the PF is in use, for writing while it is closed. */
	pthread_rwlock_t pf_lock;
	struct device pf_device;
	enum path pf_path;
	atomic_long counts[COUNTS];
	atomic_long violations;
} world;

struct actor {
	pthread_t thread;
	int index;
	uint64_t random;
};

static uint32_t choose(struct actor *actor, uint32_t below)
{
	actor->random ^= actor->random << 13;
	actor->random ^= actor->random >> 7;
	actor->random ^= actor->random << 17;
	return (actor->random >> 32) % below;
}

static long tick(void)
{
	return atomic_fetch_add(&world.clock, 1) + 1;
}

static void raise_to(atomic_long *variable, long value)
{
	long old = atomic_load(variable);

	while (old < value && !atomic_compare_exchange_weak(variable, &old, value))
		;
}

static void count(int what)
{
	atomic_fetch_add(&world.counts[what], 1);
}

__printf(1, 2) static void violation(const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (atomic_fetch_add(&world.violations, 1) < 10)
		ksft_print_msg("violation: %s\n", text);
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static bool is_over(void)
{
	return atomic_load(&world.used) >= world.operations;
}

/* The number of the next operation, or 0 if there were enough. */
static long take_number(void)
{
	long number = atomic_fetch_add(&world.used, 1) + 1;

	return number <= world.operations ? number : 0;
}

/*
 * The same, but waits for the administrator to keep up. A thread with an open cdev,
 * even one that is not bound, must not call this: the administrator may be waiting for
 * it to be closed.
 */
static long next_operation(void)
{
	long number = take_number();

	while (number > (atomic_load(&world.changes) + 2) * world.per_change && !is_over())
		pause_ms(1);
	return number;
}

static void value_of(long id, uint8_t token[UUID_LEN])
{
	uint64_t mixed = (world.seed + id) * 0x9e3779b97f4a7c15ull;

	memcpy(token, &id, 8);
	memcpy(token + 8, &mixed, 8);
}

/* ---- setters ---- */

static void look_at_openers(long has[OPENERS])
{
	int i;

	for (i = 0; i < OPENERS; i++)
		has[i] = atomic_load(&world.has[i]);
}

/* Whether an opener was in this state from @before until now. */
static bool was_open(const long before[OPENERS])
{
	int i;

	for (i = 0; i < OPENERS; i++)
		if (before[i] % 3 == 2 && atomic_load(&world.has[i]) == before[i])
			return true;
	return false;
}

static bool were_closed(const long before[OPENERS])
{
	int i;

	for (i = 0; i < OPENERS; i++)
		if (before[i] % 3 || atomic_load(&world.has[i]) != before[i])
			return false;
	return true;
}

static void begin_change(struct value *value)
{
	bool alone = !atomic_fetch_add(&world.in_flight, 1);
	long now = tick();

	atomic_store(&value->alone, alone);
	atomic_store(&value->begin, now);
	atomic_store(&value->state, BEING_SET);
	raise_to(&world.last_begin, now);
}

static void end_change(struct value *value, bool set)
{
	atomic_store(&value->end, tick());
	atomic_store(&value->state, set ? SET : REFUSED);
	if (set)
		raise_to(&world.last_success, atomic_load(&value->begin));
	atomic_fetch_sub(&world.in_flight, 1);
}

static int set_once(long id)
{
	long vfs = atomic_load(&world.vfs_changed), moved = atomic_load(&world.vfs_moved);
	long has[OPENERS];
	struct value *value = &world.values[id];
	uint8_t token[UUID_LEN];
	int answer;

	value_of(id, token);
	look_at_openers(has);
	begin_change(value);
	answer = set_token(world.pf_device.fd, token);
	switch (answer) {
	case 0:
		count(COUNT_SET);
		if (was_open(has))
			violation("SET succeeded while a VF was open");
		break;
	case -EBUSY:
		count(COUNT_SET_BUSY);
		if (were_closed(has) && !(moved & 1) && atomic_load(&world.vfs_moved) == moved)
			violation("SET was refused, and no VF was open");
		break;
	case -ENODEV:
		count(COUNT_SET_NODEV);
		if (!(vfs & 1) && atomic_load(&world.vfs_changed) == vfs)
			violation("SET was refused, and there were VFs");
		break;
	default:
		violation("SET says %s", strerror(-answer));
	}
	end_change(value, !answer);
	return answer;
}

static void ask(struct actor *actor)
{
	static const struct {
		uint32_t flags, size;
		int answer;
	} questions[] = {
		{ VFIO_DEVICE_FEATURE_PROBE, 0, 0 },
		{ VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_SET, 0, 0 },
		{ VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET, 0, -EINVAL },
		{ VFIO_DEVICE_FEATURE_GET, UUID_LEN, -EINVAL },
		{ VFIO_DEVICE_FEATURE_SET, UUID_LEN - 1, -EINVAL },
		{ VFIO_DEVICE_FEATURE_SET | 0xffff, UUID_LEN, -ENOTTY },
	};
	int i = choose(actor, ARRAY_SIZE(questions));
	int answer = feature(world.pf_device.fd, questions[i].flags, token_a,
			     questions[i].size);

	if (answer != questions[i].answer)
		violation("question %d: %s", i, strerror(-answer));
}

static void *run_setter(void *argument)
{
	struct actor *actor = argument;
	long id;

	while ((id = next_operation())) {
		int answer = 0;

		pthread_rwlock_rdlock(&world.pf_lock);
		if (choose(actor, 10))
			answer = set_once(id);
		else
			ask(actor);
		pthread_rwlock_unlock(&world.pf_lock);
		/* Let the other threads go on. */
		if (answer || !choose(actor, 8))
			pause_ms(1 + choose(actor, 3));
	}
	return NULL;
}

/* ---- openers ---- */

/* The number of a value that a setter tries to set, preferably the latest; or 0. */
static long choose_value(struct actor *actor)
{
	long id = atomic_load(&world.used), wanted = choose(actor, 4) ? SET : REFUSED;
	int i;

	if (!choose(actor, 8))
		id -= choose(actor, 200);
	if (id >= world.operations)
		id = world.operations - 1;
	for (i = 0; i < 2000 && id > 0; i++, id--)
		if (atomic_load(&world.values[id].state) == wanted)
			return id;
	return 0;
}

/* The VF is open. */
static void check_opened(long id)
{
	struct value *value = &world.values[id];

	if (!id)
		return;
	if (atomic_load(&value->state) != SET)
		violation("a VF was opened with a token that was refused");
	else if (atomic_load(&value->end) < atomic_load(&world.last_success))
		violation("a VF was opened with an old token, or the token was set since");
}

/* The token with this number was refused. */
static void check_refused(long id)
{
	struct value *value = &world.values[id];

	if (id && atomic_load(&value->state) == SET && atomic_load(&value->alone) &&
	    atomic_load(&world.last_begin) == atomic_load(&value->begin))
		violation("a VF was not opened with the current token");
}

/*
 * Admits the VF with this token, if no other opener does, and returns whether that
 * succeeded. If so, end_admission() must follow.
 */
static bool begin_admission(atomic_long *admitted, const char *vf, const uint8_t *token)
{
	long number = atomic_load(admitted);
	int answer;

	if (number & 1 || !atomic_compare_exchange_strong(admitted, &number, number + 1))
		return false;
	answer = admit(vf, token);
	if (!answer) {
		count(COUNT_ADMITTED);
		return true;
	}
	atomic_fetch_add(admitted, 1);
	/* The token is wrong, or the VF is being unbound. */
	if (answer != -EACCES && answer != -ENODEV && answer != -ENOENT)
		violation("admitting a VF: %s", strerror(-answer));
	return false;
}

static void end_admission(atomic_long *admitted, const char *vf)
{
	/* Unbinding ends the admission, too. */
	admit(vf, NULL);
	atomic_fetch_add(admitted, 1);
}

/* Presents tokens until the VF is open, or gone. */
static void try_tokens(struct actor *actor, struct device *device, int number, const char *vf,
		       enum path path)
{
	atomic_long *has = &world.has[actor->index], *admitted = &world.admitted[number];
	uint8_t token[UUID_LEN];
	int i, answer;
	long id;

	for (i = 0; i < 32; i++) {
		long moved = atomic_load(&world.vfs_moved), admissions;
		bool by_admission;

		if (!take_number())
			return;
		id = choose(actor, 3) ? choose_value(actor) : 0;
		value_of(id, token);

		by_admission = id && !choose(actor, 4) && begin_admission(admitted, vf, token);
		admissions = atomic_load(admitted);
		atomic_fetch_add(has, 1);
		answer = present_token(device, vf, path, id && !by_admission ? token : NULL);
		if (!answer) {
			atomic_fetch_add(has, 1);
			count(COUNT_OPENED);
			/* Without a token the VF opens if another opener has admitted it. */
			if (!id && !(admissions & 1) && atomic_load(admitted) == admissions)
				violation("a VF was opened without a token");
			check_opened(id);
			answer = feature(device->fd, VFIO_DEVICE_FEATURE_SET |
					 VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, token_a, UUID_LEN);
			if (answer != -ENOTTY)
				violation("SET on a VF: %s", strerror(-answer));
			check_opened(id);
			atomic_fetch_add(has, 2);
			close_device(device);
			atomic_fetch_add(has, 2);
			if (by_admission)
				end_admission(admitted, vf);
			return;
		}
		atomic_fetch_add(has, 2);
		if (by_admission)
			end_admission(admitted, vf);
		if (answer != -EACCES)
			break;
		count(COUNT_EACCES);
		/* An admission ends when the VF is rebound. */
		if (!by_admission || (!(moved & 1) && atomic_load(&world.vfs_moved) == moved))
			check_refused(id);
	}
	/* The VF is being unbound, or another opener has it. */
	if (answer == -EACCES)
		return;
	count(COUNT_GONE);
	if (answer != -ENODEV && answer != -EBUSY && answer != -EINVAL && answer != -ENOENT &&
	    answer != -EAGAIN)
		violation("opening a VF: %s", strerror(-answer));
}

static void *run_opener(void *argument)
{
	struct actor *actor = argument;

	while (!is_over()) {
		enum path path = choose(actor, 2) ? PATH_GROUP : any_path();
		struct device device = DEVICE_CLOSED;
		int number = choose(actor, VFS);
		char vf[BDF_LEN];

		if (!next_operation())
			break;
		if (atomic_load(&world.quiet)) {
			pause_ms(1);
			continue;
		}
		if (vf_bdf(world.pf, number, vf) ||
		    prepare_device(&device, vf, path)) {
			/* The VF will be back. */
			count(COUNT_GONE);
			pause_ms(1);
			continue;
		}
		try_tokens(actor, &device, number, vf, path);
		close_device(&device);
		/* Leave the setters some time without an open VF. */
		pause_ms(20 + choose(actor, 100));
	}
	return NULL;
}

/* ---- the administrator ---- */

/*
 * Opens the PF again, without a token or with a new one. Whoever reads sriov_numvfs holds
 * the device's lock for a moment, and vfio_pci_core_enable() does not wait for it. Nobody
 * holds that lock for half a minute while the PF is closed.
 */
static void open_pf(struct actor *actor)
{
	long id = choose(actor, 2) ? take_number() : 0, has[OPENERS];
	struct value *value = &world.values[id];
	uint8_t token[UUID_LEN];
	int answer, tries = 0, locked = 0;

	value_of(id, token);
	if (id)
		begin_change(value);
	do {
		if (tries++ == 20)
			atomic_store(&world.quiet, true);
		if (tries > 1)
			pause_ms(5);
		look_at_openers(has);
		answer = open_device(&world.pf_device, world.pf, world.pf_path,
				     id ? token : NULL);
		if (answer == -EACCES && were_closed(has))
			violation("the PF was refused, and no VF was open");
		if (!answer && was_open(has))
			violation("the PF was opened without the token while a VF was open");
		if (answer == -EAGAIN)
			count(COUNT_PF_LOCKED);
	} while (answer == -EACCES || (answer == -EAGAIN && ++locked < MAX_LOCKED));
	if (answer)
		violation("opening the PF: %s", strerror(-answer));
	if (id)
		end_change(value, !answer);
	atomic_store(&world.quiet, false);
}

static void change_vfs(int number)
{
	int answer;

	if (!(atomic_load(&world.vfs_changed) & 1))
		atomic_fetch_add(&world.vfs_changed, 1);
	atomic_fetch_add(&world.vfs_moved, 1);
	answer = set_numvfs(world.pf, number);
	reset_vfs_by_flr_alone(world.pf);
	atomic_fetch_add(&world.vfs_moved, 1);
	if (answer)
		violation("%d VFs: %s", number, strerror(-answer));
	else if (number)
		atomic_fetch_add(&world.vfs_changed, 1);
}

static void rebind_vf(struct actor *actor)
{
	char vf[BDF_LEN];
	int answer;

	if (vf_bdf(world.pf, choose(actor, VFS), vf))
		return;
	atomic_fetch_add(&world.vfs_moved, 1);
	answer = write_sysfs(vf, "/sys/bus/pci/drivers/" DRIVER "/unbind");
	if (!answer)
		answer = write_sysfs(vf, "/sys/bus/pci/drivers/" DRIVER "/bind");
	atomic_fetch_add(&world.vfs_moved, 1);
	if (answer)
		violation("rebinding %s: %s", vf, strerror(-answer));
	count(COUNT_VF_BOUND);
}

/* Waits until no VF is open or being opened: all openers have seen the flag. */
static void wait_for_openers(void)
{
	long has[OPENERS];

	do {
		look_at_openers(has);
		pause_ms(50);
	} while (!were_closed(has));
}

/*
 * Resets a VF, the PF, and the PF with its whole bus, if its slot can do that, while
 * the token is being set. VFs do not respond while their PF is reset, so they are
 * opened only during their own resets.
 */
static void reset_device(struct actor *actor)
{
	long which = atomic_load(&world.counts[COUNT_RESET]) % 3;
	const char *method = which == 2 ? "bus" : "flr";
	char bdf[BDF_LEN];
	int answer;

	count(COUNT_RESET);
	if (which) {
		atomic_store(&world.quiet, true);
		wait_for_openers();
		snprintf(bdf, sizeof(bdf), "%s", world.pf);
	} else if (vf_bdf(world.pf, choose(actor, VFS), bdf)) {
		return;
	}
	answer = write_sysfs(method, "/sys/bus/pci/devices/%s/reset_method", bdf);
	if (answer == -EINVAL) {
		ksft_print_msg("%s cannot be reset by %s\n", bdf, method);
	} else {
		if (!answer)
			answer = write_sysfs("1", "/sys/bus/pci/devices/%s/reset", bdf);
		/* A VF that was reset while its PF was closed may not respond for a minute. */
		if (!which && answer == -ENOTTY)
			ksft_print_msg("%s has not come back from a reset\n", bdf);
		else if (answer)
			violation("reset of %s by %s: %s", bdf, method, strerror(-answer));
		write_sysfs(which ? "default" : "flr", "/sys/bus/pci/devices/%s/reset_method", bdf);
	}
	atomic_store(&world.quiet, false);
}

/* Rebinds the PF, which gives it a random token. */
static void rebind_pf(void)
{
	long begin = tick();
	int answer;

	raise_to(&world.last_begin, begin);
	atomic_fetch_add(&world.vfs_changed, 1);
	answer = bind_driver(world.pf, NULL);
	if (!answer)
		answer = bind_driver(world.pf, DRIVER);
	if (answer)
		violation("rebinding the PF: %s", strerror(-answer));
	raise_to(&world.last_success, begin);
	change_vfs(VFS);
	count(COUNT_PF_BOUND);
}

static void *run_administrator(void *argument)
{
	struct actor *actor = argument;

	while (!is_over()) {
		int what;

		if (atomic_load(&world.used) <
		    (atomic_load(&world.changes) + 1) * world.per_change) {
			pause_ms(1);
			continue;
		}
		what = choose(actor, 11);
		if (what < 2) {
			change_vfs(0);
			pause_ms(20);
			change_vfs(VFS);
			count(COUNT_SRIOV);
		} else if (what < 5) {
			rebind_vf(actor);
		} else if (what >= 8) {
			reset_device(actor);
		} else {
			pthread_rwlock_wrlock(&world.pf_lock);
			close_device(&world.pf_device);
			if (what == 7)
				rebind_pf();
			world.pf_path = choose(actor, 2) ? PATH_GROUP : any_path();
			open_pf(actor);
			count(COUNT_PF_OPENED);
			pthread_rwlock_unlock(&world.pf_lock);
		}
		atomic_fetch_add(&world.changes, 1);
	}
	return NULL;
}

static void *run_reader(void *argument)
{
	static const char * const files[] = {
		"config", "resource", "sriov_numvfs", "enable", "power/runtime_status",
		"driver_override", "iommu_group/type", "uevent", "reset_method",
	};
	struct actor *actor = argument;
	char text[4096], bdf[BDF_LEN];

	while (!is_over()) {
		if (!choose(actor, 3) || vf_bdf(world.pf, choose(actor, VFS), bdf))
			snprintf(bdf, sizeof(bdf), "%s", world.pf);
		read_sysfs(text, sizeof(text), "/sys/bus/pci/devices/%s/%s", bdf,
			   files[choose(actor, ARRAY_SIZE(files))]);
		count(COUNT_READ);
		pause_ms(2);
	}
	return NULL;
}

/* ---- */

FIXTURE(stress) {
	const char *pf;
};

FIXTURE_SETUP(stress)
{
	const char *problem = setup_pf(&self->pf);

	world.pf_device = (struct device)DEVICE_CLOSED;
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, ensure_pf(self->pf, DRIVER, VFS));
	reset_vfs_by_flr_alone(self->pf);
	ASSERT_EQ(0, open_device(&world.pf_device, self->pf, any_path(), NULL));
}

FIXTURE_TEARDOWN(stress)
{
	close_device(&world.pf_device);
}

TEST_F_TIMEOUT(stress, all_at_once, HOURS)
{
	struct actor actors[SETTERS + OPENERS + 2];
	size_t n = 0;
	char vf[BDF_LEN];
	int i;

	world.pf = self->pf;
	world.seed = env_number("VFIO_PCI_RUST_SEED", 1);
	world.operations = env_number("VFIO_PCI_RUST_OPERATIONS", OPERATIONS);
	world.per_change = world.operations / CHANGES + 1;
	world.values = calloc(world.operations + 1, sizeof(*world.values));
	ASSERT_NE(NULL, world.values);
	pthread_rwlock_init(&world.pf_lock, NULL);
	/* The token is not known yet, so begin with a change. */
	ASSERT_EQ(0, set_once(next_operation()));

	for (n = 0; n < ARRAY_SIZE(actors); n++) {
		struct actor *actor = &actors[n];

		*actor = (struct actor){ .index = n, .random = (world.seed << 8) + n + 1 };
		if (n < OPENERS) {
			ASSERT_EQ(0, pthread_create(&actor->thread, NULL, run_opener, actor));
		} else if (n < OPENERS + SETTERS) {
			ASSERT_EQ(0, pthread_create(&actor->thread, NULL, run_setter, actor));
		} else {
			ASSERT_EQ(0, pthread_create(&actor->thread, NULL,
						    n % 2 ? run_reader : run_administrator,
						    actor));
		}
	}
	for (n = 0; n < ARRAY_SIZE(actors); n++)
		pthread_join(actors[n].thread, NULL);

	ksft_print_msg("%ld operations with seed %llu\n", world.operations,
		       (unsigned long long)world.seed);
	for (i = 0; i < COUNTS; i++)
		ksft_print_msg("%s: %ld\n", count_names[i], atomic_load(&world.counts[i]));
	EXPECT_EQ(0, atomic_load(&world.violations));

	/* Nothing counts as open any more, and everything still works. */
	EXPECT_EQ(0, set_token(world.pf_device.fd, token_a));
	for (i = 0; i < VFS; i++) {
		ASSERT_EQ(0, vf_bdf(self->pf, i, vf));
		EXPECT_EQ(-EACCES, try_open(vf, any_path(), token_b));
		EXPECT_EQ(0, try_open(vf, any_path(), token_a));
	}
	EXPECT_EQ(0, set_token(world.pf_device.fd, token_b));
	free(world.values);
}

TEST_F_TIMEOUT(stress, a_million_calls, HOURS)
{
	long i, calls = env_number("VFIO_PCI_RUST_CALLS", CALLS), wrong = 0;
	uint8_t token[UUID_LEN];
	char vf[BDF_LEN];

	for (i = 0; i < calls; i += 2) {
		value_of(i, token);
		wrong += !!set_token(world.pf_device.fd, token);
		wrong += !!feature(world.pf_device.fd, VFIO_DEVICE_FEATURE_PROBE |
				   VFIO_DEVICE_FEATURE_PCI_VF_TOKEN, NULL, 0);
	}
	EXPECT_EQ(0, wrong);
	ksft_print_msg("%ld calls\n", calls);
	ASSERT_EQ(0, vf_bdf(self->pf, 0, vf));
	EXPECT_EQ(0, try_open(vf, any_path(), token));
}

TEST_HARNESS_MAIN
