# Sourced by the other scripts: changes to the repository's root, with .venv made, filled and first on the path.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 2; }

find_python() {
    local candidate
    for candidate in python3.11 python3.12 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    fail "Python 3.11 or 3.12 is needed: apt-get install python3 python3-venv"
}

if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    say "making .venv with $("$python" --version)"
    "$python" -m venv .venv || { rm -rf .venv; fail "cannot make .venv: apt-get install python3-venv"; }
fi
marker=.venv/installed-$(sha256sum requirements.txt pyproject.toml | sha256sum | cut -c1-16)
if [ ! -f "$marker" ]; then
    say "installing requirements.txt (torch is large: some minutes)"
    rm -f .venv/installed-*  # a marker of the last installation only
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
    touch "$marker"
fi
unset PYTHONDONTWRITEBYTECODE # some images set it: each command would compile the whole library again
export PATH="$PWD/.venv/bin:$PATH" VIRTUAL_ENV="$PWD/.venv" PYTHONUNBUFFERED=1
# Two threads that wait for each other by spinning cost more than they gain on a busy machine.
export OMP_WAIT_POLICY=passive
