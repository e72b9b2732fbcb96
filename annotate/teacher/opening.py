"""Opens the servers of a run: the teacher, started here or found running, and the image-text encoder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from annotate.errors import TeacherRefused
from annotate.progress import duration
from annotate.settings import RunSettings
from annotate.teacher.canary import CanaryReport, run_canary
from annotate.teacher.client import Stats, TeacherClient
from annotate.teacher.pool import Patience
from annotate.teacher.probe import check_server
from annotate.teacher.request import Ask
from annotate.teacher.server import start_server
from annotate.teacher.wire import Images


@dataclass(frozen=True, slots=True)
class OpenServer:
    """Whom a run asks, teacher or encoder: `stop_sending` makes requests that still wait for a server raise
    `RunIncomplete`."""

    ask: Ask
    stats: Stats
    stop_sending: Callable[[], None]


@asynccontextmanager
async def open_teacher(
    settings: RunSettings, api_key: str | None, images: Images, model: str, say: Callable[[str], None]
) -> AsyncIterator[OpenServer]:
    """The teacher, started or found, proven by the canary."""
    with ExitStack() as held:
        urls = settings.urls
        if settings.teacher is not None:
            log = settings.out / "journal" / "teacher.log"
            say(f"starting the teacher in vLLM; its output goes to {log}")
            server = held.enter_context(
                start_server(
                    settings.teacher, settings.teacher_python, log, settings.port, settings.teacher_flags
                )
            )
            urls, api_key = (server.url,), None
            say(f"teacher ready after {duration(server.seconds_to_start)}")
        reports = [await run_canary(url, model, api_key) for url in urls]
        say(canary_words(reports))
        uuids = all(report.uuid_supported for report in reports)
        async with TeacherClient(
            urls,
            model,
            api_key,
            images,
            settings.concurrency,
            patience=_patience(settings, ours=settings.teacher is not None),
            say=say,
            image_uuids=uuids,
        ) as client:
            yield OpenServer(client.ask, client.stats, client.stop_sending)


def encoder_model(settings: RunSettings, api_key: str | None) -> str:
    """The name of the image-text encoder's model, "" without one. Raises `TeacherRefused`."""
    return (
        only_model(settings.encoder_url, api_key, "ENCODER_URL") if settings.encoder_url is not None else ""
    )


@asynccontextmanager
async def open_encoder(
    settings: RunSettings, api_key: str | None, images: Images, model: str, say: Callable[[str], None]
) -> AsyncIterator[OpenServer | None]:
    """How the encoder is asked, or None without one."""
    if settings.encoder_url is None:
        yield None
        return
    async with TeacherClient(
        (settings.encoder_url,),
        model,
        api_key,
        images,
        settings.concurrency,
        patience=_patience(settings, ours=False),
        say=say,
        image_uuids=False,
    ) as client:
        yield OpenServer(client.ask, client.stats, client.stop_sending)


def canary_words(reports: Sequence[CanaryReport]) -> str:
    """What the canary found at each server, the least favourable of all."""
    apart = min(report.picture_difference for report in reports)
    repeat = max(report.repeat_difference for report in reports)
    words = [
        "canary: answers are constrained to our schema, the model looks at pictures (two differ by "
        f"{apart:.2g} in log-probability, a repeated question by {repeat:.1g})"
    ]
    if not all(report.uuid_supported for report in reports):
        words.append("images are sent inline each time, as it knows no uuid")
    if any(report.reasons for report in reports):
        words.append("it thinks aloud beside its answers, which costs tokens")
    if len(reports) > 1:
        words.append(f"{len(reports)} servers")
    return "; ".join(words)


def _patience(settings: RunSettings, *, ours: bool) -> Patience:
    """Another's server may come back within half an hour; one that we started and that died will not."""
    usual = Patience(deadline=settings.timeout)
    return replace(usual, give_up_after=60.0) if ours else usual


def only_model(url: str, api_key: str | None, setting: str = "TEACHER_URL") -> str:
    """The one model of the server that `setting` names. Raises `TeacherRefused`, also when it has several."""
    models = check_server(url, None, api_key, setting).models
    if len(models) != 1:
        one = "set TEACHER_MODEL to one of them"
        cure = one if setting == "TEACHER_URL" else "it must serve one: give the URL of such a server"
        raise TeacherRefused(f"{setting} {url} serves {', '.join(models) or 'nothing'}; {cure}")
    return models[0]
