"""report.html: one self-contained file without scripts, in which foreign text stays text."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from annotate.images import ImageStore
from annotate.report import rows, stored_pictures, write_report
from annotate.report.histogram import BINS, histogram
from annotate.report.pictures import SIDE, data_uri
from annotate.selection import REASONS
from schemas.answers import Edit

EVIL = (
    '"><script>alert(1)</script>',
    "</style><img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "=cmd|' /C calc'!A0",
    "\x1b[31mred\x07\x00 \u202etxt.exe",
    "&lt;b&gt; & 'quotes' \"double\"",
)
Fixture = Callable[..., Any]


class Page(HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text.append(data.strip())

    def has(self, text: str) -> bool:
        return any(text in part for part in self.text)


def report(out: Path, manifest: Any, pictures: Callable[[str], bytes | None] = lambda digest: None) -> str:
    told = manifest.model_copy(update={"settings": {"LIMIT": "200"}})
    return write_report(out, told, pictures).read_text(encoding="utf-8")


def test_page_shows_counts_reasons_in_words_examples_and_settings(
    tmp_path: Path, make_row: Fixture, rejected: Fixture, quarantined: Fixture, publish: Fixture
) -> None:
    manifest = publish([*(make_row(n) for n in range(20)), rejected(30), quarantined(40)])
    page = Page(report(tmp_path, manifest))
    for text in (
        "20",
        "90.9 %",
        "4.5 %",
        REASONS["target_mismatch"],
        REASONS["missing_image"],
        "LIMIT",
        "200",
    ):
        assert page.has(text), text
    for text in (
        "cirr/train/30",
        "cirr/train/40",
        "make the ball blue",
        "turn the ball blue",
        "gone",
        "0.250",
    ):
        assert page.has(text), text
    assert sum(tag == "article" for tag, _ in page.tags) == 12 + 1 + 1


def test_page_loads_nothing_and_runs_nothing(
    tmp_path: Path, make_row: Fixture, publish: Fixture, jpeg: bytes
) -> None:
    html = report(tmp_path, publish([make_row(1)]), lambda digest: jpeg)
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        for name in ("src", "href", "action", "xlink:href"):
            value = attributes.get(name) or "#"
            assert value.startswith(("data:image/jpeg;base64,", "#")), value
    policy = next(a["content"] for t, a in page.tags if t == "meta" and a.get("http-equiv"))
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert policy is not None
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy.split("; ")[:3] == ["default-src 'none'", f"style-src 'sha256-{digest}'", "img-src data:"]
    assert "url(" not in style[1]
    assert "@import" not in style[1]


@pytest.mark.parametrize("evil", EVIL)
def test_foreign_text_stays_text_wherever_it_comes_from(
    tmp_path: Path, quarantined: Fixture, make_row: Fixture, publish: Fixture, evil: str
) -> None:
    edit = Edit.model_validate({"aspect": evil[:40], "from": evil[:80], "to": evil[:80]})
    texts = dict.fromkeys(
        ("reference", "target", "modification", "rationale", "detail", "native_id", "teacher"), evil
    )
    lists = dict.fromkeys(
        ("caption_claims", "conclusion_claims", "kept", "notes", "leak_claims", "reasons"), (evil,)
    )
    poisoned = [
        make_row(1, triplet_id=f"cirr/train/{evil}", edits=(edit,), **texts, **lists),
        quarantined(2, modification=evil, detail=evil, reasons=(evil,)),
    ]
    harmless = report(tmp_path, publish([make_row(1, leak_claims=("a",), notes=("b",)), quarantined(2)]))
    manifest = publish(
        poisoned, teacher=evil, root=evil, layout=evil, reasons={evil: 1}, versions={evil: evil}
    )
    poisoned_page = report(tmp_path, manifest)
    assert {tag for tag, _ in Page(poisoned_page).tags} == {tag for tag, _ in Page(harmless).tags}
    assert "<script" not in poisoned_page
    assert evil.isprintable() is False or Page(poisoned_page).has(evil)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e]", poisoned_page)


def test_same_rows_give_the_same_bytes(
    tmp_path: Path, make_row: Fixture, rejected: Fixture, publish: Fixture, jpeg: bytes
) -> None:
    some = [*(make_row(n) for n in range(30)), *(rejected(n) for n in range(30, 60))]
    first = report(tmp_path, publish(some), lambda digest: jpeg)
    second = report(tmp_path, publish(list(reversed(some))), lambda digest: jpeg)
    assert first == second


def test_pick_lets_no_reason_be_crowded_out(tmp_path: Path, quarantined: Fixture, publish: Fixture) -> None:
    publish(
        [*(quarantined(n) for n in range(100)), quarantined(100, reasons=("image_too_large",), detail="big")]
    )
    picked = rows.pick(tmp_path, "quarantined", 3)
    assert [row.reasons[0] for row in picked] == ["image_too_large", "missing_image", "missing_image"]
    assert picked[0].detail == "big"


def test_empty_out_still_gives_a_page(tmp_path: Path, publish: Fixture) -> None:
    page = Page(report(tmp_path, publish([])))
    assert page.has("No rows.")
    assert page.has("None was.")


def test_warnings_are_on_the_page_only_when_they_hold(
    tmp_path: Path, make_row: Fixture, publish: Fixture
) -> None:
    some = [make_row(1)]
    plain_page = report(tmp_path, publish(some))
    warned = report(
        tmp_path, publish(some, status="incomplete", teacher_sees_target=True, source="sample", limit=1)
    )
    for words in ("<b>Incomplete.</b>", "<b>Leakage.</b>", "<b>Rendered sample.</b>", "LIMIT=1"):
        assert words in warned
        assert words not in plain_page


def test_pictures_are_shrunk_jpegs_and_anything_else_is_shown_as_missing(jpeg: bytes) -> None:
    uri = data_uri(jpeg)
    assert uri is not None
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        assert (image.format, max(image.size)) == ("JPEG", SIDE)
    png = io.BytesIO()
    Image.new("RGB", (4, 4)).save(png, "PNG")
    for broken in (None, b"", b"<svg onload=alert(1)>", png.getvalue(), jpeg[:200]):
        assert data_uri(broken) is None


def test_pictures_come_from_the_image_store_by_source_digest(tmp_path: Path, jpeg: bytes) -> None:
    source = tmp_path / "a.jpg"
    source.write_bytes(jpeg)
    store = ImageStore(tmp_path / "store", "fit448-q90-v1")
    picture = store.store(source)
    read = stored_pictures(store)
    assert read(picture.source_digest) == store.encoded(picture).data
    assert read("0" * 64) is None
    assert read("../../../a") is None


def test_row_without_pictures_says_so(tmp_path: Path, quarantined: Fixture, publish: Fixture) -> None:
    assert Page(report(tmp_path, publish([quarantined(1)]))).text.count("no picture") == 2


def test_histogram_counts_every_value_once_and_exactly_below_the_threshold() -> None:
    values = [0.0, 0.04, 0.949, 0.95, 0.9999, 1.0, 1.0]
    (*_, last) = histogram("form", "", [1.0] * 9 + [0.5], 1.0).bars
    assert last.rows == 9 and not last.below, "of a threshold of 1 the last bar holds what reaches it"
    chart = histogram("p_match", "", values, 0.95)
    assert sum(bar.rows for bar in chart.bars) == chart.rows == len(values)
    assert len(chart.bars) == BINS
    assert (chart.bars[0].rows, chart.bars[-2].rows, chart.bars[-1].rows) == (2, 1, 4)
    assert chart.rows_below == 3
    assert [bar.below for bar in chart.bars[-2:]] == [True, False]
    assert max(bar.height for bar in chart.bars) == chart.bars[-1].height == 150
