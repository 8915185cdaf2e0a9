"""`python -m eval.bench`: this project beside its peers, on this machine, in one run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import platformdirs

from eval.bench import (
    cascade,
    cold_start,
    corpus,
    fde,
    first_stage,
    made_up,
    maxsim,
    oversubscribed,
    plot,
    record,
    report,
)
from eval.bench.contender import Effort, Outcome, Skipped, load_now
from eval.bench.machine import Machine
from rag.errors import RagError
from rag.scoring.fde import FdeEncoder, FdeSpec

SECTIONS = ("maxsim", "fde", "first_stage", "cascade", "cold_start")
_HISTORY = Path("eval/history/bench.jsonl")
_DOCUMENT, _PLOT = Path("docs/benchmarks.md"), Path("docs/benchmarks.svg")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    sections = tuple(options.only.split(",")) if options.only else SECTIONS
    unknown = [section for section in sections if section not in SECTIONS]
    if unknown:
        parser.error(f"no section {unknown[0]!r}; there are {', '.join(SECTIONS)}")
    if options.smoke:
        options.rounds, options.pages, options.rows, options.queries = 2, 40, 64, 4
    say = partial(_say, quiet=options.quiet)
    outcomes: list[Outcome] = []
    slowdowns: list[oversubscribed.Slowdown] = []
    try:
        if options.oversubscribed:
            slowdowns = _slowdowns(options, say)
            _write(
                ""
                if options.json
                else report.slowdown_table(slowdowns, with_goals=not options.smoke) + "\n"
            )
        else:
            for outcome in _outcomes(sections, options, say):
                outcomes.append(outcome)
                _write(
                    ""
                    if options.json
                    else report.table(outcome, with_goals=not options.smoke) + "\n"
                )
        run = report.as_json(outcomes, slowdowns, _named(options), with_goals=not options.smoke)
        if options.json:
            _write(json.dumps(run, ensure_ascii=False) + "\n")
        if not options.smoke or options.history or options.plot:
            _keep(run, outcomes, options, is_whole=sections == SECTIONS and not slowdowns)
    except RagError as error:
        sys.stderr.write(f"error: {error.message}\nnext: {error.next_step}\n")
        return 2
    return 0 if all(outcome.is_sound for outcome in outcomes) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eval.bench", description=__doc__)
    parser.add_argument("--only", default="", help=f"sections, of {','.join(SECTIONS)}")
    parser.add_argument("--rounds", type=_count, default=30, help="at most, of each section")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds of rounds a section")
    parser.add_argument("--json", action="store_true", help="print the run as one line of JSON")
    parser.add_argument("--quiet", action="store_true", help="no progress on stderr")
    parser.add_argument(
        "--oversubscribed",
        action="store_true",
        help="instead: how much ours slows where every core has four busy processes",
    )
    parser.add_argument("--pages", type=_count, default=10_000, help="of first_stage and cascade")
    parser.add_argument("--rows", type=_count, default=1030, help="of those pages")
    parser.add_argument("--queries", type=_count, default=64, help="of each kind, for recall")
    parser.add_argument(
        "--fde",
        type=_fde_spec,
        default=FdeSpec(dim=fde.SPEC.dim),
        help="repetitions/bits/projection of first_stage and cascade; default Octavo's own",
    )
    parser.add_argument(
        "--corpus", type=Path, help="Python file whose class Corpus makes the pages"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=platformdirs.user_cache_path("octavo") / "bench",
        help="keeps corpora and shards; up to 9 GB for the default pages",
    )
    parser.add_argument(
        "--history", type=Path, help=f"JSON lines file; default {_HISTORY}, if there"
    )
    parser.add_argument("--plot", type=Path, help=f"default {_PLOT}, for a run of all sections")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes, nothing kept: does it run?"
    )
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1 is wanted, got {number}")
    return number


def _fde_spec(text: str) -> FdeSpec:
    repetitions, simhash_bits, projection_dim = map(int, text.split("/"))
    return replace(
        fde.SPEC,
        repetitions=repetitions,
        simhash_bits=simhash_bits,
        projection_dim=projection_dim,
    )


def _outcomes(
    sections: Sequence[str], options: argparse.Namespace, say: Callable[[str], object]
) -> Iterator[Outcome]:
    effort = Effort(options.rounds, options.budget)
    machine = Machine()
    if "maxsim" in sections:
        rows = (20, 40) if options.smoke else (700, 1030)
        for n_pages in (20, 40) if options.smoke else (100, 1000):
            yield maxsim.run(n_pages, effort, say=say, machine=machine, rows=rows)
    if "fde" in sections:
        yield fde.run(
            4 if options.smoke else 32,
            effort,
            say=say,
            machine=machine,
            n_rows=64 if options.smoke else 1030,
        )
    if "first_stage" in sections or "cascade" in sections:
        source = made_up.open_pages(options.pages, options.rows, options.corpus)
        prepared = corpus.prepare(
            source, options.pages, options.rows, options.queries, options.cache, say
        )
        encoder = FdeEncoder(options.fde)
        if "first_stage" in sections:
            yield first_stage.run(prepared, encoder, effort, say=say)
        if "cascade" in sections:
            yield cascade.run(prepared, encoder, effort, say=say)
    if "cold_start" in sections:
        yield cold_start.run(effort, say=say)


def _slowdowns(
    options: argparse.Namespace, say: Callable[[str], object]
) -> list[oversubscribed.Slowdown]:
    if options.smoke:
        return oversubscribed.run(20, 1, say=say, spell_s=0.01, rows=(20, 40))
    return oversubscribed.run(100, min(options.rounds, 10), say=say)


def _keep(
    run: dict[str, object], outcomes: Sequence[Outcome], options: argparse.Namespace, is_whole: bool
) -> None:
    """History, plot and the document's tables, in a checkout or where they are asked for."""
    is_for_record = not options.smoke
    history = options.history or (_HISTORY if is_for_record and _HISTORY.parent.is_dir() else None)
    if history is not None:
        record.append(run, history)
        sys.stderr.write(f"bench: one line more in {history}\n")
    picture = options.plot or (_PLOT if is_for_record and is_whole and _DOCUMENT.exists() else None)
    if picture is None or not outcomes:
        return
    caption = record.caption(run)
    try:
        plot.draw(outcomes, picture, caption)
    except Skipped as reason:
        sys.stderr.write(f"bench: no plot: matplotlib {reason}\n")
        return
    sys.stderr.write(f"bench: drawn in {picture}\n")
    if is_for_record and is_whole and picture == _PLOT:
        record.write_tables(_DOCUMENT, outcomes, caption, picture.name)


def _named(options: argparse.Namespace) -> dict[str, object]:
    """What shapes the figures; not where they are kept, nor where the file of a corpus lies."""
    return {
        "only": options.only,
        "rounds": options.rounds,
        "budget_s": options.budget,
        "smoke": options.smoke,
        "corpus": None if options.corpus is None else options.corpus.name,
        "pages": options.pages,
        "rows": options.rows,
        "queries": options.queries,
        "fde": asdict(options.fde),
        "load_at_end": round(load_now(), 2),
    }


def _say(line: str, *, quiet: bool) -> None:
    if not quiet:
        sys.stderr.write(f"bench: {line}\n")
        sys.stderr.flush()


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
