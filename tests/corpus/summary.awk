# Sums up the results: failing rows are positives.
function kind_is_right(codes, found,    n, m, c, f, i, k, glob) {
    if (codes == "-") return 1
    n = split(codes, c, "|"); m = split(found, f, ",")
    for (i = 1; i <= n; i++) {
        glob = c[i]; gsub(/\./, "\\.", glob); gsub(/\*/, ".*", glob)
        for (k = 1; k <= m; k++) if (f[k] ~ "^" glob "$") return 1
    }
    return 0
}
function sort_numbers(a, n,    i, k, x) {
    for (i = 2; i <= n; i++) {
        x = a[i]
        for (k = i - 1; k >= 1 && a[k] > x; k--) a[k + 1] = a[k]
        a[k + 1] = x
    }
}
$2 == "not_here" { not_here++; next }
{
    all++; seconds[all] = $6 + 0
    if ($2 == "harmless") {
        harmless++
        if ($4 == 0) tn++
        else { fp++; if ($4 == 3) blocked++; else if ($4 == 4) reviewed++; wrong = wrong " " $1 }
        low_risk[++nh] = $5
    } else {
        failing++
        if (($4 == 3 || $4 == 4) && $5 >= 50 && kind_is_right($3, $8)) tp++
        else { fn++; wrong = wrong " " $1; if ($4 == 3 || $4 == 4) misnamed++ }
        high_risk[++nf] = $5
    }
}
END {
    if (!all) { print "no row was run"; exit 1 }
    sort_numbers(seconds, all)
    for (i = 1; i <= nf; i++) for (k = 1; k <= nh; k++) auc += high_risk[i] > low_risk[k] ? 1 : high_risk[i] == low_risk[k] ? 0.5 : 0
    printf "%d rows: %d failing, %d harmless; %d not reproduced here\n", all, failing, harmless, not_here
    printf "right %d of %d, %.1f %%\n", tp + tn, all, 100 * (tp + tn) / all
    precision = tp + fp ? tp / (tp + fp) : 0; recall = tp + fn ? tp / (tp + fn) : 0
    d = sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    printf "precision %.3f, recall %.3f, F1 %.3f, MCC %s\n", precision, recall,
        precision + recall ? 2 * precision * recall / (precision + recall) : 0, d ? sprintf("%.3f", (tp * tn - fp * fn) / d) : "-"
    printf "harmless blocked %d, sent to review %d (%.1f %%); failing found but by another name %d\n", blocked, reviewed,
        harmless ? 100 * reviewed / harmless : 0, misnamed
    if (nf && nh) printf "risk score: area under the curve %.3f\n", auc / nf / nh
    printf "time to judge: median %.2f s, worst %.2f s\n", seconds[int((all + 1) / 2)], seconds[all]
    if (wrong) print "wrong:" wrong
}
