/* The daemon taken for an enemy: what the helper accepts, and nothing else. */
#include "helper/helper_internal.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *const verbs[] = {"run", "sync", NULL};
static const char id[] = "0123456789abcdefghijklmnop";

static struct helper_request good(enum helper_verb verb)
{
    struct helper_request rq = {.magic = HELPER_MAGIC, .verb = verb};

    if (verb != HELPER_PING)
        rq.number = 7;
    if (verb == HELPER_WORK) {
        memcpy(rq.what, "run", 3);
        memcpy(rq.id, id, strlen(id));
    }
    return rq;
}

static int check(const struct helper_request *rq, size_t fds)
{
    struct helper_request out;

    return helper_check(rq, sizeof(*rq), fds, verbs, &out, NULL);
}

Test(helper_check, each_verb_is_taken_with_just_what_belongs_to_it)
{
    for (int verb = 0; verb < HELPER_VERB_COUNT; verb++) {
        struct helper_request rq = good((enum helper_verb)verb);
        size_t fds = verb == HELPER_WORK ? 2 : verb == HELPER_HAND ? 1 : 0;

        cr_expect_eq(check(&rq, fds), 0, "verb %d", verb);
        for (size_t n = 0; n < 4; n++)
            cr_expect_eq(check(&rq, n) == 0, n == fds, "verb %d with %zu", verb, n);
    }
}

Test(helper_check, a_packet_of_another_length_is_refused)
{
    char bytes[sizeof(struct helper_request) + 64] = {0};
    struct helper_request rq = good(HELPER_PING), out;

    memcpy(bytes, &rq, sizeof(rq));
    for (size_t len = 0; len < sizeof(bytes); len++)
        cr_expect_eq(helper_check(bytes, len, 0, verbs, &out, NULL) == 0,
                     len == sizeof(rq), "%zu bytes", len);
}

Test(helper_check, a_worker_is_asked_for_by_a_known_verb_and_an_id_of_ours)
{
    static const char *const whats[] = {"", "runs", "ru", "RUN", "../run", "look"};
    static const char *const ids[] = {
        "", "../../../../../../etc/pass", "0123456789abcdefghijklmno",
        "0123456789ABCDEFGHIJKLMNOP", "0123456789abcdefghijklmnopq"};

    for (size_t i = 0; i < TW_COUNT_OF(whats); i++) {
        struct helper_request rq = good(HELPER_WORK);

        memset(rq.what, 0, sizeof(rq.what));
        memcpy(rq.what, whats[i], strlen(whats[i]));
        cr_expect_lt(check(&rq, 2), 0, "'%s'", whats[i]);
    }
    for (size_t i = 0; i < TW_COUNT_OF(ids); i++) {
        struct helper_request rq = good(HELPER_WORK);

        memset(rq.id, 0, sizeof(rq.id));
        memcpy(rq.id, ids[i], strlen(ids[i]));
        cr_expect_lt(check(&rq, 2), 0, "'%s'", ids[i]);
    }
}

/* Every byte has one meaning: there is no bit that may be another and the packet be taken the same,
 * but those of the number, the verb that needs as little, and letters of the id. */
Test(helper_check, a_flipped_bit_outside_the_number_and_the_id_is_refused)
{
    struct helper_request from = good(HELPER_WORK), out;
    unsigned char bytes[sizeof(from)];

    for (size_t bit = 0; bit < 8 * sizeof(from); bit++) {
        size_t at = bit / 8;
        bool free_field = (at >= offsetof(struct helper_request, number) &&
                           at < offsetof(struct helper_request, zero)) ||
                          (at >= offsetof(struct helper_request, id) &&
                           at < offsetof(struct helper_request, id) + strlen(id));

        memcpy(bytes, &from, sizeof(from));
        bytes[at] ^= (unsigned char)(1u << bit % 8);
        if (!free_field)
            cr_expect_lt(helper_check(bytes, sizeof(bytes), 2, verbs, &out, NULL), 0,
                         "bit %zu", bit);
    }
}

Test(helper_check, two_hundred_thousand_mutations_are_refused_or_sound)
{
    uint64_t x = 88172645463325252u;

    for (int i = 0; i < 200000; i++) {
        struct helper_request rq = good((enum helper_verb)(i % HELPER_VERB_COUNT)), out;
        unsigned char *bytes = (unsigned char *)&rq;

        for (int k = 0; k < 1 + i % 4; k++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            bytes[x % sizeof(rq)] = (unsigned char)(x >> 40);
        }
        if (helper_check(&rq, sizeof(rq), x >> 60 & 3, verbs, &out, NULL) < 0)
            continue;
        cr_assert(out.verb < HELPER_VERB_COUNT);
        cr_assert(out.verb != HELPER_WORK || tw_id_valid(out.id));
        cr_assert(out.verb != HELPER_WORK || tw_streq(out.what, "run") ||
                  tw_streq(out.what, "sync"));
    }
}

Test(helper_check, a_job_is_sealed_memory_and_its_output_a_pipe)
{
    int sealed = tw_helper_input("{}", 2), open_memory = memfd_create("open", 0), pair[2];
    int none = tw_helper_input("", 0), file = open("/dev/null", O_RDWR);

    cr_assert(sealed >= 0 && open_memory >= 0 && file >= 0 && pipe(pair) == 0);
    cr_assert_eq(write(open_memory, "{}", 2), 2);
    cr_expect_eq(helper_check_input(sealed, NULL), 0);
    cr_expect_eq(helper_check_output(pair[1], NULL), 0);
    cr_expect_lt(helper_check_input(open_memory, NULL), 0, "it may still change");
    cr_expect_lt(helper_check_input(none, NULL), 0, "it is empty");
    cr_expect_lt(helper_check_input(file, NULL), 0, "it is a device");
    cr_expect_lt(helper_check_output(pair[0], NULL), 0, "the reading end");
    cr_expect_lt(helper_check_output(file, NULL), 0, "no pipe");
    cr_expect_lt(helper_check_output(sealed, NULL), 0, "memory");
    cr_expect_lt(pwrite(sealed, "x", 1, 0), 0, "sealed is sealed");
}
