"""What a page costs a vision encoder here: `python -m eval.bench.vision`.

Models with the layers of real checkpoints and random weights encode one page of A4 at 150 DPI.
Where the time goes is told by parts, and the operations counted say what a GPU would at least take.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from PIL import Image

from eval import provenance
from eval.bench.vision_models import MODELS, FlopCounter, full_size
from rag.encoders import self_test
from rag.types import Json

HISTORY = Path("eval/history/vision.jsonl")
CPU_MODELS = ("colmodernvbert", "colsmol-256m", "colsmol-500m")
_PAGE_PX = (1240, 1754)  # A4 at 150 DPI
# bf16 operations a second without sparsity, as the makers state them; what is reached is less.
_GPU_PEAKS = {"RTX 4090": 165e12, "A100": 312e12, "H100": 989e12}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m eval.bench.vision", description=__doc__)
    parser.add_argument("models", nargs="*", help=f"of {', '.join(MODELS)}; default the small ones")
    parser.add_argument("--rounds", type=int, default=3, help="pages a model and dtype")
    parser.add_argument("--dtypes", default="float32,bfloat16")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--history", type=Path, default=HISTORY)
    parser.add_argument("--json", action="store_true", help="print the run as one line of JSON")
    chosen = parser.parse_args(arguments)
    names = chosen.models or CPU_MODELS
    for name in names:
        if name not in MODELS:
            parser.error(f"no model {name!r}; there are {', '.join(MODELS)}")
    torch.set_num_threads(chosen.threads)
    run: Json = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": provenance.commit(),
        "machine": provenance.machine(),
        "torch": torch.__version__,
        "threads": chosen.threads,
        "page_px": list(_PAGE_PX),
        "load": [round(os.getloadavg()[0], 2)],
        "models": {},
    }
    for name in names:
        run["models"][name] = found = measure(name, chosen.dtypes.split(","), chosen.rounds)
        if not chosen.json:
            _say(_table(name, found))
    run["load"].append(round(os.getloadavg()[0], 2))
    chosen.history.parent.mkdir(parents=True, exist_ok=True)
    with chosen.history.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run) + "\n")
    if chosen.json:
        _say(json.dumps(run))
    return 0


def measure(name: str, dtypes: Sequence[str], rounds: int) -> Json:
    """Seconds of one page by dtype and part, interleaved; operations, rows, weights."""
    page = a4_page()
    found: Json = {"like": MODELS[name].like, "seconds": {}}
    model, processor = full_size(name)
    found["parameters"] = sum(weights.numel() for weights in model.parameters())
    start = time.perf_counter()
    inputs = processor.process_images([page])
    found["preprocess_s"] = round(time.perf_counter() - start, 3)
    with torch.inference_mode():
        with FlopCounter(model) as counter:
            rows = model(**inputs)
        found["rows"] = int(inputs["attention_mask"].sum())
        found["dim"] = int(rows.shape[-1])
        found["tflop"] = {part: round(flops / 1e12, 4) for part, flops in counter.flops.items()}
        for dtype in dtypes:
            model = model.to(_DTYPES[dtype])
            prepared = _as(inputs, _DTYPES[dtype])
            clock = PartClock(model)
            times, parts = [], []
            for _ in range(rounds):
                clock.reset()
                start = time.perf_counter()
                model(**prepared)
                times.append(time.perf_counter() - start)
                parts.append(clock.vision_s)
            clock.close()
            found["seconds"][dtype] = {
                "min": round(min(times), 3),
                "median": round(median(times), 3),
                "vision_share": round(median(parts) / median(times), 3),
            }
    total = sum(counter.flops.values())
    found["gpu_s_at_peak"] = {gpu: round(total / peak, 5) for gpu, peak in _GPU_PEAKS.items()}
    return found


def a4_page() -> Image.Image:
    """The self-test's pages on one sheet."""
    sheet = Image.new("RGB", _PAGE_PX, "white")
    half = _PAGE_PX[0] // 2
    for number, drawn in enumerate(self_test.pages()):
        corner = (number % 2 * half, number // 2 * half)
        sheet.paste(drawn.resize((half, half)), corner)
    return sheet


class PartClock:
    """Time spent in the part of a model that looks at pixels."""

    def __init__(self, model: Any) -> None:
        self.vision_s = 0.0
        self._start = 0.0
        tower = next(
            module
            for name, module in model.named_modules()
            if name.rpartition(".")[2] in ("visual", "vision_model", "vision_tower")
        )
        self._hooks = [
            tower.register_forward_pre_hook(self._enter),
            tower.register_forward_hook(self._leave),
        ]

    def reset(self) -> None:
        self.vision_s = 0.0

    def close(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def _enter(self, *_: object) -> None:
        self._start = time.perf_counter()

    def _leave(self, *_: object) -> None:
        self.vision_s += time.perf_counter() - self._start


def _as(inputs: Any, dtype: torch.dtype) -> dict[str, Any]:
    return {
        name: value.to(dtype) if torch.is_floating_point(value) else value
        for name, value in inputs.items()
    }


def _table(name: str, found: Json) -> str:
    head = (
        f"== {name}, sized as {found['like']}: {found['parameters'] / 1e6:.0f} M parameters, "
        f"{found['rows']} rows of {found['dim']} a page, {sum(found['tflop'].values()):.2f} TFLOP "
        f"({', '.join(f'{part} {flops:.2f}' for part, flops in found['tflop'].items())})"
    )
    lines = [head, f"  preprocessing {found['preprocess_s']:.2f} s"]
    for dtype, seconds in found["seconds"].items():
        rate = sum(found["tflop"].values()) / seconds["min"]
        lines.append(
            f"  {dtype:9} min {seconds['min']:.1f} s, median {seconds['median']:.1f} s a page, "
            f"{100 * seconds['vision_share']:.0f} % of it looking at pixels; {rate:.3f} TFLOP/s"
        )
    gpus = ", ".join(f"{gpu} {s * 1e3:.1f} ms" for gpu, s in found["gpu_s_at_peak"].items())
    lines.append(f"  no GPU can be faster than its peak allows: {gpus} a page")
    return "\n".join(lines)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
