#!/bin/sh
# Makes .venv-torch: Octavo with its vision, rerank, local and mteb extras, Triton and late-interaction-kernels,
# which the base install does without. Where nothing has changed since the last time it does nothing.
set -eu
cd "$(dirname "$0")/.."

venv=.venv-torch
stamp=$venv/octavo-setup

fingerprint=$(cat pyproject.toml scripts/setup_torch.sh | cksum)" $PWD"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$fingerprint" ] && "$venv/bin/python" -c ''; then
    exit 0
fi

if ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
    chosen=
    for candidate in ${PYTHON:-} .venv/bin/python python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            chosen=$candidate
            break
        fi
    done
    if [ -z "$chosen" ]; then
        echo "error: no Python 3.11 or newer with venv and pip was found" >&2
        echo "next: install one, or name it: make test-torch PYTHON=/path/to/python3" >&2
        exit 1
    fi
    "$chosen" -m venv --clear "$venv"
fi

echo "setup: octavo with torch in $venv (minutes, once)"
# One call: torch builds for GPUs want one version of Triton, others none.
if ! "$venv/bin/python" -m pip install -qq --disable-pip-version-check -e ".[dev,vision,rerank,local,eval,mteb]" \
    "torch==2.13.0" "triton; sys_platform == 'linux'" \
    "late-interaction-kernels==0.4.5; sys_platform == 'linux'"; then
    echo "error: pip could not install torch and what goes with it" >&2
    echo "next: this setup needs the package index (PyPI); check the network and run it again" >&2
    exit 1
fi

printf '%s\n' "$fingerprint" > "$stamp"
echo "setup: done"
