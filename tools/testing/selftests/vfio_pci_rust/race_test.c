// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VF is opened with the token while another token is set, by SET or by an opening
 * of the PF. In each round both start at the same time, apart from a delay for one
 * of them. The first one wins, and the other is refused: a VF that is open was
 * opened with the current token.
 *
 * The PF's driver guarantees that. If this is the PF's driver, and not the VF's, an
 * opening by group has an interval that it cannot see, before the VF counts as being
 * opened. A patched core guarantees it for every driver.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define ROUNDS		20
#define MAX_ROUNDS	300
#define MIN_HITS	3

/* What the PF's driver guarantees for VFs under the VF's driver. */
enum promise {
	NOTHING,
	NOT_WHILE_ENABLED,	/* the token does not change once the VF is being enabled */
	NEVER,			/* nor between the check of the token and that */
};

FIXTURE(race) {
	const char *pf;
	char vf[BDF_LEN];
};

FIXTURE_VARIANT(race) {
	const char *pf_driver, *vf_driver;
	enum path path;
	enum promise promise;
	/* The VF is opened without a token: it is admitted. */
	bool admitted;
};

FIXTURE_VARIANT_ADD(race, c_group) { C_DRIVER, C_DRIVER, PATH_GROUP, NOTHING };
FIXTURE_VARIANT_ADD(race, c_cdev) { C_DRIVER, C_DRIVER, PATH_CDEV, NOTHING };
FIXTURE_VARIANT_ADD(race, rust_group) { DRIVER, DRIVER, PATH_GROUP, NEVER };
FIXTURE_VARIANT_ADD(race, rust_cdev) { DRIVER, DRIVER, PATH_CDEV, NEVER };
FIXTURE_VARIANT_ADD(race, admitted_group) { DRIVER, DRIVER, PATH_GROUP, NEVER, true };
FIXTURE_VARIANT_ADD(race, admitted_cdev) { DRIVER, DRIVER, PATH_CDEV, NEVER, true };
FIXTURE_VARIANT_ADD(race, vf_c_group) { DRIVER, C_DRIVER, PATH_GROUP, NOT_WHILE_ENABLED };
FIXTURE_VARIANT_ADD(race, vf_c_cdev) { DRIVER, C_DRIVER, PATH_CDEV, NEVER };
FIXTURE_VARIANT_ADD(race, pf_c_group) { C_DRIVER, DRIVER, PATH_GROUP, NOTHING };
FIXTURE_VARIANT_ADD(race, pf_c_cdev) { C_DRIVER, DRIVER, PATH_CDEV, NOTHING };

FIXTURE_SETUP(race)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);

	if (!problem)
		problem = setup_c_driver();
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, ensure_pf(self->pf, variant->pf_driver, 1));
	reset_vfs_by_flr_alone(self->pf);
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, bind_driver(self->vf, variant->vf_driver));
}

FIXTURE_TEARDOWN(race)
{
}

/* How the token is changed: by SET on the open PF, or by opening the PF. */
enum way { BY_SET, BY_OPENING };

/* The opening of the VF, and the change of the token. */
struct race {
	const char *pf, *vf;
	enum path path;
	const uint8_t *token;	/* what the VF is opened with */
	enum way way;
	struct device pf_device;	/* open, or about to be */
	pthread_barrier_t start;
	int64_t delay;		/* of the change, in ns; if negative, of the opening */
	int retries;		/* of a SET that is refused, at once */
	int enabled;		/* the file with the enable count of the VF */
	bool vf_was_enabled;	/* when the change began */
	int answer;		/* to the change */
	int64_t end;		/* of the change */
};

