"""Replies as a teacher gives them, for the journal to keep."""

from __future__ import annotations

from dataclasses import replace

from annotate.teacher.request import Reply, Request

REPLY = Reply('{"claims":["red dress"]}', "stop", (("A", -0.1), ("B", -2.3025850929940455)), 100, 7, 64)


def reply_to(request: Request) -> Reply:
    return replace(REPLY, text=request.turns[-1].text)
