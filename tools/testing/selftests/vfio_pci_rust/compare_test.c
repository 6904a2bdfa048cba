// SPDX-License-Identifier: GPL-2.0-only
/*
 * vfio-pci-rust compared with vfio-pci: the same requests to both drivers, without
 * and with lenient_token. The answers are equal, except for those that
 * deviations.csv lists.
 */
#include <errno.h>
#include <limits.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../kselftest_harness.h"
#include "lib.h"

#define OPERATIONS	8	/* of GET, SET and PROBE */
#define INDICES		65536
#define MAX_ANSWERS	(INDICES * OPERATIONS + 100000)

/* The device that gets the requests, and its situation. */
struct situation {
	const char *name;
	enum { PF, VF, PLAIN } function;
	int vfs;		/* how many the PF has */
	const uint8_t *vf_open;	/* the token with which a VF of the PF is open, or NULL */
	bool all_indices;
	const char *deviation;	/* the deviation that a SET of the token shows, or NULL */
};

/* The data of a SET. */
static const uint8_t zeroes[UUID_LEN];

static const struct situation situations[] = {
	{ "PF with VFs", PF, 1, NULL, true, NULL },
	{ "PF without VFs", PF, 0, NULL, false, "set-without-vfs" },
	{ "PF with an open VF", PF, 1, token_a, false, "set-with-open-vf" },
	{ "PF with an open VF, same token", PF, 1, zeroes, false, "set-same-with-open-vf" },
	{ "VF", VF, 1, NULL, true, NULL },
	{ "function without SR-IOV", PLAIN, 0, NULL, true, NULL },
};

/* A line of deviations.csv: the answers as errno. */
struct deviation {
	char name[64];
	int c, rust, lenient;
	bool seen;
};

/* A request, to be named when the answers differ. */
struct request {
	uint32_t flags;
	uint32_t argsz;
	int32_t offset;		/* from the end of the mapped memory */
	int16_t answer;
};

struct record {
	struct request *requests;
	size_t count;
};

/* The devices, memory and records of a test. */
struct setup {
	const char *pf, *plain;
	char vf[BDF_LEN];
	struct record records[2];
	struct deviation deviations[16];
	int deviation_count;
	char *end;		/* of the mapped memory */
};

FIXTURE(compare) {
	struct setup setup;
};

static int errno_of(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} known[] = {
		{ "OK", 0 }, { "EACCES", EACCES }, { "EBUSY", EBUSY },
		{ "EINVAL", EINVAL }, { "ENODEV", ENODEV }, { "ENOTTY", ENOTTY },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(known); i++)
		if (!strcmp(known[i].name, name))
			return known[i].number;
	return -1;
}

/* Reads "case";"request";"vfio-pci";"vfio-pci-rust";"lenient_token=Y";"why". */
static int read_deviations(struct deviation *deviations, int max)
{
	char path[PATH_MAX], line[1024], c[16], rust[16], lenient[16];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 32);
	int count = 0;
	FILE *file;

	if (len < 0)
		return 0;
	path[len] = 0;
	strcat(dirname(path), "/deviations.csv");
	file = fopen(path, "r");
	if (!file)
		return 0;
	/* Skip the first line, which has the titles. */
	if (!fgets(line, sizeof(line), file))
		line[0] = 0;
	while (count < max && fgets(line, sizeof(line), file)) {
		static const char format[] =
			"\"%63[^\"]\";\"%*[^\"]\";\"%15[^\"]\";\"%15[^\"]\";\"%15[^\"]\"";
		int n = sscanf(line, format,
			       deviations[count].name, c, rust, lenient);

		deviations[count].c = errno_of(c);
		deviations[count].rust = errno_of(rust);
		deviations[count].lenient = errno_of(lenient);
		if (n != 4 || deviations[count].c < 0 || deviations[count].rust < 0 ||
		    deviations[count].lenient < 0)
			break;
		count++;
	}
	if (!feof(file))
		count = 0;
	fclose(file);
	return count;
}

