"""Query refinement against torch: the gradient by autograd, the steps by torch's own Adam."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: make test-torch")

from rag.scoring.refine import Refining, divergence_and_gradient, refine_query, target_chances

SHAPES = pytest.mark.parametrize(
    ("n_query", "n_rows"), [(1, (1, 1, 1, 1)), (6, (1, 3, 8, 5))], ids=["single vector", "MaxSim"]
)
KINDS = pytest.mark.parametrize("raw", [False, True], ids=["mean", "tutorial"])


def world(n_query, n_rows, *, dim=24, seed=0):
    rng = np.random.default_rng(seed)

    def unit(n):
        rows = rng.standard_normal((n, dim)).astype(np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    return unit(n_query), [unit(n) for n in n_rows], rng.uniform(-1, 1, len(n_rows))


def scores_by_torch(query, pages, refining):
    sums = torch.stack(
        [(query @ torch.from_numpy(page).to(query).T).max(dim=1).values.sum() for page in pages]
    )
    return sums if refining.raw else sums / len(query)


def target_by_torch(first, second, refining):
    second = torch.from_numpy(second).to(first)
    if refining.raw:
        mixed = (1 - refining.alpha) * first + refining.alpha * second
        return (mixed / refining.temperature).softmax(0)
    own, other = ((s / refining.temperature).softmax(0) for s in (first, second))
    return (1 - refining.alpha) * own + refining.alpha * other


def divergence_by_torch(query, pages, target, refining):
    logits = scores_by_torch(query, pages, refining) / refining.temperature
    return (target * (target.log() - logits.log_softmax(0))).sum()


@SHAPES
@KINDS
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_the_gradient_is_that_of_autograd(n_query, n_rows, raw, temperature):
    query, pages, second = world(n_query, n_rows)
    refining = Refining(alpha=0.4, temperature=temperature, raw=raw)
    target = target_chances(query, pages, second, refining)
    value, gradient = divergence_and_gradient(query, pages, target, refining)
    leaf = torch.from_numpy(query).double().requires_grad_()
    expected = divergence_by_torch(leaf, pages, torch.from_numpy(target), refining)
    expected.backward()
    assert value == pytest.approx(expected.item(), abs=1e-6)
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(gradient, leaf.grad.numpy(), atol=2e-6)


@SHAPES
@KINDS
def test_the_steps_are_those_of_torch(n_query, n_rows, raw):
    query, pages, second = world(n_query, n_rows, seed=1)
    refining = Refining(alpha=0.6, learning_rate=5e-3, steps=20, raw=raw)
    found = refine_query(query, pages, second, refining)
    leaf = torch.from_numpy(query.copy()).requires_grad_()
    with torch.no_grad():
        target = target_by_torch(scores_by_torch(leaf, pages, refining), second, refining)
    adam = torch.optim.Adam([leaf], lr=refining.learning_rate)
    for _ in range(refining.steps):
        adam.zero_grad()
        divergence_by_torch(leaf, pages, target, refining).backward()
        adam.step()
    np.testing.assert_allclose(found.vectors, leaf.detach().numpy(), atol=2e-4)
    assert np.abs(found.vectors - query).max() > 0.02
