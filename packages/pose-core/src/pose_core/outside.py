"""Errors whose cause lies outside the program: what to do about them."""

from __future__ import annotations

import errno
import os

REMEDIES = {
    errno.ENOSPC: "free some space there, or write elsewhere",
    errno.EDQUOT: "your share of this disk is used up: free some space there, or write elsewhere",
    errno.EROFS: "nothing can be written there now: make it writable again, or write elsewhere",
    errno.EACCES: "ask for the right to use it, or use another place",
    errno.EPERM: "ask for the right to use it, or use another place",
    errno.EFBIG: "files may not be that large here: see `ulimit -f`",
    errno.EIO: "the disk or the network file system has failed: see the system's messages, then try again",
    errno.ESTALE: "the network file system has been away: try again",
    errno.EMFILE: "raise the number of files that may be open (`ulimit -n`), or use fewer workers",
    errno.ENFILE: "raise the number of files that may be open on this machine, or use fewer workers",
    errno.ENOMEM: "give the job more memory, or use fewer workers and smaller batches",
    errno.EISDIR: "there is a folder of that name: move it away",
    errno.ENOENT: "it may have been deleted or moved in the meantime",
    errno.ENOTDIR: "it may have been replaced in the meantime",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def outside_cause(error: Exception, *, place: bool = True) -> str | None:
    """Return what happened and what to do, if an error's cause is the system's and not a fault of ours; else None.

    ``place`` begins with the file.
    """
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the second is PyTorch's
        first = str(error).partition("\n")[0].partition(". ")[0]
        return (
            f"out of memory{f': {first}' if first else ''}; lower train.batch_size or test.batch_size, raise "
            "train.accumulate, or use fewer workers"
        )
    if isinstance(error, OSError) and error.errno in REMEDIES:
        file = f"{os.fsdecode(error.filename)}: " if place and isinstance(error.filename, str | bytes) else ""
        return f"{file}{error.strerror}; {REMEDIES[error.errno]}"
    return None
