"""What kind of file system a folder is on: on a network's, neither lock nor journal holds."""

from __future__ import annotations

import os
from pathlib import Path

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = {
    *(
        "nfs",
        "nfs4",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "cifs",
        "smb3",
        "glusterfs",
        "panfs",
        "wekafs",
        "afs",
    ),
    *(f"fuse.{name}" for name in ("sshfs", "glusterfs", "ceph", "juicefs", "s3fs", "gcsfuse", "rclone")),
}


def network_file_system(place: Path) -> str | None:
    """The kind of network file system that a folder is on; None for a local disk, or where nothing tells."""
    device = place.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = [line.split() for line in MOUNTS.read_text(errors="replace").splitlines()]
    except OSError:  # no Linux
        return None
    # proc(5): the third field is the device; the kind follows a lone dash
    kinds = (words[words.index("-") + 1] for words in lines if "-" in words[:-1] and words[2] == number)
    return next((kind for kind in kinds if kind in NETWORK), None)


def network_words(out: Path, kind: str) -> tuple[str, str]:
    """What is wrong with an OUT there, and the cure."""
    what = f"OUT {out} is on a network file system ({kind}), where neither lock nor journal holds"
    return what, "give an OUT= on a local disk and copy it afterwards"