/* Both begin together, apart from the delay. */
static void begin(struct race *race, int64_t delay)
{
	struct timespec at;
	int64_t end;

	pthread_barrier_wait(&race->start);
	if (delay <= 0)
		return;
	end = now(CLOCK_MONOTONIC) + delay;
	at = (struct timespec){ end / NSEC_PER_SEC, end % NSEC_PER_SEC };
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

static void *change_token(void *argument)
{
	struct race *race = argument;
	char count = '0';
	int tries = 0;

	begin(race, race->delay);
	(void)!pread(race->enabled, &count, 1, 0);
	race->vf_was_enabled = count != '0';
	do {
		if (race->way == BY_SET)
			race->answer = set_token(race->pf_device.fd, token_b);
		else
			race->answer = present_token(&race->pf_device, race->pf, race->path,
						     token_b);
	} while (race->answer == -EBUSY && ++tries <= race->retries);
	race->end = now(CLOCK_MONOTONIC);
	return NULL;
}

/* The outcome of one round, or of many. */
struct outcome {
	int opened, changed, both, neither;
	/* Openings that succeeded although the token had changed before they ended. */
	int stale;
	/* Of these, those in which the VF was already being enabled. */
	int late;
	/* Changes that were refused because the VF was being enabled. */
	int kept;
};

/* Sets token_a, and prepares the change of it. */
static int prepare_change(struct race *race)
{
	int ret;

	if (race->way == BY_SET)
		return set_token(race->pf_device.fd, token_a);
	ret = try_open(race->pf, race->path, token_a);
	return ret ? ret : prepare_device(&race->pf_device, race->pf, race->path);
}

/* The VF is opened with the token, and another one is set @delay nanoseconds later. */
static int run_round(struct race *race, int64_t delay, struct outcome *sum,
		     struct outcome *this)
{
	struct device device;
	pthread_t thread;
	int answer, ret;
	int64_t end;

	race->delay = delay;
	ret = prepare_change(race);
	/* An admission ends when the token changes. */
	if (!ret && !race->token)
		ret = admit(race->vf, token_a);
	if (!ret)
		ret = prepare_device(&device, race->vf, race->path);
	if (!ret)
		ret = -pthread_barrier_init(&race->start, NULL, 2);
	/* On the opener's processor, so that it preempts the opener after the delay. */
	if (!ret)
		ret = start_urgent(&thread, 1, sched_getcpu(), change_token, race);
	if (ret)
		return ret;

	begin(race, -delay);
	answer = present_token(&device, race->vf, race->path, race->token);
	end = now(CLOCK_MONOTONIC);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&race->start);
	close_device(&device);
	if (race->way == BY_OPENING)
		close_device(&race->pf_device);

	if (answer && answer != -EACCES)
		return answer;
	if (race->answer && race->answer != (race->way == BY_SET ? -EBUSY : -EACCES))
		return race->answer;
	*this = (struct outcome) {
		.opened = !answer,
		.changed = !race->answer,
		.both = !answer && !race->answer,
		.neither = answer && race->answer,
	};
	/* While a VF is open, no driver opens the PF with another token. */
	this->stale = this->both && (race->way == BY_OPENING || race->end < end);
	this->late = this->stale && race->vf_was_enabled;
	this->kept = !answer && race->answer && race->vf_was_enabled && race->end < end;
	sum->opened += this->opened;
	sum->changed += this->changed;
	sum->both += this->both;
	sum->neither += this->neither;
	sum->stale += this->stale;
	sum->late += this->late;
	sum->kept += this->kept;
	return 0;
}

static int start_race(struct race *race)
{
	char path[PATH_MAX];
	cpu_set_t processor;

	race->pf_device = (struct device)DEVICE_CLOSED;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/enable", race->vf);
	race->enabled = open(path, O_RDONLY);
	if (race->enabled < 0)
		return -errno;
	CPU_ZERO(&processor);
	CPU_SET(sched_getcpu(), &processor);
	return sched_setaffinity(0, sizeof(processor), &processor) ? -errno : 0;
}

static int time_opening(const char *bdf, enum path path, int64_t *duration)
{
	int ret;

	*duration = now(CLOCK_MONOTONIC);
	ret = try_open(bdf, path, token_a);
	*duration = now(CLOCK_MONOTONIC) - *duration;
	return ret;
}

/*
 * Rounds with delays from zero to the time that an opening of the VF takes. An opening
 * of the PF takes long, too, so it also starts before that of the VF, by up to twice
 * its own time.
 */
static int run_rounds(struct race *race, int64_t *duration, struct outcome *sum)
{
	int64_t pf_duration = 0;
	struct outcome this;
	int i, ret = 0;

	if (race->way == BY_OPENING)
		ret = time_opening(race->pf, race->path, &pf_duration);
	if (!ret)
		ret = time_opening(race->vf, race->path, duration);
	for (i = 0; !ret && i < ROUNDS; i++) {
		double part = (double)i / ROUNDS;
		double cube;

		if (race->way == BY_OPENING)
			part = 2 * part - 1;
		cube = part * part * part;
		ret = run_round(race, (cube < 0 ? 2 * pf_duration : *duration) * cube, sum,
				&this);
	}
	return ret;
}

static void tell(const char *way, const char *pf, const char *vf, int rounds,
		 const struct outcome *sum)
{
	ksft_print_msg("%s, PF %s, VF %s: %d rounds, VF opened in %d, token changed in %d\n",
		       way, pf, vf, rounds, sum->opened, sum->changed);
	ksft_print_msg("stale in %d, with the VF being enabled already in %d\n",
		       sum->stale, sum->late);
}

