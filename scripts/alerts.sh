#!/usr/bin/env bash
# Alerts and dashboard, as Prometheus reads them: each alert fires on a made-up series and is
# quiet on a healthy one, and each query of the dashboard is one that Prometheus understands.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

files=charts/image-replicator/files
promtool check rules "$files/alerts.yaml"
promtool test rules tests/alerts/alerts_test.yaml

# promtool reads queries in rules alone, so the dashboard's become rules; Grafana would fill in
# its interval. YAML contains JSON.
queries="$(mktemp --suffix .yaml)"
trap 'rm -f "$queries"' EXIT
jq '[.. | objects | select(.datasource.type? == "prometheus") | .targets[]?.expr]
    | map(gsub("\\$__rate_interval"; "5m")) | to_entries
    | {groups: [{name: "dashboard", rules: map({record: "query:\(.key)", expr: .value})}]}' \
    "$files/dashboard.json" >"$queries"
promtool check rules "$queries"
