"""The lake of the settings.

Belongs here: which settings the lake takes. Does not belong here: the lake (`lake/`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ingestion_pipeline.lake.copies import LocalCopies
from ingestion_pipeline.lake.snapshots import Lake
from ingestion_pipeline.lake.stores import StoreAccess

if TYPE_CHECKING:
    from pydantic import SecretStr

    from ingestion_pipeline.config.settings import Settings


def open_lake(settings: Settings) -> Lake:
    """Open the lake of the settings; nothing is requested yet.

    Raises:
        LakeNotConfigured: No file system is installed for DATA_DIR.
    """
    access = StoreAccess(
        key=_value(settings.aws_access_key_id),
        secret=_value(settings.aws_secret_access_key),
        token=_value(settings.aws_session_token),
        endpoint=settings.aws_endpoint_url,
    )
    copies = LocalCopies(
        settings.state_dir / "extracts", most_bytes=settings.lake_cache_mb * 1_000_000
    )
    return Lake(settings.data_dir, access, copies=copies if settings.lake_cache_mb else None)


def _value(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None
