#!/usr/bin/env bash
# Lint, format, types and tests: bash ci/test.sh [--slow | --all] [pytest arguments]; CI runs it with --slow
source "$(dirname "$0")/environment.sh"

chosen=(-m "not slow and not long")
case "${1:-}" in
    --slow) chosen=(-m "not long"); shift ;;
    --all) chosen=(); shift ;;
esac
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
python -m pytest -n 3 --dist loadfile --no-loadscope-reorder "${chosen[@]}" "$@" || tests=$?
say "pyright"
checked=0
wait $checking || checked=$?
cat "$types"
exit $((tests | checked))