FIXTURE_SETUP(compare)
{
	struct setup *setup = &self->setup;
	const char *problem = setup_pf(&setup->pf);
	long page = sysconf(_SC_PAGESIZE);
	char *pages;
	int i;

	if (!problem)
		problem = setup_c_driver();
	if (!problem)
		problem = setup_plain(&setup->plain);
	if (problem)
		SKIP(return, "%s", problem);

	setup->deviation_count = read_deviations(setup->deviations,
						 ARRAY_SIZE(setup->deviations));
	ASSERT_LT(0, setup->deviation_count);
	for (i = 0; i < 2; i++) {
		setup->records[i].requests = malloc(MAX_ANSWERS * sizeof(struct request));
		ASSERT_NE(NULL, setup->records[i].requests);
	}
	pages = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, pages);
	setup->end = pages + 2 * page;
	ASSERT_EQ(0, munmap(setup->end, page));
}

FIXTURE_TEARDOWN(compare)
{
	struct setup *setup = &self->setup;

	set_parameter(DRIVER, "lenient_token", "N");
	free(setup->records[0].requests);
	free(setup->records[1].requests);
}

/* Makes a request that starts @offset bytes before the end of the mapped memory. */
static void ask(struct record *record, int fd, char *end, int offset,
		uint32_t flags, uint32_t argsz)
{
	struct vfio_device_feature header = { .argsz = argsz, .flags = flags };
	struct request *request = &record->requests[record->count];
	size_t there = offset < 0 ? 0 : offset;

	if (record->count == MAX_ANSWERS)
		return;
	record->count++;
	if (there > sizeof(header))
		memset(end - offset + sizeof(header), 0, there - sizeof(header));
	memcpy(end - offset, &header, there < sizeof(header) ? there : sizeof(header));
	*request = (struct request) {
		.flags = flags, .argsz = argsz, .offset = offset,
		.answer = ioctl(fd, VFIO_DEVICE_FEATURE, end - offset) ? errno : 0,
	};
}

static void ask_everything(struct record *record, int fd, char *end, bool all_indices)
{
	static const uint32_t indices[] = {
		0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
		15, 16, 0x7fff, 0x8000, 0xfffe, 0xffff
	};
	static const uint32_t huge[] = { 4096, 1u << 31, UINT_MAX - 8, UINT_MAX };
	/* All indices, or fewer on a slow kernel. */
	uint32_t count = all_indices ? env_number("VFIO_PCI_RUST_INDICES", INDICES) : 0;
	uint32_t operation, index, argsz;
	size_t i, j;
	int bit, offset;

	for (operation = 0; operation < OPERATIONS; operation++) {
		uint32_t flags = operation << 16;

		for (index = 0; index < count; index++)
			ask(record, fd, end, 128, flags | index, 72);

		for (i = 0; i < ARRAY_SIZE(indices); i++) {
			flags = operation << 16 | indices[i];
			for (bit = 19; bit < 32; bit++)
				ask(record, fd, end, 128, flags | 1u << bit, 72);
			for (argsz = 0; argsz <= 64; argsz++)
				ask(record, fd, end, 128, flags, argsz);
			for (j = 0; j < ARRAY_SIZE(huge); j++)
				ask(record, fd, end, 128, flags, huge[j]);
			/* Not mapped, half mapped, not aligned. */
			for (offset = 0; offset <= 40; offset++)
				ask(record, fd, end, offset, flags, 40);
			ask(record, fd, end, -4096, flags, 40);
		}
	}
}

/* Whether the request is a valid SET of the token. */
static bool sets_token(const struct request *request)
{
	return request->flags == (VFIO_DEVICE_FEATURE_SET |
				  VFIO_DEVICE_FEATURE_PCI_VF_TOKEN) &&
	       request->argsz >= VFIO_PCI_RUST_TOKEN_ARGSZ &&
	       request->offset >= (int)VFIO_PCI_RUST_TOKEN_ARGSZ;
}

static struct deviation *find_deviation(struct setup *setup, const char *name)
{
	int i;

	for (i = 0; name && i < setup->deviation_count; i++)
		if (!strcmp(setup->deviations[i].name, name))
			return &setup->deviations[i];
	return NULL;
}

