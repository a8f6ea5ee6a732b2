# The tables of docs/benchmarks.md from the raw figures of bench-copy.sh: jq -Rrs, with $machine, as
# lines of Markdown, and $runs.

def peers: ["skopeo", "crane", "regctl"];
def order: ["image-replicator serve", "image-replicator"] + peers + ["curl"];

def fixed($digits):
    (. * pow(10; $digits) | round | tostring)
    | if $digits == 0 then .
      else until(length > $digits; "0" + .) | .[:-$digits] + "." + .[-$digits:] end;

def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;

# Each value once, in the order in which they came.
def distinct: reduce .[] as $value ([]; if any(.[]; . == $value) then . else . + [$value] end);

# The runs of one client in one setting as one object; the figures are of those that went well.
def summary:
    (map(select(.result == "ok"))) as $good
    | .[0] + {runs: length, failed: (length - ($good | length))}
    | reduce ("wall_ms", "cpu_ms", "peak_kib", "source_requests", "target_requests", "base_reads") as $name
        (.; .[$name] = if $good == [] then null
            else ($good | map(.[$name]) | {median: median, min: min, max: max}) end);

def rows:
    split("\n") | map(select(. != "") | split("\t"))
    | .[0] as $names
    | .[1:] | map([$names, .] | transpose | map({(.[0]): (.[1] | tonumber? // .)}) | add);

# In the order of the run; clients in the order of `order`.
def summaries:
    rows
    | . as $all
    | [ (map([.shape, .tls, .delay_ms]) | distinct[]) as $setting | order[] as $client
        | $all | map(select([.shape, .tls, .delay_ms] == $setting and .client == $client))
        | select(. != []) | summary ];

def setting: [.tls, .delay_ms];
def setting_name: (if .[0] == "on" then "TLS" else "no TLS" end) + ", \(.[1]) ms";

# best($name): the smallest median of a peer among these rows, null where none went well.
def best($name): map(select((.client | IN(peers[])) and .[$name].median > 0) | .[$name].median) | min;

def ratio($row; $name): best($name) as $best
    | if $best == null or ($row[$name].median | type) != "number" then null
      else $row[$name].median / $best end;

def shown($digits): if . == null then "–" else fixed($digits) end;

def spread($scale; $digits):
    (.median / $scale | fixed($digits)) as $median
    | if .min == .max then $median
      else "\($median) (\(.min / $scale | fixed($digits))–\(.max / $scale | fixed($digits)))" end;

def client_row($all):
    . as $row
    | ($all | map(select(setting == ($row | setting)))) as $beside
    | (if .failed > 0 then "**failed \(.failed) of \(.runs)**" else "" end) as $failure
    | [(setting | setting_name), (.mib | tostring), .client]
      + if .failed == .runs then [$failure, "–", "–", "–", "–", "–"]
        else [
            ([(.wall_ms | spread(1000; 2)), $failure] | map(select(. != "")) | join(", ")),
            ($beside | ratio($row; "wall_ms") | shown(2)),
            (.cpu_ms | spread(1000; 2)),
            ($beside | ratio($row; "cpu_ms") | shown(2)),
            (.peak_kib | spread(1024; 0)),
            "\(.source_requests.median | fixed(0)) + \(.target_requests.median | fixed(0))"
        ] end
      + if .shape != "twenty" then []
        elif .failed == .runs then ["–"]
        else [.base_reads | spread(1; 0)] end
    | "| " + join(" | ") + " |";

def title: {
    "one-layer": "one large layer", "many-layers": "100 layers of 1 MiB",
    "two-platforms": "an index of two platforms that share a layer",
    "warm": "an image that is at the target already",
    "twenty": "20 images on one base, each with 8 MiB of its own",
    "serve-100": "100 copies at once by `serve`, 16 MiB each, from a source that gives 4 MiB/s"
}[.] // .;

def table:
    .[0].shape as $shape
    | (["setting", "MiB", "client", "wall s", "of best peer", "CPU s", "of best peer", "peak MiB",
        "requests: source + target"]
       + if $shape == "twenty" then ["reads of the base"] else [] end) as $head
    | "### `\($shape)`: \($shape | title)", "",
      "| " + ($head | join(" | ")) + " |",
      "|" + ($head | map(" --- |") | add),
      (. as $all | .[] | client_row($all)),
      "";

# A figure beside its goal, set in bold where it misses.
def against($goal; $digits):
    if . == null then "–" elif . <= $goal then fixed($digits) else "**\(fixed($digits))**" end;

# goal(…): a line with one figure a setting; none where the shape was not run.
def goal($settings; $shape; $client; $text; $goal; $digits; figure):
    . as $all
    | [ $settings[] as $setting
        | ($all | map(select(.shape == $shape and setting == $setting))) as $beside
        | ($beside | map(select(.client == $client))[0]) as $row
        | if $row == null then "–" elif $row.failed > 0 then "**failed**"
          else ({$beside, $row} | figure | against($goal; $digits)) end ]
    | if all(. == "–") then empty
      else "| `\($shape)`: " + ([$text, ($goal | tostring)] + . | join(" | ")) + " |" end;

def of_best($name): .row as $row | .beside | ratio($row; $name);

def wall($settings; $shape; $client):
    goal($settings; $shape; $client; "wall, of the best peer's"; 0.95; 2; of_best("wall_ms"));

def goals:
    (map(setting) | distinct) as $settings
    | "image-replicator" as $copy | "image-replicator serve" as $serve
    | "### Against the goals", "",
      "| what | at most | " + ($settings | map(setting_name) | join(" | ")) + " |",
      "| --- | --- |" + ($settings | map(" --- |") | add),
      goal($settings; "one-layer"; $copy; "CPU per GiB, of the best peer's"; 0.5; 2; of_best("cpu_ms")),
      goal($settings; "one-layer"; $copy; "peak memory, of the leanest peer's"; 1; 2; of_best("peak_kib")),
      wall($settings; "one-layer"; $copy),
      wall($settings; "many-layers"; $copy),
      wall($settings; "two-platforms"; $copy),
      goal($settings; "warm"; $copy; "requests, both sides"; 2; 0;
          .row.source_requests.max + .row.target_requests.max),
      wall($settings; "twenty"; $serve),
      goal($settings; "twenty"; $serve; "reads of the base by `serve`"; 1; 0; .row.base_reads.max),
      goal($settings; "serve-100"; $serve; "peak memory, MiB"; 96; 0; .row.peak_kib.max / 1024),
      "";

summaries as $all
| "", $machine, "- Runs of each client: \($runs); medians, and the least and the most in parentheses.", "",
  ($all | goals),
  (($all | map(.shape) | distinct[]) as $shape | $all | map(select(.shape == $shape)) | table)