static enum promise with_core(enum promise promise)
{
	return core_keeps_token() ? NEVER : promise;
}

/*
 * Whether there is a decisive moment. If this driver has the PF and not the VF, it
 * locks the VF instead.
 */
static bool moment_decides(const char *pf_driver, const char *vf_driver)
{
	return strcmp(pf_driver, DRIVER) ? core_keeps_token() : !strcmp(vf_driver, DRIVER);
}

static void judge(struct __test_metadata *_metadata, enum promise promise,
		  const struct outcome *sum)
{
	switch (promise) {
	case NEVER:
		EXPECT_EQ(0, sum->both);
		EXPECT_EQ(0, sum->stale);
		EXPECT_EQ(0, sum->neither);
		break;
	case NOT_WHILE_ENABLED:
		EXPECT_EQ(0, sum->late);
		break;
	case NOTHING:
		/* The test can find what it looks for. */
		EXPECT_LT(0, sum->stale);
		break;
	}
	/* Each of them was first at least once. */
	EXPECT_LT(0, sum->opened);
	EXPECT_LT(0, sum->changed);
}

TEST_F_TIMEOUT(race, set_while_a_vf_is_opened, 600)
{
	const char * const changed[] = { "VF token changed", self->vf, self->pf, NULL };
	struct race race = {
		.pf = self->pf, .vf = self->vf, .path = variant->path, .way = BY_SET,
		.token = variant->admitted ? NULL : token_a,
	};
	struct outcome sum = {}, this;
	int64_t duration, delay, step;
	int log = open_log(), rounds = ROUNDS, hits = 0;
	bool changed_before = false;
	bool has_moment = moment_decides(variant->pf_driver, variant->vf_driver);
	enum promise promise = with_core(variant->promise);

	/* A refusal does not let the next one through. The log is needed for the moment. */
	race.retries = has_moment ? 0 : 4;
	ASSERT_LE(0, log);
	ASSERT_EQ(0, start_race(&race));
	ASSERT_EQ(0, open_device(&race.pf_device, self->pf, any_path(), NULL));
	ASSERT_EQ(0, set_token(race.pf_device.fd, token_a));
	ASSERT_EQ(0, run_rounds(&race, &duration, &sum));

	/*
	 * Narrow down the decisive moment: the token has been checked, and the VF does
	 * not count as open yet. The driver logs when it was hit. A driver that has
	 * granted both requests has no such moment, and the test fails.
	 */
	delay = duration / 2;
	step = duration / 4;
	while (has_moment && !sum.both && hits < MIN_HITS && rounds < MAX_ROUNDS) {
		ASSERT_EQ(0, run_round(&race, delay, &sum, &this));
		delay += this.changed ? step : -step;
		/*
		 * Halve the step when the moment has been passed, and double it when not: if a
		 * busy host stopped this machine, the answer was misleading. The moment itself
		 * moves a little, so the search does not end.
		 */
		step = this.changed == changed_before ? step * 2 : step / 2;
		if (step < 2000)
			step = 1000 + 997 * (rounds % 16);
		if (step > duration / 4)
			step = duration / 4;
		changed_before = this.changed;
		hits += log_has(log, changed);
		rounds++;
	}

	tell("SET", variant->pf_driver, variant->vf_driver, rounds, &sum);
	judge(_metadata, promise, &sum);
	if (has_moment) {
		ksft_print_msg("refused %d times for a token that had changed\n", hits);
		EXPECT_LT(0, hits);
	} else if (promise != NOTHING) {
		ksft_print_msg("%d SETs refused for a VF that was being enabled\n", sum.kept);
		EXPECT_LT(0, sum.kept);
	}
	close_device(&race.pf_device);
	close(race.enabled);
	close(log);
}

TEST_F_TIMEOUT(race, opening_the_pf_while_a_vf_is_opened, 600)
{
	struct race race = {
		.pf = self->pf, .vf = self->vf, .path = variant->path, .way = BY_OPENING,
		.token = variant->admitted ? NULL : token_a,
	};
	struct outcome sum = {};
	int64_t duration;

	ASSERT_EQ(0, start_race(&race));
	ASSERT_EQ(0, run_rounds(&race, &duration, &sum));
	tell("PF opened", variant->pf_driver, variant->vf_driver, ROUNDS, &sum);
	judge(_metadata, with_core(variant->promise), &sum);
	close(race.enabled);
}

TEST_HARNESS_MAIN
