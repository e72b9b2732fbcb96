"""What the manifest says of how rows came to be, so that no promise is carried to rows of other settings."""

from __future__ import annotations

from annotate.checks import SCORES
from annotate.shards.run import Tools
from schemas.manifest import Writing


def writing_of(tools: Tools) -> Writing:
    """Of the rows that these tools make."""
    sampling = tools.writer.sampling
    return Writing(
        caption_mode=tools.caption_mode,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        sampling_seed=sampling.seed,
        max_tokens={str(stage): tokens for stage, tokens in sorted(tools.writer.max_tokens.items())},
        chances=tools.chances,
        guided=tools.guided,
        early_stop=tools.early_stop,
        deciding=dict(tools.thresholds) if tools.early_stop or tools.chances else {},
        encoder=tools.encoder,
        scores=SCORES,
        aspects=tools.writer.aspects,
    )
