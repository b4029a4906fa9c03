/* Every format of a report, one per line: name, what it is for, media type. */
#define REPORT_LIST(X)                                                                   \
    X(text, "for the terminal", "text/plain; charset=utf-8")                             \
    X(json, "the contract, for machines", "application/json")                            \
    X(markdown, "for tickets and merge requests", "text/markdown; charset=utf-8")        \
    X(html, "one self-contained page with charts", "text/html; charset=utf-8")           \
    X(junit, "one test case per check, for CI", "application/xml")                       \
    X(sarif, "findings at their lines, for code scanning", "application/sarif+json")
