#!/usr/bin/env bash
# Lint, format and tests: bash ci/test.sh [--slow] [pytest arguments]
source "$(dirname "$0")/environment.sh"

slow=(-m "not slow")
if [ "${1:-}" = --slow ]; then
    slow=()
    shift
fi
say "ruff"
ruff check .
ruff format --check .
say "pytest"
python -m pytest "${slow[@]}" "$@"
