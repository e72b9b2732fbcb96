"""Chains written by a server: an exported retriever (`python -m retrieval export`) that vLLM serves.

vLLM writes many chains at once but cannot return the state of a token that it wrote, so the embedding is one
prefill over prompt + chain + `<emb>` in this process. The client is the annotation's own: it retries and
slows down as it does there, but somebody waits for an evaluation: it gives up after minutes without a chain.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from annotate.errors import InputError, RunIncomplete, TeacherRefused, UsageError
from annotate.images import Encoded, parse_recipe
from annotate.images.decoding import encode
from annotate.teacher.client import TeacherClient
from annotate.teacher.opening import only_model
from annotate.teacher.pool import Patience
from annotate.teacher.request import Picture, Request, Sampling, Turn
from annotate.teacher.retry import Unanswered
from annotate.text import shorten
from retrieval.conversation import query_prompt, wording_digest
from retrieval.encode import QueryText, parts
from retrieval.model import CirModel
from retrieval.objective import IGNORED
from retrieval.pictures import Pictures
from retrieval.sights import Sights

CONCURRENCY = 64
CHECKED, FOREIGN = 32, 0.01
"""So many chains of a part are looked at; a mean regret (nats a token) above this is another model's. On the
sample: 0 to 0.0008 for the same weights (asked by JPEG), 0.027 to 0.17 for another training run."""
PATIENCE = 120.0
"""Seconds without any chain after which a server counts as gone."""


@dataclass(frozen=True, slots=True)
class Generator:
    """A server of an exported retriever: `url` ends in /v1, `model` is what it serves."""

    url: str
    model: str
    patience: float = PATIENCE

    def write(
        self,
        asked: Sequence[tuple[Path, str]],
        recipe: str,
        max_tokens: int,
        say: Callable[[str], None] = lambda line: None,
        blank: bool = False,
    ) -> list[str]:
        """The chain for each (reference file, modification), greedy, cut at `max_tokens`; `blank`: of grey
        pictures, for a model that was trained without them.

        Raises `InputError` naming a picture that is not right, a query that gets no answer (none is left
        out), or a server that fails or writes nothing for `patience` seconds.
        """
        try:
            return asyncio.run(self._write(asked, _Files(recipe, blank), max_tokens, say))
        except RunIncomplete as error:
            raise InputError(f"--generator-url: {error}") from error
        except TimeoutError as error:
            raise InputError(
                f"{self.url} has written no chain for {self.patience:g} s: it is gone, hangs or is too slow; "
                "see the server's log, or wait longer with --generator-patience"
            ) from error

    async def _write(
        self,
        asked: Sequence[tuple[Path, str]],
        files: _Files,
        max_tokens: int,
        say: Callable[[str], None],
    ) -> list[str]:
        requests = [self._request(files.picture(path), text, max_tokens) for path, text in asked]
        patience = Patience(give_up_after=self.patience, deadline=max(self.patience, Patience().deadline))
        clock = asyncio.get_running_loop().time

        async def one(request: Request, path: Path, text: str) -> str:
            try:
                chain = (await client.ask(request)).text
            except Unanswered as error:
                raise InputError(
                    f"{self.url}: no chain for {path.name}, {text!r} ({error.detail}); see the server's log"
                ) from error
            silence.reschedule(clock() + self.patience)
            return chain

        async with (
            TeacherClient(
                self.url, self.model, None, files, CONCURRENCY, patience=patience, say=say
            ) as client,
            asyncio.timeout(self.patience) as silence,
        ):
            try:
                async with asyncio.TaskGroup() as group:
                    tasks = [
                        group.create_task(one(request, *query))
                        for request, query in zip(requests, asked, strict=True)
                    ]
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
        return [task.result() for task in tasks]

    def _request(self, picture: Picture, text: str, max_tokens: int) -> Request:
        turn = Turn("user", query_prompt(text), (picture,))
        return Request(
            "chain", self.model, (turn,), wording_digest(), sampling=Sampling(max_tokens=max_tokens)
        )


def open_generator(url: str, patience: float = PATIENCE) -> Generator:
    """Ask the server what it serves. Raises `UsageError` when it does not answer or serves several models."""
    if not 0 < patience < float("inf"):
        raise UsageError(f"--generator-patience {patience:g} is no time to wait; give seconds above 0")
    try:
        return Generator(url, only_model(url, None, "--generator-url"), patience)
    except TeacherRefused as error:
        raise UsageError(str(error)) from error


def refuse_foreign(
    url: str, model: CirModel, told: Sequence[QueryText], pictures: Pictures | Sights, batch: int = 32
) -> None:
    """Raise `InputError` when the first chains of `told` are not what `model` would have written.

    They are not compared with its own, letter by letter: two programs may break a tie differently, and all
    that follows is then different. The model is asked after each beginning how much likelier its own next
    token was: hardly at all in a chain that the same weights wrote.
    """
    model.eval()
    chosen, regrets = told[:CHECKED], []
    for rows in parts(len(chosen), batch):
        shown = chosen[rows]
        turns = [model.reader.user_turn(pictures.load(q.reference), query_prompt(q.text)) for q in shown]
        chains = [model.reader.chain_ids(query.chain or "") for query in shown]
        asked = model.reader.embedding_batch(turns, chains)
        asked.labels[torch.arange(len(shown)), asked.ends] = IGNORED  # a chain may have been cut off
        regrets.append(model.regrets(asked))
    regret = float(torch.cat(regrets).mean())
    if not regret <= FOREIGN:
        wrote = shorten(chosen[0].chain or "", 60)
        raise InputError(
            f"{url}: serves another model than --model, which would not have written {wrote!r} "
            f"(regret {regret:.3f} a token, at most {FOREIGN:g}); serve the export of --model there"
        )


class _Files:
    """Reference files as the client wants them: by digest, as JPEG of the recipe's size and quality."""

    def __init__(self, recipe: str, blank: bool) -> None:
        self._recipe = parse_recipe(recipe)
        self._pictures = Pictures(recipe, blank)
        self._paths: dict[str, Path] = {}

    def picture(self, path: Path) -> Picture:
        """The picture by reference. Raises `InputError` for a file that cannot be read."""
        digest = self._pictures.digest(path)
        self._paths[digest] = path
        return Picture(digest, self._recipe.name)

    def encoded(self, picture: Picture) -> Encoded:
        """JPEG bytes and their digest."""
        data = encode(self._pictures.load(self._paths[picture.source_digest]), self._recipe.quality)
        return Encoded(data, hashlib.sha256(data).hexdigest())
