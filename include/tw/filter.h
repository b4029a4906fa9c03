/* Rule sets of packet filters on the real kernel: loaded in network namespaces of their own, changed there,
 * and real packets sent at them from a neighbour namespace. The host's own rules are never touched.
 *
 * Units   addresses and fields as in tw/flow.h
 * Shapes  a box is one host (its interfaces, its rules) with a prober behind every interface
 * Errors  -EPERM not root; -EINVAL the tool refuses the rules (its own words); -ENOENT no such rule
 * Owns    a box owns its namespaces, which die with it; texts live in the arena given
 * Source  docs/internals/flow.md */
#ifndef TW_FILTER_H
#define TW_FILTER_H

#include "tw/flow.h"
#include "tw/priv.h"
#include "tw/spec.h"

/* A rule set as texts: what nft loads, what iptables-restore and ip6tables-restore do. NULL: none. */
struct tw_filter_text {
    const char *nft, *xt[2];
    const char *name; /* of the file, for errors; NULL: none */
    const char *dir; /* where relative includes are looked for; NULL: nowhere */
};
/* From the files of a snapshot, or of one whose files were changed; tells formats apart itself. */
void tw_filter_text_of(struct tw_arena *a, const struct tw_file *files, size_t count,
                       struct tw_filter_text *ret);

struct tw_filter_box;
int tw_filter_open(struct tw_priv *priv, struct tw_filter_box **ret, struct tw_err *err);
void tw_filter_close(struct tw_filter_box *b); /* NULL is fine */
/* The interfaces that the text names are made, then the rules loaded. */
int tw_filter_load(struct tw_filter_box *b, const struct tw_filter_text *text, struct tw_err *err);
/* What the kernel has now, as a model. */
int tw_filter_read(struct tw_filter_box *b, struct tw_arena *a, const struct tw_flow_rules **ret,
                   struct tw_err *err);
/* A command as tw_flow_add() makes it: "nft insert rule …", "iptables -I …". */
int tw_filter_command(struct tw_filter_box *b, const char *command, struct tw_err *err);
/* A change of rules other than add_rule by fields: remove, replace, move, or add by text or position.
 * keys: those of the request as JSON. What was done, as commands. */
struct tw_filter_commands {
    TW_ARRAY(const char *) list;
};
int tw_filter_edit(struct tw_filter_box *b, struct tw_arena *a, const char *action, const json_t *keys,
                   struct tw_filter_commands *ret, struct tw_err *err);

/* What the kernel tracks where the caller stands: each connection as its first packet was sent. -EPERM: not
 * root. */
struct tw_filter_connection {
    int proto, port;       /* of its destination; 0: the protocol has none */
    const char *from, *to; /* addresses */
};
struct tw_filter_connections {
    TW_ARRAY(struct tw_filter_connection) list;
};
int tw_filter_tracked(struct tw_arena *a, size_t most, struct tw_filter_connections *ret, struct tw_err *err);

/* ---- packets ---- */

struct tw_filter_probe {
    enum tw_flow_path path;
    struct tw_flow_packet packet; /* as it is sent: what cannot be sent as asked is made sendable */
    const char *unsent[TW_ARM_COUNT]; /* why it was not sent; NULL: it was */
    bool expected[TW_ARM_COUNT];  /* (set) */
    bool arrived[TW_ARM_COUNT];
};
struct tw_filter_probes {
    TW_ARRAY(struct tw_filter_probe) list;
};
/* Made sendable and appended, unless there is its like; false: no such packet can be sent. */
bool tw_filter_probe_add(struct tw_arena *a, struct tw_filter_probes *list, enum tw_flow_path path,
                         const struct tw_flow_packet *p);
/* Packets at the boundaries of what the text distinguishes: ports, addresses, interfaces, of each
 * protocol and family, new and established; at most so many. */
void tw_filter_boundaries(struct tw_arena *a, const struct tw_filter_text *text, size_t most,
                          struct tw_filter_probes *list);
/* Sends them all at one box and tells which arrived. */
int tw_filter_send(struct tw_filter_box *b, enum tw_arm arm, struct tw_filter_probes *list,
                   struct tw_err *err);
#endif
