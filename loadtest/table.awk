#!/usr/bin/awk -f
# Medians of the rounds, by phase and gateway, and ratios to raw Pingora.

{
    delete v
    split($0, quoted, " name=")
    phase = substr(quoted[1], 7)
    n = split("name=" quoted[2], pairs, " ")
    for (i = 1; i <= n; i++) { at = index(pairs[i], "="); v[substr(pairs[i], 1, at - 1)] = substr(pairs[i], at + 1) }
    if (!(phase in seen)) { seen[phase] = 1; order[++phases] = phase }
    work = v["chunks"] > 0 ? v["chunks"] : v["good"]
    streams[phase] = v["chunks"] > 0
    put("rate", v["chunks"] > 0 ? v["chunks_per_second"] : v["per_second"])
    put("cpu", work > 0 ? v["cpu_us"] / work : 0)
    put("p50", v["latency_p50_us"]); put("p99", v["latency_p99_us"])
    put("ttft", v["ttft_p50_us"]); put("gap", v["gap_p50_us"]); put("gap99", v["gap_p99_us"])
    put("rss", v["rss_kib"] / 1024)
    bad[phase, v["name"]] += v["bad"] + v["turned_away"]
}

function put(what, value,   key) {
    key = phase SUBSEP v["name"] SUBSEP what
    values[key] = values[key] " " value
}

function median(name, what,   list, n, i, j, t) {
    n = split(values[phase SUBSEP name SUBSEP what], list, " ")
    for (i = 2; i <= n; i++) for (j = i; j > 1 && list[j - 1] + 0 > list[j] + 0; j--) { t = list[j]; list[j] = list[j - 1]; list[j - 1] = t }
    return n ? list[int((n + 1) / 2)] : 0
}

END {
    split("raw off full", names, " ")
    for (p = 1; p <= phases; p++) {
        phase = order[p]
        unit = streams[phase] ? "chunk" : "request"
        printf "\n%s\n%-6s %11s %12s %7s %9s %9s %9s %9s %9s %8s %6s\n", phase, "", unit "s/s", "CPU us/" unit, "ratio", "p50 us", "p99 us", "ttft us", "gap us", "gap99 us", "RSS MiB", "failed"
        for (k = 1; k <= 3; k++) {
            name = names[k]
            raw = median("raw", "cpu")
            printf "%-6s %11d %12.2f %7.2f %9d %9d %9d %9d %9d %8.1f %6d\n", name, median(name, "rate"), median(name, "cpu"), (raw > 0 ? median(name, "cpu") / raw : 0), median(name, "p50"), median(name, "p99"), median(name, "ttft"), median(name, "gap"), median(name, "gap99"), median(name, "rss"), bad[phase, name]
        }
    }
}
