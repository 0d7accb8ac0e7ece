"""Every way in which stored files cannot be used.

    LakeError
    ├── LakeNotConfigured   no file system is installed for DATA_DIR           never
    ├── LakeUnavailable     the place does not answer or cannot be written     retry
    ├── SnapshotMissing     no snapshot is stored for that city and day        never
    ├── FrameOutdated       a frame was made from another snapshot             never
    ├── SnapshotDamaged     stored bytes no longer match their digest          never
    ├── BytesChanged        a file changed while it was checked and stored     retry
    └── SnapshotNotUnderstood   reading it failed in a way that is not known   never

Belongs here: errors of the lake. Does not belong here: turning them into Dagster failures.
"""

from ingestion_pipeline.core.errors import IngestionError


class LakeError(IngestionError):
    """Anything that keeps stored files from being used."""

    code = "lake_error"


class LakeNotConfigured(LakeError):
    """No file system is installed for the lake's URL."""

    code = "lake_not_configured"


class LakeUnavailable(LakeError):
    """The lake's place does not answer, or cannot be written."""

    code = "lake_unavailable"
    should_retry = True


class SnapshotMissing(LakeError):
    """No snapshot is stored."""

    code = "snapshot_missing"


class SnapshotDamaged(LakeError):
    """Stored bytes no longer match their digest."""

    code = "snapshot_damaged"


class BytesChanged(LakeError):
    """A file changed after it was checked and before it was stored."""

    code = "bytes_changed"
    should_retry = True


class FrameOutdated(LakeError):
    """A frame was made from another snapshot than the one of its day."""

    code = "frame_outdated"


class SnapshotNotUnderstood(LakeError):
    """Reading a snapshot failed in a way that this release does not know."""

    code = "snapshot_not_understood"