/* Makes all requests to one of the drivers. */
static int ask_driver(struct setup *setup, const struct situation *situation,
		      const char *driver, struct record *record)
{
	struct device asked = DEVICE_CLOSED, vf = DEVICE_CLOSED;
	const uint8_t *token = NULL;
	const char *bdf = setup->pf;
	int ret;

	record->count = 0;
	if (situation->function == PLAIN) {
		bdf = setup->plain;
		ret = bind_driver(bdf, driver);
	} else {
		ret = ensure_pf(setup->pf, driver, situation->vfs);
		/* Opening the PF is a way to set the token with both drivers. */
		token = situation->vf_open ?: token_a;
		if (!ret)
			ret = try_open(setup->pf, any_path(), token);
		if (!ret && situation->vfs)
			ret = vf_bdf(setup->pf, 0, setup->vf);
		if (!ret && situation->vf_open)
			ret = open_device(&vf, setup->vf, any_path(), token);
		if (situation->function == VF)
			bdf = setup->vf;
		if (situation->function != VF && !situation->vf_open)
			token = NULL;
	}
	if (!ret)
		ret = open_device(&asked, bdf, any_path(), token);
	if (!ret)
		ask_everything(record, asked.fd, setup->end, situation->all_indices);
	close_device(&asked);
	close_device(&vf);
	if (situation->function == PLAIN)
		bind_driver(bdf, NULL);
	return ret;
}

static void compare_answers(struct __test_metadata *_metadata, struct setup *setup, bool lenient)
{
	size_t s, i;

	for (s = 0; s < ARRAY_SIZE(situations); s++) {
		struct situation here = situations[s], *situation = &here;
		struct deviation *deviation = find_deviation(setup, here.deviation);
		struct record *c = &setup->records[0], *rust = &setup->records[1];
		size_t deviating = 0;

		/* The parameter concerns only the token. */
		here.all_indices &= !lenient;
		ASSERT_EQ(0, ask_driver(setup, situation, C_DRIVER, c));
		ASSERT_EQ(0, ask_driver(setup, situation, DRIVER, rust));
		ASSERT_EQ(c->count, rust->count);
		ASSERT_GT(MAX_ANSWERS, c->count);

		for (i = 0; i < c->count; i++) {
			const struct request *request = &c->requests[i];
			int by_c = request->answer, by_rust = rust->requests[i].answer;

			if (deviation && sets_token(request)) {
				ASSERT_EQ(deviation->c, by_c);
				ASSERT_EQ(lenient ? deviation->lenient : deviation->rust, by_rust);
				deviation->seen = true;
				deviating++;
				continue;
			}
			ASSERT_EQ(by_c, by_rust) {
				TH_LOG("%s: flags %#x, argsz %u, %d bytes there",
				       situation->name, request->flags, request->argsz,
				       request->offset);
			}
		}
		ksft_print_msg("%s: %zu requests, %zu answers deviate (%s)\n",
			       situation->name, c->count, deviating,
			       deviation ? deviation->name : "none should");
	}
}

TEST_F_TIMEOUT(compare, answers_are_the_same_but_for_the_deviations, 600)
{
	struct setup *setup = &self->setup;
	size_t i;

	compare_answers(_metadata, setup, false);
	/* The other deviations are openings: one is tested below, one in race_test. */
	for (i = 0; i < (size_t)setup->deviation_count; i++) {
		const char *name = setup->deviations[i].name;
		bool is_opening = !strcmp(name, "second-open") || !strcmp(name, "stale-open");

		EXPECT_EQ(!is_opening, setup->deviations[i].seen) {
			TH_LOG("deviation %s", name);
		}
	}
}

TEST_F_TIMEOUT(compare, lenient_answers_are_the_same_but_for_the_deviations, 600)
{
	ASSERT_EQ(0, set_parameter(DRIVER, "lenient_token", "Y"));
	compare_answers(_metadata, &self->setup, true);
}

/* A PF user opens the PF once more, by group. */
TEST_F(compare, second_openings_are_answered_as_listed)
{
	const uint8_t * const tokens[] = { NULL, token_a, token_b };
	struct setup *setup = &self->setup;
	const char * const drivers[] = { C_DRIVER, DRIVER };
	const struct deviation *deviation = find_deviation(setup, "second-open");
	int d, i;

	ASSERT_NE(NULL, deviation);
	for (d = 0; d < 2; d++) {
		struct device pf;
		char name[128];

		ASSERT_EQ(0, ensure_pf(setup->pf, drivers[d], 0));
		ASSERT_EQ(0, open_device(&pf, setup->pf, PATH_GROUP, token_a));
		for (i = 0; i < 3; i++) {
			int fd, answer;

			device_name(name, setup->pf, tokens[i]);
			fd = ioctl(pf.group, VFIO_GROUP_GET_DEVICE_FD, name);
			answer = fd < 0 ? errno : 0;
			if (fd >= 0)
				close(fd);
			EXPECT_EQ(i < 2 ? 0 : d ? deviation->rust : deviation->c, answer) {
				TH_LOG("%s, token %d", drivers[d], i);
			}
		}
		close_device(&pf);
	}
}

