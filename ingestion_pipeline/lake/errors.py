"""Errors of the lake.

    LakeError
    ├── LakeNotConfigured       DATA_DIR names no store that can be used         never
    ├── LakeForbidden           the store refuses the credentials                never
    ├── LakeUnavailable         the lake does not answer or cannot be written    retry
    ├── SnapshotMissing         no snapshot is stored for that city and day      never
    ├── FrameOutdated           a frame was made from another snapshot           never
    ├── SnapshotDamaged         stored bytes no longer match their digest        never
    ├── BytesChanged            a file changed while it was checked and stored   retry
    └── SnapshotNotUnderstood   reading it failed with an unexpected error       never

The last column says whether a retry may succeed.
"""

from ingestion_pipeline.core.errors import IngestionError


class LakeError(IngestionError):
    """A stored file cannot be used."""

    code = "lake_error"


class LakeNotConfigured(LakeError):
    """No file system is installed for the lake's URL, or the URL names no bucket that exists."""

    code = "lake_not_configured"


class LakeForbidden(LakeError):
    """The store has no valid credentials of this process, or they lack a right."""

    code = "lake_forbidden"


class LakeUnavailable(LakeError):
    """The lake does not answer, or cannot be written."""

    code = "lake_unavailable"
    should_retry = True


class SnapshotMissing(LakeError):
    """No snapshot is stored."""

    code = "snapshot_missing"


class SnapshotDamaged(LakeError):
    """Stored bytes no longer match their digest."""

    code = "snapshot_damaged"


class BytesChanged(LakeError):
    """A file changed between its check and its storage."""

    code = "bytes_changed"
    should_retry = True


class FrameOutdated(LakeError):
    """A frame was not made from the current snapshot of its day."""

    code = "frame_outdated"


class SnapshotNotUnderstood(LakeError):
    """Reading a snapshot failed with an unexpected error."""

    code = "snapshot_not_understood"
