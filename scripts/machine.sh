#!/usr/bin/env bash
# The machine that figures are of, as a line of Markdown. The load average is what else it does.
set -euo pipefail
printf -- '- %s, %s cores, Linux %s; load average before: %s\n' \
    "$(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "$(uname -r)" \
    "$(cut -d ' ' -f 1 /proc/loadavg)"
