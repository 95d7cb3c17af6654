"""The best tag sequences of a linear chain: Viterbi, and its form for the best `n`."""

from __future__ import annotations

import torch
from torch import Tensor

from gateflow.layers.chain import FORBIDDEN, Chain

__all__ = ["best", "n_best"]

# Numbers that are added and looked through while they lie in the second-level cache; with 400 tags, 7 times as fast.
_CACHED = 2**17


def best(chain: Chain) -> tuple[Tensor, Tensor]:
    """The sequence of greatest score, `[T, B]`, and its score, `[B]`; beyond a row's length tags mean nothing."""
    before = chain.inner.t().contiguous()
    reached = [chain.begin + chain.scores[0]]
    for score in chain.scores[1:]:
        reached.append(_best_before(reached[-1], before) + score)
    scores = torch.stack(reached)
    # Back from each row's own end; what follows the last tag is the end, a row of its own in this table.
    following = torch.cat([before, chain.end[None]])
    tag, tags = torch.full_like(chain.lengths, len(before)), []
    for score in chain.turned(scores):
        # Computed again, from the same sums, instead of kept: one tag in K is needed.
        tag = (score + following.index_select(0, tag)).argmax(-1)
        tags.append(tag)
    total = (chain.at_end(scores) + chain.end).amax(-1)
    tags = chain.turned(torch.stack(tags)[:, :, None])[:, :, 0]
    return tags, torch.where(chain.lengths > 0, total, 0.0)


def _best_before(reached: Tensor, before: Tensor) -> Tensor:
    """The greatest score with which each tag can be reached, `[B, K]`."""
    rows = max(1, _CACHED // before.numel())
    if len(reached) <= rows:
        return (reached[:, None] + before).amax(-1)
    return torch.cat([_best_before(part, before) for part in reached.split(rows)])


def n_best(chain: Chain, n: int) -> tuple[Tensor, Tensor]:
    """The `n` best sequences `[n, T, B]`, best first, and their scores `[n, B]`, forbidden where there are fewer."""
    before = chain.inner.t()[None, :, :, None]
    (_, B, K), missing = chain.scores.shape, chain.scores.new_full((n - 1,), FORBIDDEN)
    # The n best sequences that end in each tag, [B, K, n], and where each came from: tag · n + rank.
    entries = torch.cat([(chain.begin + chain.scores[0])[:, :, None], missing.expand(B, K, -1)], 2)
    reached, origins = [entries], [torch.zeros_like(entries, dtype=torch.int64)]
    for score in chain.scores[1:]:
        entries, origin = (entries[:, None] + before).flatten(2).topk(n, dim=2)
        entries = entries + score[:, :, None]
        reached.append(entries)
        origins.append(origin)
    totals = chain.at_end(torch.stack(reached)) + chain.end[:, None]
    totals, place = totals.flatten(1).topk(n, dim=1)
    tags = []
    for origin in chain.turned(torch.stack(origins).flatten(2)):
        tags.append(place // n)
        place = origin.gather(1, place)
    nothing = torch.cat([missing.new_zeros(1), missing])
    totals = torch.where(chain.lengths[:, None] > 0, totals, nothing)
    return chain.turned(torch.stack(tags)).permute(2, 0, 1), totals.t()
