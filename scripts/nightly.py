"""The nightly tests one after the other; what passed on this code is not run again.

Stop it at any moment, and the same command goes on. How much the tests do is set by variables:
N_KILLS, N_KILL_DOCUMENTS, N_MUTANTS.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".nightly"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-k", default="", help="only tests whose names hold this, as for pytest")
    parser.add_argument("--again", action="store_true", help="also what passed on this code")
    asked = parser.parse_args()
    chosen = ["-k", asked.k] if asked.k else []
    tests = nightly_tests(chosen)
    if not tests:
        print("no nightly test has such a name", file=sys.stderr)
        return 1
    STATE.mkdir(exist_ok=True)
    results = STATE / f"{code_digest()}.jsonl"
    passed = set() if asked.again else passed_in(results)
    failed = []
    for number, test in enumerate(tests, start=1):
        place = f"[{number}/{len(tests)}]"
        if test in passed:
            print(f"{place} passed before  {test}", flush=True)
            continue
        print(f"{place} {test}", flush=True)
        start = time.monotonic()
        code = subprocess.run([*pytest(), "-rs", test], cwd=ROOT, check=False).returncode
        line = {"test": test, "code": code, "seconds": round(time.monotonic() - start, 1)}
        with results.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if code:
            failed.append(test)
    print(f"{len(tests) - len(failed)} of {len(tests)} passed")
    for test in failed:
        print(f"failed: {test}")
    return 1 if failed else 0


def pytest() -> list[str]:
    return [sys.executable, "-m", "pytest", "-q", "-m", "nightly", "-p", "no:cacheprovider"]


def nightly_tests(chosen: list[str]) -> list[str]:
    command = [*pytest(), "--collect-only", *chosen]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode not in (0, 5):  # 5: none was chosen
        sys.exit(listed.stdout[-4000:] + listed.stderr)
    return [line for line in listed.stdout.splitlines() if "::" in line]


def code_digest() -> str:
    """Of everything that git tracks, as it is now: an edit makes all tests run again."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    digest = hashlib.sha256()
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        path = ROOT / name
        # History grows by what the tests measure.
        if path.is_file() and not name.startswith(("docs/", "eval/history/")):
            digest.update(name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def passed_in(results: Path) -> set[str]:
    if not results.exists():
        return set()
    lines = results.read_text(encoding="utf-8").splitlines()
    return {held["test"] for held in map(json.loads, lines) if held["code"] == 0}


if __name__ == "__main__":
    sys.exit(main())
