#!/usr/bin/env bash
# table.sh NAME PAGE: shows the Markdown on stdin. With WRITE=1 it goes into that page as well,
# between the marks `<!-- NAME: begin -->` and `<!-- NAME: end -->`.
set -euo pipefail

name=$1 page=$2
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

tee "$work/new"
[ "${WRITE:-}" = 1 ] || exit 0
grep -q '^| --- ' "$work/new" || { echo "there is no table for $page" >&2; exit 1; }
grep -qx "<!-- $name: begin -->" "$page" || { echo "$page has no place for $name" >&2; exit 1; }
awk -v name="$name" -v new="$work/new" '
    $0 == "<!-- " name ": end -->" {skip = 0}
    !skip {print}
    $0 == "<!-- " name ": begin -->" {skip = 1; while ((getline line < new) > 0) print line}
' "$page" >"$work/page"
cat "$work/page" >"$page"
echo "written: $page" >&2
