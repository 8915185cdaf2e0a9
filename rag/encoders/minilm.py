"""all-MiniLM-L6-v2 on onnxruntime, int8: word pieces in, one contextual vector a piece out.

The graph is built here from the verified weights with onnxruntime's fused operators, quantised once
(8-bit weights a channel, activations on the fly) and cached. One window is one run: activation
scales are taken over a whole run, so batching windows would let neighbours change each other.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

from rag.encoders.weights import (
    WEIGHTS_SHA256,
    MiniLmFiles,
    cache_folder,
    file_digest,
    find_weights,
)
from rag.errors import ModelFailed
from rag.geometry import FloatArray

if TYPE_CHECKING:
    from onnx import ModelProto

DIM = 384

_LAYERS, _HEADS = 6, 12
_CLS, _SEP = 101, 102
_GRAPH_VERSION = 1


class MiniLm:
    """The model, loaded. Thread-safe."""

    def __init__(self, session: onnxruntime.InferenceSession, tokenizer: Tokenizer, threads: int):
        self._session = session
        self.tokenizer = tokenizer
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="minilm")
        # Its own: behind the windows of a batch of pages a query waits for seconds.
        self._ahead = ThreadPoolExecutor(threads, thread_name_prefix="minilm-ahead")

    @classmethod
    def load(cls, weights: Path | None = None, *, threads: int = 2) -> MiniLm:
        """Find, verify, quantise (first time only) and load.

        Raises:
            ConfigError, ModelFailed: see `find_weights`; or the graph does not load.
        """
        graph, tokenizer_file = _quantised_graph(weights)
        options = onnxruntime.SessionOptions()
        # One thread a run, several runs at a time: windows are many and small.
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
            tokenizer = Tokenizer.from_file(str(tokenizer_file))
        except Exception as error:  # both libraries raise bare exceptions of their own
            raise ModelFailed(
                f"the MiniLM graph does not load: {error}",
                next_step=f"Delete {graph.parent.name}/{graph.name} in the cache and try again.",
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return cls(session, tokenizer, threads)

    def encode(self, windows: Sequence[Sequence[int]], *, ahead: bool = False) -> list[FloatArray]:
        """Word-piece ids of every window, without specials -> (n_pieces, 384) each, not normed.

        `ahead` does not wait for windows that others gave before.
        """
        return list((self._ahead if ahead else self._threads).map(self._run, windows))

    def _run(self, pieces: Sequence[int]) -> FloatArray:
        ids = np.array([[_CLS, *pieces, _SEP]], np.int64)
        hidden: FloatArray = self._session.run(None, {"ids": ids})[0]
        return hidden[0, 1:-1]

    def close(self) -> None:
        self._threads.shutdown()
        self._ahead.shutdown()


def _quantised_graph(weights: Path | None) -> tuple[Path, Path]:
    """The cached int8 graph and tokenizer, made if need be; a damaged cache is made again."""
    folder = cache_folder()
    graph = folder / f"{WEIGHTS_SHA256[:12]}-int8-v{_GRAPH_VERSION}.onnx"
    digest_file = graph.with_suffix(".sha256")
    if (
        weights is None
        and digest_file.is_file()
        and graph.is_file()
        and digest_file.read_text() == file_digest(graph)
    ):
        tokenizer = graph.with_suffix(".tokenizer.json")
        if tokenizer.is_file():
            return graph, tokenizer
    files = find_weights(weights)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "graph.onnx"
        _quantise(build_graph(files), made)
        tokenizer_copy = Path(scratch) / "tokenizer.json"
        tokenizer_copy.write_bytes(files.tokenizer.read_bytes())
        digest = Path(scratch) / "digest"
        digest.write_text(file_digest(made))
        tokenizer_copy.replace(graph.with_suffix(".tokenizer.json"))
        made.replace(graph)
        digest.replace(digest_file)
    return graph, graph.with_suffix(".tokenizer.json")


def _quantise(model: ModelProto, target: Path) -> None:
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the library advises a step that would undo the fused operators
    try:
        quantize_dynamic(
            model,
            str(target),
            per_channel=True,  # cosine to fp32 0.989; with one scale a tensor 0.924
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )
    finally:
        root.setLevel(level)


def build_graph(files: MiniLmFiles) -> ModelProto:
    """The float32 model as an ONNX graph: input `ids` (batch, pieces) int64."""
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    tensors = load_file(files.model)
    nodes: list[Any] = []
    initializers: list[Any] = []

    def constant(name: str, array: np.ndarray[Any, Any]) -> str:
        initializers.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        # Fused operators live in onnxruntime's own domain, standard ones in "".
        fused = operator in ("Attention", "SkipLayerNormalization", "BiasGelu")
        domain = "com.microsoft" if fused else ""
        nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **attributes))
        return output

    def layer_norm(key: str, name: str) -> list[str]:
        return [
            constant(f"{name}_scale", tensors[f"{key}.LayerNorm.weight"]),
            constant(f"{name}_shift", tensors[f"{key}.LayerNorm.bias"]),
        ]

    def dense(x: str, key: str, name: str) -> str:
        weight = constant(f"{name}_weight", tensors[f"{key}.weight"].T)
        return node("MatMul", [x, weight], f"{name}_product")

    table = constant("pieces", tensors["embeddings.word_embeddings.weight"])
    positions = constant("positions", tensors["embeddings.position_embeddings.weight"])
    segment = constant("segment", tensors["embeddings.token_type_embeddings.weight"][0])
    zero = constant("zero", np.array([0], np.int64))
    node("Shape", ["ids"], "n_pieces", start=1, end=2)
    summed = node(
        "Add",
        [
            node("Gather", [table, "ids"], "piece_rows"),
            node("Slice", [positions, zero, "n_pieces"], "position_rows"),
        ],
        "placed",
    )
    summed = node("Add", [summed, segment], "embedded")
    x = node(
        "LayerNormalization",
        [summed, *layer_norm("embeddings", "embedding_norm")],
        "layer_0",
        axis=-1,
        epsilon=1e-12,
    )
    for i in range(_LAYERS):
        key = f"encoder.layer.{i}"
        heads = [f"{key}.attention.self.{part}" for part in ("query", "key", "value")]
        qkv = np.concatenate([tensors[f"{head}.weight"] for head in heads])
        qkv_bias = np.concatenate([tensors[f"{head}.bias"] for head in heads])
        context = node(
            "Attention",
            [x, constant(f"qkv_{i}", qkv.T), constant(f"qkv_bias_{i}", qkv_bias)],
            f"context_{i}",
            num_heads=_HEADS,
        )
        attended = node(
            "SkipLayerNormalization",
            [
                dense(context, f"{key}.attention.output.dense", f"attention_{i}"),
                x,
                *layer_norm(f"{key}.attention.output", f"attention_norm_{i}"),
                constant(f"attention_bias_{i}", tensors[f"{key}.attention.output.dense.bias"]),
            ],
            f"attended_{i}",
            epsilon=1e-12,
        )
        inner = node(
            "BiasGelu",
            [
                dense(attended, f"{key}.intermediate.dense", f"inner_{i}"),
                constant(f"inner_bias_{i}", tensors[f"{key}.intermediate.dense.bias"]),
            ],
            f"activated_{i}",
        )
        x = node(
            "SkipLayerNormalization",
            [
                dense(inner, f"{key}.output.dense", f"output_{i}"),
                attended,
                *layer_norm(f"{key}.output", f"output_norm_{i}"),
                constant(f"output_bias_{i}", tensors[f"{key}.output.dense.bias"]),
            ],
            f"layer_{i + 1}",
            epsilon=1e-12,
        )
    graph = helper.make_graph(
        nodes,
        "minilm",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", "pieces"])],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", "pieces", DIM])],
        initializers,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)
