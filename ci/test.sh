#!/usr/bin/env bash
# Lint, format, types and tests: bash ci/test.sh [--slow] [pytest arguments]; with --slow all of them, as CI runs it
source "$(dirname "$0")/environment.sh"

slow=(-m "not slow")
if [ "${1:-}" = --slow ]; then
    slow=()
    shift
fi
say "ruff"
ruff check .
ruff format --check .
types=$(mktemp)
trap 'rm -f "$types"' EXIT
PYRIGHT_PYTHON_IGNORE_WARNINGS=1 nice python -m pyright >"$types" 2>&1 & # beside the tests
checking=$!
say "pytest"
export OMP_NUM_THREADS=1 # a thread per test; more processes than cores, as servers and subprocesses are waited for
tests=0
python -m pytest -n 3 --dist loadfile --no-loadscope-reorder "${slow[@]}" "$@" || tests=$?
say "pyright"
checked=0
wait $checking || checked=$?
cat "$types"
exit $((tests | checked))
