"""Loss terms against naive loops."""

from __future__ import annotations

import pytest
import torch

from annotate.errors import UsageError
from retrieval.objective import (
    IGNORED,
    Temperature,
    chain_nll,
    image_key,
    info_nce,
    keys_tensor,
    known_positives,
)


def unit(rows: int, seed: int) -> torch.Tensor:
    drawn = torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=-1)


def test_info_nce_equals_a_loop_over_queries_and_candidates_with_masks() -> None:
    queries, candidates = unit(4, 1).requires_grad_(), unit(9, 2).requires_grad_()
    own = torch.tensor([2, 0, 8, 5])
    masked = torch.zeros(4, 9, dtype=torch.bool)
    masked[0, 3] = masked[0, 8] = masked[2, 0] = True
    scale = torch.tensor(7.0, requires_grad=True)
    loss = info_nce(queries, candidates, own, masked, scale)
    terms = []
    for i in range(4):
        parts = [scale * queries[i].dot(candidates[j]) for j in range(9) if not masked[i, j]]
        terms.append(torch.stack(parts).exp().sum().log() - scale * queries[i].dot(candidates[own[i]]))
    naive = torch.stack(terms).mean()
    assert loss.item() == pytest.approx(naive.item(), abs=1e-6)
    inputs = (queries, candidates, scale)
    for fast, slow in zip(torch.autograd.grad(loss, inputs), torch.autograd.grad(naive, inputs), strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-6, rtol=1e-5)


def test_a_masked_candidate_gets_no_gradient_at_all() -> None:
    queries, candidates = unit(1, 3), unit(3, 4).requires_grad_()
    masked = torch.tensor([[False, True, False]])
    info_nce(queries, candidates, torch.tensor([0]), masked, torch.tensor(5.0)).backward()  # type: ignore[no-untyped-call]
    assert candidates.grad is not None
    assert candidates.grad[1].abs().sum() == 0 and candidates.grad[2].abs().sum() > 0


def test_known_positives_are_masked_and_the_own_target_never_is() -> None:
    # query 0's target (key 10) is also query 2's target; query 1 knows 12 as a further positive
    positives = keys_tensor([[10], [11, 12, 99], [10]])
    candidates = torch.tensor([10, 11, 10, 12, 13])
    masked = known_positives(positives, candidates, own=torch.tensor([0, 1, 2]))
    assert masked.tolist() == [
        [False, False, True, False, False],
        [False, False, False, True, False],
        [True, False, False, False, False],
    ]


def test_chain_nll_counts_chain_tokens_only() -> None:
    logits = torch.randn(2, 6, 13, generator=torch.Generator().manual_seed(5))
    labels = torch.tensor([[IGNORED, IGNORED, 4, 7, 1, IGNORED], [IGNORED, 3, IGNORED, 2, IGNORED, 12]])
    naive, count = 0.0, 0
    for row in range(2):
        for position in range(1, 6):
            if labels[row, position] != IGNORED:
                naive -= float(logits[row, position - 1].log_softmax(-1)[labels[row, position]])
                count += 1
    nll, tokens = chain_nll(logits, labels, lambda chosen: chosen)
    assert tokens == count == 6
    assert float(nll) == pytest.approx(naive, abs=1e-5)


def test_temperature_is_learned_or_fixed_and_never_below_its_floor() -> None:
    learned, fixed = Temperature(0.05), Temperature(0.05, learned=False)
    assert learned().item() == pytest.approx(20.0, rel=1e-5)
    assert learned.log_scale.requires_grad and not fixed.log_scale.requires_grad
    with torch.no_grad():
        learned.log_scale.fill_(50.0)
    learned.keep_in_range()
    assert learned().item() == pytest.approx(100.0, rel=1e-5)
    with pytest.raises(UsageError, match=r"temperature 0\.001 is below"):
        Temperature(0.001)


def test_image_keys_are_stable_across_processes_and_differ_between_datasets() -> None:
    assert image_key("cirr", "dev-1-0-img0") == 2099965491809798463
    assert image_key("circo", "dev-1-0-img0") != image_key("cirr", "dev-1-0-img0")
    assert 0 <= image_key("fashioniq", "B001") < 2**63
