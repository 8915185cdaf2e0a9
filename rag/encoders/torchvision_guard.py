"""Makes the vision extra importable where torch is built for the CPU.

torchvision's wheels are built for CUDA: next to a CPU build of torch their operators are missing,
importing torchvision fails, and with it every model of transformers. Naming the two operators that
its import refers to is enough; whoever calls one still gets torch's own clear error.
Source: pytorch/vision issues 8985, 9077, 9085.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any, Literal

# Kept for the life of the process: torch forgets the names when the library object goes.
_named: list[Any] = []


def ensure_torchvision() -> Literal["absent", "whole", "named"]:
    """Import torchvision, naming its missing operators if need be; call before transformers.

    Returns:
        `absent`: torchvision is not installed. `whole`: it has its operators. `named`: they are
        named, and cannot run.
    """
    if "torchvision" in sys.modules:
        return "named" if _named else "whole"
    if importlib.util.find_spec("torchvision") is None:
        return "absent"
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = importlib.import_module("torch").library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _named.append(library)
        importlib.import_module("torchvision")
        return "named"
    return "whole"
