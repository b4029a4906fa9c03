/* What the writers of report share: a view of the simulation in which every fact is phrased once.
 *
 * Texts   redacted and free of control characters (newlines stay); UTF-8; not escaped for any format
 * Owns    everything lives in the view's arena, report_view_free ends it */
#ifndef REPORT_INTERNAL_H
#define REPORT_INTERNAL_H

#include "report/list.h"
#include "tw/report.h"

enum report_tone {
    REPORT_PLAIN,
    REPORT_GOOD,
    REPORT_WARN,
    REPORT_BAD,
    REPORT_MUTED,
    REPORT_TONE_COUNT
};
extern const char *const report_tone_names[REPORT_TONE_COUNT]; /* class names of HTML */

struct report_metric {
    const char *name, *label, *before, *after;
    const char *change;   /* "+12 %", "x 9.6", "unknown" */
    const char *interval; /* "+8 to +16 %", "" */
    const char *verdict, *noise; /* "±2.1 %", "" */
    enum report_tone tone;
    double ratio, low, high; /* NaN unknown */
};
struct report_issue {
    enum tw_severity severity;
    enum report_tone tone;
    const char *code, *title, *evidence, *remedy, *reproduce; /* "" where there is none */
    const char *quote;        /* evidence, or that it is the same as above: for people */
    bool forces;              /* it keeps the change from proceeding */
    const char *file;         /* changed file it is about; NULL */
    const char *setting;      /* changed setting it is about; NULL */
    int line;                 /* in file; 0 unknown */
};
struct report_failure {
    const char *kind, *when, *probability, *evidence;
    enum report_tone tone;
    double at_hours;
    bool forces;
};
struct report_fact {
    const char *label, *text;
};
struct report_statement {
    const char *text, *share, *before, *after, *plan_before, *plan_after;
    enum report_tone tone;
};
/* One curve of the day, a value per bin; NaN where unknown. */
struct report_curve {
    const char *label, *range; /* "p95 before", "0.9 to 2.4 ms" */
    enum tw_arm arm;
    double *values;
};
struct report_day {
    size_t bins;
    double hours;      /* all of it */
    double *from_h;    /* begin of each bin */
    double *rate;
    const char *rate_range;
    struct report_curve p95[TW_ARM_COUNT], busy[TW_ARM_COUNT];
    double *overload[TW_ARM_COUNT]; /* 1 where utilisation is 1 or more */
};
/* A check of CI: passed, or not with message. */
struct report_check {
    const char *group, *name, *message, *detail; /* message "" where it passed */
    bool failed;
};
/* A statement of a schema change as it ran. */
struct report_ddl {
    const char *text, *lock, *relation, *waited, *held, *queued, *rewritten, *wal, *ran; /* "" none */
    enum report_tone tone;
};
#define REPORT_DDL_COLUMNS 8
extern const char *const report_ddl_titles[REPORT_DDL_COLUMNS];
const char *report_ddl_cell(const struct report_ddl *d, int column);
struct report_facts {
    TW_ARRAY(struct report_fact) list;
};
struct report_texts {
    TW_ARRAY(const char *) list;
};

struct report_view {
    struct tw_arena *a;
    const struct tw_simulation *s;
    const char *word;      /* "PROCEED", "REVIEW", "BLOCK", "NO ANSWER", "PLANNED" */
    const char *plain;     /* the same as a sentence's begin: "may proceed" … */
    enum report_tone tone;
    const char *sentence;  /* why, in one */
    struct report_texts also; /* further reasons */
    const char *change;    /* "max_connections = 500, …" */
    const char *where;     /* "pg-demo, environment default (dev)" */
    const char *horizon;   /* "24 h, diurnal" */
    double risk;           /* NaN: none */
    const char *risk_text; /* "52 of 100 (high)" */
    TW_ARRAY(struct tw_risk_part) risk_parts;
    TW_ARRAY(struct report_issue) issues;       /* worst first; twins' differences apart */
    TW_ARRAY(struct report_metric) performance, resources;
    TW_ARRAY(struct report_failure) failures;
    TW_ARRAY(struct report_statement) statements; /* whose plan changed */
    TW_ARRAY(struct report_ddl) ddl;              /* of a schema change, in its order */
    TW_ARRAY(struct report_ddl) safer_ddl;        /* the same, as tried in a safer form */
    struct report_facts ddl_beside;               /* beside open transactions; what was left */
    struct report_facts scale;                    /* what each size carries */
    struct report_texts safer_forms;
    struct report_day day;
    struct report_facts apply, bottleneck, experience, confidence, measured, cost;
    struct report_facts plan; /* only while there is no impact */
    struct report_texts commands, undo, differences, notes;
    const char *safer;     /* NULL */
    const char *as_of;     /* "data as of …", "" */
    TW_ARRAY(struct report_check) checks;
};
struct report_view *report_view_new(const struct tw_simulation *s); /* owned: report_view_free */
void report_view_free(struct report_view *v);

static inline void report_view_free_p(struct report_view **v)
{
    report_view_free(*v);
}
#define report_auto_view __attribute__((cleanup(report_view_free_p))) struct report_view

/* Redacted, control characters gone (newlines stay), surrounding space cut; NULL gives "". */
const char *report_clean(struct tw_arena *a, const char *text);
/* A ratio as people say it: "+12 %", "9.6 times", "1/9.6"; "unknown". */
const char *report_change(struct tw_arena *a, double ratio);
/* "+8 to +16 %", "2.1 to 2.7 times"; "" where nothing is known. */
const char *report_interval(struct tw_arena *a, double low, double high);
/* A value with its unit as in struct tw_effect. */
const char *report_value(struct tw_arena *a, double value, const char *unit);
/* Hours of the horizon: "at once", "after 3.5 h", "after 2.1 days". */
const char *report_when(struct tw_arena *a, double at_h, double low_h, double high_h);
void report_fact(struct tw_arena *a, struct report_facts *facts, const char *label,
                 const char *text); /* an empty or NULL text adds nothing */

/* Parts of report_view_new. */
void report_view_facts(struct report_view *v);
void report_view_schema(struct report_view *v);
void report_view_deployment(struct report_view *v);
void report_view_scale(struct report_view *v);
void report_view_day(struct report_view *v);
void report_view_checks(struct report_view *v);
/* Escapes for XML and HTML text and attributes. */
void report_xml(struct tw_buf *b, const char *text);
/* The HTML report's charts. */
void report_svg_interval(struct tw_buf *b, const struct report_metric *m, double span);
void report_svg_day(struct tw_buf *b, const struct report_view *v);

#define DECLARE(name, summary, media)                                                    \
    int report_write_##name(const struct tw_simulation *s,                               \
                            const struct tw_report_style *style, struct tw_buf *out,     \
                            struct tw_err *err);
REPORT_LIST(DECLARE)
#undef DECLARE

#endif
