// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VF is opened with the token while the user of the PF sets another one. In
 * each round the two start at the same time, but for a delay of the one. Who is
 * first wins, and the other is refused: a VF that is open was opened with the
 * token that is set.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define ROUNDS		40
#define MAX_ROUNDS	300
#define MIN_HITS	3

FIXTURE(race) {
	const char *pf;
	char vf[BDF_LEN];
	struct device pf_device;
};

FIXTURE_VARIANT(race) {
	const char *driver;
	enum path path;
	bool keeps_the_promise;
};

FIXTURE_VARIANT_ADD(race, c_group) { C_DRIVER, PATH_GROUP, false };
FIXTURE_VARIANT_ADD(race, c_cdev) { C_DRIVER, PATH_CDEV, false };
FIXTURE_VARIANT_ADD(race, rust_group) { DRIVER, PATH_GROUP, true };
FIXTURE_VARIANT_ADD(race, rust_cdev) { DRIVER, PATH_CDEV, true };

FIXTURE_SETUP(race)
{
	const char *problem = setup_path(variant->path) ?: setup_pf(&self->pf);

	self->pf_device = (struct device)DEVICE_CLOSED;
	if (!problem)
		problem = setup_c_driver();
	if (problem)
		SKIP(return, "%s", problem);
	ASSERT_EQ(0, ensure_pf(self->pf, variant->driver, 1));
	ASSERT_EQ(0, vf_bdf(self->pf, 0, self->vf));
	ASSERT_EQ(0, open_device(&self->pf_device, self->pf, any_path(), NULL));
}

FIXTURE_TEARDOWN(race)
{
	close_device(&self->pf_device);
}

struct setter {
	pthread_barrier_t start;
	int pf;
	int64_t delay;	/* nanoseconds */
	int answer;
	int64_t end;
};

static void *run_setter(void *argument)
{
	struct setter *setter = argument;
	struct timespec at;
	int64_t end;

	pthread_barrier_wait(&setter->start);
	end = now(CLOCK_MONOTONIC) + setter->delay;
	at = (struct timespec){ end / NSEC_PER_SEC, end % NSEC_PER_SEC };
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
	setter->answer = set_token(setter->pf, token_b);
	setter->end = now(CLOCK_MONOTONIC);
	return NULL;
}

/* What came of one round, or of many. */
struct outcome {
	int opened, set, both, stale, neither;
};

/* The VF is opened with the token, and another one is set @delay nanoseconds later. */
static int run_round(const char *vf, enum path path, int pf, int64_t delay,
		     struct outcome *sum, struct outcome *this)
{
	struct setter setter = { .pf = pf, .delay = delay };
	struct device device;
	pthread_t thread;
	int answer, ret;
	int64_t end;

	ret = set_token(pf, token_a);
	if (!ret)
		ret = prepare_device(&device, vf, path);
	if (!ret)
		ret = -pthread_barrier_init(&setter.start, NULL, 2);
	/* On the opener's processor: it stops the opener when the delay is over. */
	if (!ret)
		ret = start_urgent(&thread, 1, sched_getcpu(), run_setter, &setter);
	if (ret)
		return ret;

	pthread_barrier_wait(&setter.start);
	answer = present_token(&device, vf, path, token_a);
	end = now(CLOCK_MONOTONIC);
	pthread_join(thread, NULL);
	pthread_barrier_destroy(&setter.start);
	close_device(&device);

	if ((answer && answer != -EACCES) || (setter.answer && setter.answer != -EBUSY))
		return answer ? answer : setter.answer;
	*this = (struct outcome) {
		.opened = !answer,
		.set = !setter.answer,
		.both = !answer && !setter.answer,
		/* The token was another one before the opening was done. */
		.stale = !answer && !setter.answer && setter.end < end,
		.neither = answer && setter.answer,
	};
	sum->opened += this->opened;
	sum->set += this->set;
	sum->both += this->both;
	sum->stale += this->stale;
	sum->neither += this->neither;
	return 0;
}

TEST_F_TIMEOUT(race, an_open_vf_was_opened_with_the_token_that_is_set, 600)
{
	const char * const changed[] = { "VF token changed", self->vf, self->pf, NULL };
	struct outcome sum = {}, this;
	int64_t duration, delay, step;
	int log = open_log(), rounds, hits = 0;
	cpu_set_t processor;

	CPU_ZERO(&processor);
	CPU_SET(sched_getcpu(), &processor);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(processor), &processor));

	ASSERT_LE(0, log);
	ASSERT_EQ(0, set_token(self->pf_device.fd, token_a));
	duration = now(CLOCK_MONOTONIC);
	ASSERT_EQ(0, try_open(self->vf, variant->path, token_a));
	duration = now(CLOCK_MONOTONIC) - duration;

	/* From right at the start to when the VF is open for sure. */
	for (rounds = 0; rounds < ROUNDS; rounds++) {
		double part = (double)rounds / ROUNDS;

		ASSERT_EQ(0, run_round(self->vf, variant->path, self->pf_device.fd,
				       duration * part * part * part, &sum, &this));
	}

	/*
	 * Close in on the moment that decides: the token is checked already, and
	 * the VF does not count as open yet. The driver says that it was hit.
	 */
	delay = duration / 2;
	step = duration / 4;
	while (variant->keeps_the_promise && hits < MIN_HITS && rounds < MAX_ROUNDS) {
		ASSERT_EQ(0, run_round(self->vf, variant->path, self->pf_device.fd,
				       delay, &sum, &this));
		delay += this.set ? step : -step;
		if (delay < 0)
			delay = 0;
		/* The moment itself moves a little: the steps do not end. */
		step = step > 2000 ? step / 2 : 1000 + 997 * (rounds % 16);
		hits += log_has(log, changed);
		rounds++;
	}

	ksft_print_msg("%s: %d rounds, opened in %d, set in %d, both in %d, stale in %d\n",
		       variant->driver, rounds, sum.opened, sum.set, sum.both, sum.stale);
	if (variant->keeps_the_promise)
		ksft_print_msg("%s: refused %d times for a token that had changed\n",
			       variant->driver, hits);
	if (variant->keeps_the_promise) {
		EXPECT_EQ(0, sum.both);
		EXPECT_EQ(0, sum.stale);
		EXPECT_EQ(0, sum.neither);
		EXPECT_LT(0, hits);
	} else {
		/* This test can see what it looks for. */
		EXPECT_LT(0, sum.stale);
	}
	/* Each of them was first at least once. */
	EXPECT_LT(0, sum.opened);
	EXPECT_LT(0, sum.set);
}

TEST_HARNESS_MAIN