/* Openings with every token, in every situation. */
TEST_F_TIMEOUT(compare, openings_are_answered_the_same, 600)
{
	struct setup *setup = &self->setup;
	const char * const drivers[] = { C_DRIVER, DRIVER };
	const uint8_t * const tokens[] = { NULL, token_a, token_b };
	int answers[2][64], counts[2] = { 0, 0 };
	int d, i, path;

	for (d = 0; d < 2; d++) {
		struct device vf;

		for (path = PATH_GROUP; path <= any_path(); path++) {
			ASSERT_EQ(0, ensure_pf(setup->pf, drivers[d], 2));
			ASSERT_EQ(0, vf_bdf(setup->pf, 0, setup->vf));
			ASSERT_EQ(0, try_open(setup->pf, path, token_a));
			for (i = 0; i < 3; i++)
				answers[d][counts[d]++] = try_open(setup->vf, path, tokens[i]);
			ASSERT_EQ(0, open_device(&vf, setup->vf, path, token_a));
			for (i = 0; i < 3; i++)
				answers[d][counts[d]++] = try_open(setup->pf, path, tokens[i]);
			close_device(&vf);
			for (i = 2; i >= 0; i--) {
				answers[d][counts[d]++] = try_open(setup->pf, path, tokens[i]);
				answers[d][counts[d]++] = try_open(setup->vf, path, token_b);
			}
			ASSERT_EQ(0, bind_driver(setup->plain, drivers[d]));
			for (i = 0; i < 3; i++)
				answers[d][counts[d]++] = try_open(setup->plain, path, tokens[i]);
			ASSERT_EQ(0, bind_driver(setup->plain, NULL));
		}
	}
	ASSERT_EQ(counts[0], counts[1]);
	for (i = 0; i < counts[0]; i++)
		EXPECT_EQ(answers[0][i], answers[1][i]) {
			TH_LOG("opening %d: %d and %d", i, answers[0][i], answers[1][i]);
		}
}

/* The text after the address, which the core parses for vfio-pci. */
TEST_F_TIMEOUT(compare, names_are_answered_the_same, 600)
{
	struct setup *setup = &self->setup;
	static const char * const texts[] = {
		"", " ", "x", " vf_token", " vf_token=", " vf_token=1",
		" vf_token=zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz",
		" vf_token=1b4e28ba-2fa1-41d2-883f-0016d3cca427",
		"   vf_token=1b4e28ba-2fa1-41d2-883f-0016d3cca427  ",
		" vf_token=1b4e28ba-2fa1-41d2-883f-0016d3cca427x",
		" vf_token=1b4e28ba-2fa1-41d2-883f-0016d3cca427 vf_token=1b4e28ba-2fa1-41d2-883f-0016d3cca427",
		" vf_token=1B4E28BA-2FA1-41D2-883F-0016D3CCA427",
		" other=1",
	};
	const char * const drivers[] = { C_DRIVER, DRIVER };
	const char * const words[] = { setup->vf, "not a VF token", NULL };
	int answers[2][ARRAY_SIZE(texts)];
	int log = open_log();
	char name[256];
	size_t i;
	int d;

	for (d = 0; d < 2; d++) {
		ASSERT_EQ(0, ensure_pf(setup->pf, drivers[d], 1));
		ASSERT_EQ(0, try_open(setup->pf, PATH_GROUP, token_a));
		ASSERT_EQ(0, vf_bdf(setup->pf, 0, setup->vf));
		for (i = 0; i < ARRAY_SIZE(texts); i++) {
			struct device device;

			snprintf(name, sizeof(name), "%s%s", setup->vf, texts[i]);
			answers[d][i] = open_named(&device, setup->vf, name);
			close_device(&device);
		}
	}
	for (i = 0; i < ARRAY_SIZE(texts); i++)
		EXPECT_EQ(answers[0][i], answers[1][i]) {
			TH_LOG("text %zu after the address", i);
		}
	/* This driver logs what is wrong. */
	EXPECT_TRUE(log_has(log, words));
	close(log);
	/* The names have led to different answers. */
	EXPECT_EQ(-EACCES, answers[1][0]);
	EXPECT_EQ(-EINVAL, answers[1][5]);
	EXPECT_EQ(0, answers[1][7]);
}

TEST_HARNESS_MAIN
