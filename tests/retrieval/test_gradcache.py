"""Chunked and cached passes have the gradients of the plain pass, dropout and uneven last chunk included."""

from __future__ import annotations

import pytest
import torch

from tests.retrieval import toy_step


def run(
    chunk_size: int, cached: bool, dropout: float = 0.0
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    model = toy_step.Toy(dropout)
    torch.manual_seed(7)
    terms = toy_step.step(model, range(toy_step.BATCH), chunk_size, cached)
    return toy_step.gradients(model), terms


@pytest.mark.parametrize("chunk_size", [1, 3, 8, 100])
def test_gradcache_equals_the_plain_batch(chunk_size: int) -> None:
    plain, plain_terms = run(100, cached=False)
    cached, terms = run(chunk_size, cached=True)
    assert plain.keys() == cached.keys() and "temperature.log_scale" in plain and "words.weight" in plain
    for name, gradient in plain.items():
        assert gradient.abs().max() > 1e-3, f"{name} gets no gradient, the comparison shows nothing"
        torch.testing.assert_close(cached[name], gradient, atol=1e-5, rtol=1e-5)
    assert terms == pytest.approx(plain_terms, abs=1e-4)


def test_gradcache_replays_dropout() -> None:
    plain, _ = run(3, cached=False, dropout=0.4)
    cached, _ = run(3, cached=True, dropout=0.4)
    for name, gradient in plain.items():
        torch.testing.assert_close(cached[name], gradient, atol=1e-5, rtol=1e-5)
    without, _ = run(3, cached=False)
    assert not torch.allclose(without["trunk.0.weight"], plain["trunk.0.weight"], atol=1e-3)


def test_both_passes_leave_the_same_random_state() -> None:
    states = []
    for cached in (False, True):
        run(3, cached, dropout=0.4)
        states.append(torch.rand(1))
    assert states[0] == states[1], "a run with GradCache could not be resumed or compared otherwise"
