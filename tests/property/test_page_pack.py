"""Laws of the packed pages: whatever is done in whatever order, and whichever byte changes."""

import tempfile
import uuid
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rag.errors import IndexMismatch, PackDamaged
from rag.page_pack import PackedPage, PackSpec, PagePack, Part

SPEC = PackSpec(dim=16, fde_size=72, fde_fingerprint="f")
NUMBERS = st.integers(0, 7)
OPERATIONS = st.one_of(
    st.tuples(st.just("append"), st.lists(st.tuples(NUMBERS, st.integers(0, 99)), max_size=4)),
    st.tuples(st.just("discard"), st.lists(NUMBERS, max_size=4)),
    st.tuples(st.sampled_from(["compact", "reopen", "hold a view", "let go of views"])),
)


def record_id(number: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number)))


def page(number: int, seed: int) -> PackedPage:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((seed % 70, SPEC.dim)).astype(np.float32)
    fde = rng.standard_normal(SPEC.fde_size).astype(np.float32) if len(rows) else None
    return PackedPage(record_id(number), rows, fde)


def codes_of(page: PackedPage) -> tuple[list, list, list]:
    """int8 codes, signs of the rows, signs of the FDE: from the float16 values, in plain numpy."""
    rows = page.patches.astype(np.float16).astype(np.float64)
    largest = np.abs(rows).max(initial=1e-9)
    codes = np.rint((rows / largest * 127).astype(np.float32)).astype(int) + 128
    fde = np.zeros(SPEC.fde_size) if page.fde is None else page.fde.astype(np.float16)
    return codes.tolist(), (rows > 0).tolist(), (fde > 0).tolist()


def codes_in(pack: PagePack) -> dict[str, tuple[list, list, list]]:
    view = pack.view()
    for part in Part:
        view.check(view.pages, part)
    return {
        name: (
            view.data(index, Part.INT8).astype(int).tolist(),
            (view.bits.page(index) > 0).tolist(),
            np.unpackbits(view.fde_signs[index], bitorder="little")[: SPEC.fde_size]
            .astype(bool)
            .tolist(),
        )
        for name, index in view.index_of.items()
    }


@settings(max_examples=60, deadline=None)
@given(operations=st.lists(OPERATIONS, max_size=12))
def test_a_pack_holds_what_a_dictionary_would(operations):
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        pack = opened.enter_context(PagePack.open(Path(folder) / "p", SPEC, erase_wait_s=0))
        expected: dict[str, PackedPage] = {}
        held = []
        for name, *arguments in operations:
            if name == "append":
                pages = [page(number, seed) for number, seed in arguments[0]]
                pack.append(pages)
                expected |= {made.record_id: made for made in pages}
            elif name == "discard":
                pack.discard([record_id(number) for number in arguments[0]])
                for number in arguments[0]:
                    expected.pop(record_id(number), None)
            elif name == "compact":
                pack.compact()
            elif name == "reopen":
                pack.close()
                pack = opened.enter_context(PagePack.open(Path(folder) / "p", SPEC, erase_wait_s=0))
            elif name == "hold a view":
                held.append((pack.view(), codes_in(pack)))
            else:
                held.clear()
            assert codes_in(pack) == {i: codes_of(made) for i, made in expected.items()}
        for view, before in held:
            assert {i: view.data(n, Part.INT8).tolist() for i, n in view.index_of.items()} == {
                i: codes[0] for i, codes in before.items()
            }


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255), cut=st.booleans())
def test_no_changed_byte_is_ever_read(place, flip, cut):
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made) / "p"
        with PagePack.open(folder, SPEC) as pack:
            pack.append([page(number, number + 30) for number in range(4)])
            whole = codes_in(pack)
        files = sorted(path for path in folder.iterdir())
        offset = int(place * sum(path.stat().st_size for path in files))
        for path in files:
            if offset < path.stat().st_size:
                break
            offset -= path.stat().st_size
        content = bytearray(path.read_bytes())
        content[offset] ^= flip
        path.write_bytes(content[:offset] if cut else content)
        try:
            pack = PagePack.open(folder, SPEC)
        except (PackDamaged, IndexMismatch):
            return
        with pack:
            damaged = pack.verify().damaged
            pack.set_aside(damaged)
            left = codes_in(pack)
            assert left == {i: whole[i] for i in left}
            # Nothing is missing but what was named, or the last entries of the table.
            if path.suffix == ".table":
                assert damaged == ()
            elif path.suffix != ".json":
                assert set(left) | set(damaged) == set(whole)
                assert len(damaged) == 1
