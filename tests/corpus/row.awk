# One line of the results, as it is printed: what was expected, what came, whether that is right.
function kind_is_right(codes, found,    n, m, c, f, i, k, glob) {
    if (codes == "-") return 1
    n = split(codes, c, "|"); m = split(found, f, ",")
    for (i = 1; i <= n; i++) {
        glob = c[i]; gsub(/\./, "\\.", glob); gsub(/\*/, ".*", glob)
        for (k = 1; k <= m; k++) if (f[k] ~ "^" glob "$") return 1
    }
    return 0
}
{
    verdict = $4 == 0 ? "proceed" : $4 == 3 ? "block" : $4 == 4 ? "review" : "no answer"
    right = $2 == "harmless" ? $4 == 0 : ($4 == 3 || $4 == 4) && $5 >= 50 && kind_is_right($3, $8)
    printf "%-6s %-5s %-9s risk %3d  %5.2f s  %s%s\n", $1, right ? "ok" : "WRONG", verdict, $5, $6, $8,
        right || $9 == "-" ? "" : "  [" $9 "]"
}
