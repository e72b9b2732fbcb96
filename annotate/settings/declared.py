"""The list of all settings of `annotate run`: name, parser, what a change of it does, help, default."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from annotate.checks import CHECKS
from annotate.images import DEFAULT_RECIPE
from annotate.settings import values
from annotate.settings.values import Given, Source, Value
from annotate.shards.plan import SHARD_SIZE
from annotate.stages import STAGE_TOKENS
from annotate.teacher.pool import DEFAULT_PATIENCE
from schemas.triplet import DATASETS

PREFIX = "CIR_"
CONFIG_FILE = "annotate.toml"
CHECKOUT = Path(__file__).resolve().parents[2]
SAMPLE_TEACHER = CHECKOUT / "sample" / "models" / "teacher"

Changes = Literal["job", "answers", "verdicts", "run"]
TITLES: dict[Changes, str] = {
    "job": "what is annotated (another value is another job, save for LIMIT and SEED's draw)",
    "answers": "what the teacher answers (a change asks again exactly what depends on it; the job goes on)",
    "verdicts": "which rows are accepted (no answer is asked twice; what was not measured yet is asked)",
    "run": "how it runs (changes neither answers nor job, but for another model behind TEACHER_URL)",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. Default None means "unset", or derived from the others by `annotate.settings.defaults`."""

    name: str
    parse: Callable[[Given], Value]
    changes: Changes
    help: str
    default: Value = None
    is_switch: bool = False
    also: tuple[str, ...] = ()

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Name for make; the environment variable is `CIR_` + this."""
        return self.name.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting("dataset", values.choice(*DATASETS), "job", "cirr, fashioniq or circo", "cirr"),
    Setting("split", values.text, "job", "split of the dataset [train; circo: val]"),
    Setting("category", values.text, "job", "fashioniq only: dress, shirt or toptee [all three]"),
    Setting(
        "root", values.folder, "job", "folder of your dataset [the rendered sample, written when missing]"
    ),
    Setting(
        "limit", values.whole(1, None, 200), "job", "so many triplets, drawn at random by reference [all]"
    ),
    Setting("seed", values.whole(0, 2**31 - 1, 7), "job", "seeds the sample world and LIMIT's draw", 7),
    Setting(
        "teacher",
        values.teacher,
        "answers",
        "model folder or hub name; vLLM is started for it [the tiny teacher of the sample]",
    ),
    Setting(
        "teacher_flags",
        values.words,
        "answers",
        "more flags for the vLLM that we start, e.g. '--tensor-parallel-size 8'; those beyond parallelism, "
        "memory, scheduling and logs make another teacher",
        (),
    ),
    Setting(
        "teacher_model", values.text, "answers", "model name to ask for [the only one that the server has]"
    ),
    Setting(
        "teacher_sees_target",
        values.switch,
        "answers",
        "1 shows the target to the writer and marks every row (leakage!)",
        False,
        is_switch=True,
    ),
    Setting(
        "image_recipe",
        values.recipe,
        "answers",
        "how the teacher gets pictures: fit<longest side in pixels>-q<JPEG quality>-v1",
        DEFAULT_RECIPE,
    ),
    Setting(
        "caption_mode",
        values.choice("and", "clip4cir", "reversed", "first", "second"),
        "answers",
        "how fashioniq's two captions become one text",
        "and",
    ),
    Setting("temperature", values.number(0, 2, 0.7), "answers", "of the writer; 0 is greedy", 0.0),
    Setting("top_p", values.number(0.01, 1, 0.95), "answers", "of the writer", 1.0),
    Setting("sampling_seed", values.whole(0, 2**31 - 1, 1), "answers", "of the writer", 0),
    *(
        Setting(f"{stage}_tokens", values.whole(16, 8192, most), "answers", f"longest {stage} answer", most)
        for stage, most in STAGE_TOKENS.items()
    ),
    Setting("thresholds", values.thresholds, "verdicts", "score=least, comma-separated [docs/trust.md]", ()),
    Setting(
        "checks",
        values.names(*(check.name for check in CHECKS)),
        "verdicts",
        "only these checks, comma-separated [docs/trust.md]",
        (),
    ),
    Setting(
        "chances", values.whole(0, 9, 2), "verdicts", "times that a rejected row may be written again", 0
    ),
    Setting(
        "guided",
        values.switch,
        "verdicts",
        "1 shows the target to the writer in second chances and drops what leaks (marks these rows)",
        False,
        is_switch=True,
    ),
    Setting(
        "early_stop",
        values.switch,
        "verdicts",
        "0 asks every check of every row, as calibration wants it; 1 stops where a row is rejected",
        True,
        is_switch=True,
    ),
    Setting(
        "out", values.path, "run", "folder of the results [outputs/DATASET-SPLIT, outputs/user-… with ROOT]"
    ),
    Setting(
        "teacher_url",
        values.urls,
        "run",
        "OpenAI-compatible server that runs already, e.g. http://host:8000/v1; several, comma-separated",
    ),
    Setting(
        "encoder_url",
        values.url,
        "run",
        "OpenAI-compatible server of an image-text encoder, for the check round_trip [none]",
    ),
    Setting(
        "teacher_python", values.path, "run", "python with vLLM, for TEACHER [.venv-teacher of the checkout]"
    ),
    Setting("port", values.whole(1, 65535, 8000), "run", "port for the server that we start [a free one]"),
    Setting(
        "timeout",
        values.number(1, 86400, 300),
        "run",
        "seconds that one answer may take",
        DEFAULT_PATIENCE.deadline,
    ),
    Setting("concurrency", values.whole(1, 4096, 64), "run", "requests in flight", 64),
    Setting(
        "shard_size",
        values.whole(1, 65536, 256),
        "run",
        "triplets a shard (one Prefect task each)",
        SHARD_SIZE,
    ),
    Setting(
        "runner", values.choice("local", "prefect"), "run", "local: one process; prefect: a flow", "local"
    ),
    Setting(
        "prefect_api",
        values.url,
        "run",
        "Prefect server [make ui's, else one of the run's own]",
        also=("PREFECT_API_URL",),
    ),
    Setting(
        "allow_missing",
        values.switch,
        "run",
        "1 goes on with more than 10 % of the images missing (their triplets are quarantined)",
        False,
        is_switch=True,
    ),
)
BY_NAME: Mapping[str, Setting] = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True, slots=True)
class Resolved:
    """A setting's value, the kind of source it came from, and why."""

    setting: Setting
    value: Value
    source: Source
    reason: str
