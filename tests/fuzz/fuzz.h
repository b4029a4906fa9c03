/* Mutated input for every reader of what comes from outside, in this process, under sanitizers.
 *
 * A case is a function of (reader, seed, number): what failed is printed with the three and kept as a file,
 * and `--reader R --seed S --from N --cases 1` does it again. */
#ifndef FUZZ_H
#define FUZZ_H

#include "tw/num.h"
#include "tw/spec.h"

struct fuzz_reader {
    const char *name;
    /* data has a NUL behind it; a holds what the case allocates. */
    void (*read)(struct tw_arena *a, const char *data, size_t len);
    const char *const *seeds; /* ends with NULL */
    const char *const *words; /* of the language, put in where they do not belong; ends with NULL */
    int share;                /* of the cases */
    int (*open)(void);        /* NULL: nothing to open; 0, else it cannot be fuzzed here */
    void (*close)(void);
};
extern const struct fuzz_reader fuzz_readers[];
extern const size_t fuzz_reader_count;

/* One mutated case: a seed, or two, with a few changes; into out. */
void fuzz_mutate(const struct fuzz_reader *r, struct tw_rng *rng, struct tw_buf *out);

/* A server of ours on loopback, spoken to over a socket. */
int fuzz_server_open(void);
void fuzz_server_close(void);
void fuzz_http(struct tw_arena *a, const char *data, size_t len);
void fuzz_websocket(struct tw_arena *a, const char *data, size_t len);
#endif
