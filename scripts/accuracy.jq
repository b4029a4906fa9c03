# Scores of scripts/accuracy: definitions in docs/ACCURACY.md and docs/internals/trial.md.

def metrics: ["throughput_per_s", "p50_ms", "p95_ms", "p99_ms"];
def labels: {throughput_per_s: "throughput", p50_ms: "p50", p95_ms: "p95", p99_ms: "p99"};
# what the report calls a resource, and what the truth measures of it
def resources: {cpu_cores: "cpu_ms_per_request", wal_bytes_per_day: "wal_bytes_per_request",
                memory_bytes: "anon_bytes"};

def mean: if length == 0 then null else add / length end;
def quantile($q): if length == 0 then null else sort as $s
    | (($s | length) - 1) * $q | floor as $i | (. - $i) as $f
    | $s[$i] + $f * (($s[$i + 1] // $s[$i]) - $s[$i]) end;
def median: quantile(0.5);

# symmetric: twice as much and half as much are both 100 % off
def off($a; $b): if $a == null or $b == null or $a <= 0 or $b <= 0 then null
    else (($a / $b) | log | fabs | exp) - 1 end;

# ---- effects ----

def row($metric; $said; $truth):
    ($truth.merged[$metric.truth]) as $t
    | ($truth.repetitions | map(.[$metric.truth].ratio?)) as $each
    | {metric: $metric.name, predicted: $said.ratio?, low: $said.low?, high: $said.high?,
       true: $t.ratio?, true_low: $t.low?, true_high: $t.high?, pooled: $t.pooled?,
       error: off($said.ratio?; $t.ratio?),
       floor: (if ($each | length) > 1 then off($each[1]; $each[0]) else null end),
       trivial: off(1; $t.ratio?),
       inside: (if $said.ratio? == null or $t.ratio? == null then null
                else ($said.low == null or $said.low <= $t.ratio)
                     and ($said.high == null or $said.high >= $t.ratio) end),
       # an interval with an open end holds more easily
       bounded: ($said.low? != null and $said.high? != null and ($said.low? // 0) > 0)};

def effect:
    .said.predicted_impact as $i | .truth as $truth
    | {name: $truth.name, half: $truth.half, change: $truth.change, mix: $truth.mix,
       decision: .said.decision, pairs: $truth.pairs, dropped: $truth.pairs_dropped,
       load_average: $truth.load_average, foreign: $truth.foreign_cpu_share,
       said_pairs: .said.measured.pairs, said_dropped: .said.measured.pairs_dropped,
       seconds: $truth.seconds_per_level_and_arm, repetitions: ($truth.repetitions | length),
       rows: [metrics[] as $m | row({name: $m, truth: $m}; $i.performance[$m]; $truth)],
       resources: [resources | to_entries[]
                   | row({name: .key, truth: .value}; $i.resources[.key]; $truth)]};

def summary($rows):
    [$rows[] | select(.error != null)] as $r
    | {n: ($r | length), not_predicted: (($rows | length) - ($r | length)),
       median: ($r | map(.error) | median), mean: ($r | map(.error) | mean),
       p90: ($r | map(.error) | quantile(0.9)),
       floor: ([$r[].floor | values] | median), trivial: ($r | map(.trivial) | median),
       inside: ([$r[] | select(.bounded and .inside)] | length),
       intervals: ([$r[] | select(.bounded)] | length)}
    | .accuracy = (if .median == null then null else 1 - .median end)
    | .skill = (if .median == null or .floor == null or .trivial == null
                   or .trivial <= .floor then null
                else (.trivial - .median) / (.trivial - .floor) end);

def by_metric($effects; $key; $names):
    [$names[] as $m | {metric: $m} + summary([$effects[][$key][] | select(.metric == $m)])];

# ---- statements: was the decision right? ----

def classes: [
    ["IMPACT_REFUSED", "the service itself refused"],
    ["IMPACT_PLAN_TURNED", "a plan turned bad"],
    ["IMPACT_ARITHMETIC", "a limit is exceeded"],
    ["IMPACT_DECIDED", "measured in alternating pairs"],
    ["IMPACT_INCONCLUSIVE", "measured, but the budget ended"],
    ["IMPACT_UNMEASURED", "no load could be measured"]];
def class: .predicted_impact.confidence_why as $why
    | first(classes[] | . as $c | select($why | startswith($c[1])) | $c[0])
      // error("no class of evidence says: \($why)");

# policies/default.yaml, as room decide applies it
def margins: {throughput_per_s: 0.10, p50_ms: 0.25, p95_ms: 0.50, p99_ms: 0.50};
def block_at: {throughput_per_s: 0.20, p50_ms: 0.50, p95_ms: 1.0, p99_ms: 1.0};
def standing($m; $t):
    (if $m == "throughput_per_s" then {good: (1 - $t.high), bad: (1 - $t.low)}
     else {good: ($t.low - 1), bad: ($t.high - 1)} end)
    | if .good > block_at[$m] then "block" elif .good > margins[$m] then "review"
      elif .bad <= margins[$m] then "proceed" else "inconclusive" end;
def true_decision:
    [metrics[] as $m | .merged[$m] as $t | select($t != null) | standing($m; $t)]
    | if index("block") then "block" elif index("review") then "review"
      elif index("inconclusive") or length < (metrics | length) then "inconclusive"
      else "proceed" end;

# A finding that no load shows (fsync off loses data, however fast it is) decides by itself.
def beyond_load: [.predicted_impact.issues[]
    | select(.at_least != "proceed" and (.code | test("^(plan|load)\\.") | not))] | length > 0;

def statement($name; $half; $truth):
    {name: $name, half: $half, class: class, said: .decision, true: $truth,
     confidence: .predicted_impact.confidence}
    | .counted = ($truth != "inconclusive")
    | .held = (.said == $truth);
def statements:
    [.effects[] | .truth as $t | .said | select(beyond_load | not)
     | statement($t.name; $t.half; $t | true_decision)]
    + [.noops[] | .name as $n | .said | select(beyond_load | not)
       | statement($n; "development"; "proceed")];

# ---- no-ops and bottlenecks ----

def noop: .said.predicted_impact.performance as $p
    | {name, decision: .said.decision, pairs: .said.measured.pairs,
       dropped: .said.measured.pairs_dropped,
       called: [metrics[] | select($p[.].verdict as $v
                | $v == "better" or $v == "worse" or (($v // "") | startswith("at least")))]};

def bottleneck: . as $b | {name, planted: .planted.resource, words: .planted.statement,
    said: .said.resource, next: .said.next, statement: .said.statement, evidence: .said.evidence,
    resource_right: (.planted.resource | split(",") | index($b.said.resource) != null),
    statement_right: (.planted.statement == "" or
                      ((.said.statement // "") | contains($b.planted.statement)))};

def scored:
    . as $all | [.effects[] | effect] as $e
    | {effects: $e,
       performance: by_metric($e; "rows"; metrics),
       hold_out: by_metric([$e[] | select(.half == "hold-out")]; "rows"; metrics),
       resources: by_metric($e; "resources"; resources | keys_unsorted),
       noops: [.noops[] | noop],
       bottlenecks: [.bottlenecks[] | bottleneck],
       statements: statements};

# ---- what is printed ----

def pad($n): tostring | if length < $n then . + " " * ($n - length) else . end;
def right($n): tostring | if length < $n then " " * ($n - length) + . else . end;
def round_to($d): . * pow(10; $d) | round / pow(10; $d);
def percent: if . == null then "-" else "\(. * 100 | round_to(1)) %" end;
def ratio: if . == null then "-" else round_to(3) | tostring end;

def effect_lines:
    .name as $n | (.rows + .resources)[]
    | [($n | pad(20)), (labels[.metric] // .metric | pad(18)), (.predicted | ratio | right(8)),
       (if .bounded then "\(.low | ratio)..\(.high | ratio)" else "open" end | right(18)),
       (.true | ratio | right(8)), (.error | percent | right(10)), (.floor | percent | right(10)),
       (.trivial | percent | right(10)),
       (if .inside == null or (.bounded | not) then "-" elif .inside then "yes" else "no" end | right(7))]
    | join(" ");
def effect_head: ["change" | pad(20)] + ["metric" | pad(18)] + ["pred." | right(8)]
    + ["90 %" | right(18)] + ["true" | right(8)] + ["error" | right(10)]
    + ["floor" | right(10)] + ["no change" | right(10)] + ["inside" | right(7)] | join(" ");
def summary_line:
    [(labels[.metric] // .metric | pad(20)), (.accuracy | percent | right(9)),
     (.median | percent | right(9)), (.mean | percent | right(10)), (.p90 | percent | right(10)),
     (.floor | percent | right(9)), (.trivial | percent | right(10)), (.skill | ratio | right(7)),
     ("\(.inside)/\(.intervals)" | right(8)), ("\(.n)+\(.not_predicted)" | right(6))] | join(" ");
def composite($rows): [$rows[].accuracy | values] | mean;

def performance_lines($title; $rows):
    (["", "\($title | pad(20))  accuracy    median       mean        p90     floor  no change   skill   inside      n"]
     + [$rows[] | summary_line]
     + if $rows[0].metric != "throughput_per_s" then []
       else ["composite \(composite($rows) | percent), without throughput \(composite($rows[1:]) | percent)"] end)[];

def count_class($statements; $c):
    [$statements[] | select(.class == $c)] as $s | [$s[] | select(.counted)] as $k
    | {class: $c, n: ($k | length), held: ([$k[] | select(.held)] | length),
       left_out: (($s | length) - ($k | length))};
def coverage_lines($title; $statements):
    (["", "\($title | pad(20))  held    of  truth undecided"]
     + [classes[] | .[0] as $c | count_class($statements; $c)
        | select(.n + .left_out > 0)
        | "\(.class | pad(20)) \(.held | right(5)) \(.n | right(5)) \(.left_out | right(10))"])[];
# Fewer say more about their number than about the class: the row stays uncounted then.
def enough: 20;
def coverage_rows:
    [.statements[] | select(.half == "development")] as $s
    | [classes[] | .[0] as $c | count_class($s; $c)
       | if .n < enough then .n = 0 | .held = 0 else . end | "X(\(.class), \(.n), \(.held))"]
    | ["#define IMPACT_COVERAGE(X)" + " " * 63 + "\\"]
      + [.[:-1][] | "    " + . + (" " * (85 - length)) + "\\"] + ["    " + last]
    | join("\n");

def tables: . as $s
    | (if .effects == [] then empty else
         effect_head, (.effects[] | effect_lines),
         performance_lines("performance"; .performance),
         (if [.hold_out[] | select(.n > 0)] == [] then empty
          else performance_lines("hold-out only"; .hold_out) end),
         performance_lines("resources"; .resources),
         "",
         (.effects[] | "\(.name | pad(20)) \(.decision | pad(8)) prediction: \(.said_pairs) pairs, \(.said_dropped) dropped; truth: \(.pairs) pairs, \(.dropped) dropped, \(.seconds) s x \(.repetitions), load \(.load_average | ratio), foreign CPU \(.foreign | percent)")
       end),
      (if .statements == [] then empty else
         coverage_lines("development"; [.statements[] | select(.half == "development")]),
         coverage_lines("hold-out"; [.statements[] | select(.half != "development")]) end),
      (if .noops == [] then empty else
         "",
         (.noops | group_by(.name)[] | "\(.[0].name | pad(20)) \(length) runs that change nothing: \([.[] | select(.called != [])] | length) called an effect, \([.[] | select(.decision == "proceed")] | length) proceed, \([.[] | select(.decision == "review")] | length) review, \([.[] | select(.decision == "block")] | length) block") end),
      (if .bottlenecks == [] then empty else
         "",
         (.bottlenecks[] | "\(.name | pad(15)) \(if .resource_right and .statement_right then "right" elif .resource_right then "other statement" else "WRONG" end | pad(16)) planted \(.planted | pad(14)) said \(.said // "nothing" | pad(14)) next \(.next // "-" | pad(14)) \(.evidence // "")"),
         "named rightly: \([.bottlenecks[] | select(.resource_right and .statement_right)] | length) of \(.bottlenecks | length); the resource alone: \([.bottlenecks[] | select(.resource_right)] | length)" end);
