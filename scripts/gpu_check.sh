#!/bin/sh
# Runs the GPU check in the Python that has torch already, if there is one: a machine with a GPU
# often comes with torch and without a network. Else in .venv-torch, which is made first.
set -eu
cd "$(dirname "$0")/.."

chosen=
for candidate in ${PYTHON:-} python3 .venv-torch/bin/python .venv/bin/python; do
    if "$candidate" -c 'import sys, numpy, torch, triton; sys.exit(sys.version_info < (3, 11))' \
        >/dev/null 2>&1; then
        chosen=$candidate
        break
    fi
done
if [ -z "$chosen" ]; then
    sh scripts/setup_torch.sh
    chosen=.venv-torch/bin/python
fi
echo "gpu-check: $("$chosen" --version), $(command -v "$chosen" || echo "$chosen")"
PYTHONPATH=. exec "$chosen" -m eval.bench.gpu_check "$@"
