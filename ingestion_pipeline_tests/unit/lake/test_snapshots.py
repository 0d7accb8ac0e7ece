"""The lake: bytes come back as they came, or it is said that they do not."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import random
import uuid
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ingestion_pipeline.lake.errors import (
    BytesChanged,
    LakeNotConfigured,
    LakeUnavailable,
    SnapshotDamaged,
)
from ingestion_pipeline.lake.snapshots import KnownFeed, Lake, Manifest, Part

if TYPE_CHECKING:
    from collections.abc import Callable

ASKED = datetime(2026, 11, 20, 3, 4, 5, tzinfo=UTC)
CAME = datetime(2026, 11, 20, 3, 5, 6, 789_000, tzinfo=UTC)
DAY = date(2026, 11, 20)

TEXT = json.dumps({"elements": [{"id": number} for number in range(5000)]}).encode()
NOISE = random.Random(1).randbytes(5000)


@pytest.fixture(params=["folder", "memory", pytest.param("s3", marks=pytest.mark.server)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the lake is: in a folder, on another of fsspec's file systems, on a real S3 server."""
    if request.param == "s3":
        place: str = request.getfixturevalue("s3").lake
        return place
    return str(tmp_path / "lake") if request.param == "folder" else f"memory://{uuid.uuid4()}"


@pytest.fixture
def lake(url: str) -> Lake:
    """An empty lake."""
    return Lake(url)


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    """An empty local folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def files(url: str) -> list[str]:
    """Every file in the lake, by its key."""
    filesystem, root = fsspec.core.url_to_fs(url)
    return sorted(path.removeprefix(root).lstrip("/") for path in filesystem.find(root))


def stored(url: str, key: str) -> bytes:
    filesystem, root = fsspec.core.url_to_fs(url)
    content: bytes = filesystem.cat_file(f"{root}/{key}")
    return content


def overwrite(url: str, key: str, content: bytes) -> None:
    filesystem, root = fsspec.core.url_to_fs(url)
    filesystem.pipe_file(f"{root}/{key}", content)


def store(lake: Lake, folder: Path, name: str = "reply.json", content: bytes = TEXT) -> Part:
    path = folder / name
    path.write_bytes(content)
    return lake.store(path, query="[out:json];", requested_at=ASKED, received_at=CAME)


class RewrittenPath(type(Path())):  # type: ignore[misc]
    """A file that another program rewrites in place when it is opened for the second time."""

    opened = 0

    def open(self, *arguments: Any, **options: Any) -> Any:
        RewrittenPath.opened += 1
        if RewrittenPath.opened == 2:
            Path(self).write_bytes(NOISE[::-1])
        return super().open(*arguments, **options)


def manifest_of(*parts: Part) -> Manifest:
    return Manifest(
        dataset="poi",
        city_slug="kazan",
        boundary_ref="relation/27504067",
        day=DAY,
        as_of=datetime(2026, 11, 20, 3, 0, tzinfo=UTC),
        as_of_source="timestamp_osm_base",
        obtained="overpass",
        location="https://overpass.example/api/interpreter",
        bbox=(48.9, 55.6, 49.4, 55.9),
        selection="5e1ec7",
        licence="ODbL-1.0",
        attribution="© OpenStreetMap contributors",
        parts=parts,
    )


SELECTED = {"open_keys": ["shop"], "closed_tags": {"power": ["plant"]}, "values": "as written"}

# Blobs


def test_bytes_that_are_not_those_that_were_checked_are_not_stored(
    lake: Lake, url: str, workdir: Path
) -> None:
    (workdir / "x.pbf").write_bytes(NOISE)
    checked = hashlib.sha256(TEXT).hexdigest()
    with pytest.raises(BytesChanged, match=r"/data/x\.pbf changed while") as caught:
        lake.store(
            workdir / "x.pbf",
            query=None,
            requested_at=ASKED,
            received_at=CAME,
            sha256=checked,
            origin="/data/x.pbf",
        )
    assert caught.value.should_retry
    assert files(url) == []


@pytest.mark.parametrize("suffix", ["pbf", "json"])
def test_bytes_that_change_between_two_readings_are_not_stored(
    suffix: str, lake: Lake, url: str, workdir: Path
) -> None:
    path = RewrittenPath(workdir / f"x.{suffix}")
    path.write_bytes(NOISE)
    RewrittenPath.opened = 0
    with pytest.raises(BytesChanged, match="writes to it in place"):
        lake.store(path, query=None, requested_at=ASKED, received_at=CAME)
    assert RewrittenPath.opened == 2
    assert files(url) == []


def test_bytes_come_back_as_they_were(lake: Lake, workdir: Path, tmp_path: Path) -> None:
    part = store(lake, workdir)
    assert lake.restore(part, tmp_path).read_bytes() == TEXT
    assert part == Part(
        sha256=hashlib.sha256(TEXT).hexdigest(),
        raw_bytes=len(TEXT),
        stored_bytes=part.stored_bytes,
        key=f"raw/{part.sha256[:2]}/{part.sha256}.json.zst",
        query="[out:json];",
        requested_at=ASKED,
        received_at=CAME,
    )


@pytest.mark.parametrize("content", [b"", b"x", b"ab" * 3_000_000])
@pytest.mark.parametrize("name", ["reply.json", "extract.osm.pbf"])
def test_no_bytes_and_many_bytes_come_back_too(
    lake: Lake, workdir: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    part = store(lake, workdir, name, content)
    restored = lake.restore(part, tmp_path)
    assert restored.read_bytes() == content
    assert restored.suffix == (workdir / name).suffix


def test_what_is_text_is_compressed(lake: Lake, url: str, workdir: Path) -> None:
    part = store(lake, workdir)
    assert part.stored_bytes == len(stored(url, part.key)) < len(TEXT) / 5
    assert pa.input_stream(pa.py_buffer(stored(url, part.key)), compression="zstd").read() == TEXT


def test_what_is_compressed_already_is_kept_as_it_is(lake: Lake, url: str, workdir: Path) -> None:
    part = store(lake, workdir, "helsinki.osm.pbf", NOISE)
    assert part.key == f"raw/{part.sha256[:2]}/{part.sha256}.pbf"
    assert stored(url, part.key) == NOISE


def test_equal_bytes_are_stored_once(lake: Lake, url: str, workdir: Path) -> None:
    first = store(lake, workdir, "one.json")
    second = store(lake, workdir, "another.json")
    assert second == first
    assert files(url) == [first.key]


def test_other_bytes_are_stored_beside_them(lake: Lake, url: str, workdir: Path) -> None:
    first, second = store(lake, workdir), store(lake, workdir, content=TEXT + b" ")
    assert files(url) == sorted([first.key, second.key])


@pytest.mark.parametrize("name", ["reply.json", "extract.osm.pbf"])
def test_every_flipped_byte_is_noticed(
    lake: Lake, url: str, workdir: Path, tmp_path: Path, name: str
) -> None:
    content = b"some bytes that came from upstream " * 3
    part = store(lake, workdir, name, content)
    good = stored(url, part.key)
    for position in range(0, len(good), 19 if url.startswith("s3") else 1):
        flipped = bytearray(good)
        flipped[position] ^= 0xFF
        overwrite(url, part.key, bytes(flipped))
        noticed = True
        try:
            restored = lake.restore(part, tmp_path)
            noticed = False
        except SnapshotDamaged:
            pass
        # Zstandard has bits that mean nothing; then the bytes are still the right ones.
        assert noticed or (name == "reply.json" and restored.read_bytes() == content)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda good: good[: len(good) // 2], id="cut in half"),
        pytest.param(lambda good: good[:-1], id="one byte short"),
        pytest.param(lambda _: b"", id="empty"),
        pytest.param(lambda good: good + b"x", id="one byte long"),
        pytest.param(lambda good: bytes([*good[:2000], good[2000] ^ 1, *good[2001:]]), id="bit"),
    ],
)
def test_damaged_bytes_are_refused_and_mended_by_fetching_them_again(
    lake: Lake, url: str, workdir: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    for name in ("reply.json", "extract.osm.pbf"):
        _damage_and_mend(lake, url, workdir / name, tmp_path, damage)


def _damage_and_mend(
    lake: Lake, url: str, path: Path, folder: Path, damage: Callable[[bytes], bytes]
) -> None:
    part = store(lake, path.parent, path.name, NOISE)
    good = stored(url, part.key)
    overwrite(url, part.key, damage(good))
    with pytest.raises(SnapshotDamaged, match=r"does not match its digest.*refetch") as refused:
        lake.restore(part, folder)
    assert part.key in str(refused.value)
    assert not refused.value.should_retry
    assert store(lake, path.parent, path.name, NOISE) == part
    assert stored(url, part.key) == good
    assert lake.restore(part, folder).read_bytes() == NOISE


def test_bytes_that_are_gone_are_refused_and_mended_by_fetching_them_again(
    lake: Lake, url: str, workdir: Path, tmp_path: Path
) -> None:
    part = store(lake, workdir)
    filesystem, root = fsspec.core.url_to_fs(url)
    filesystem.rm(f"{root}/{part.key}")
    with pytest.raises(SnapshotDamaged, match="in a manifest but not in the lake"):
        lake.restore(part, tmp_path)
    store(lake, workdir)
    assert lake.restore(part, tmp_path).read_bytes() == TEXT


def test_a_local_folder_that_is_full_or_gone_is_not_mistaken_for_damage(
    lake: Lake, workdir: Path, tmp_path: Path
) -> None:
    part = store(lake, workdir)
    (tmp_path / "reader").mkdir()
    (tmp_path / "reader" / f"{part.sha256}.json").symlink_to("/dev/full")
    with pytest.raises(LakeUnavailable, match="No space left"):
        lake.restore(part, tmp_path / "reader")


class _BrokenConnection(io.BytesIO):
    """What a remote store gives when its connection breaks in the middle of a file."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell() >= 100:
            raise TimeoutError(errno.ETIMEDOUT, "the store went silent")
        return super().read(min(size or 100, 100))


class _RemoteStore(MemoryFileSystem):  # type: ignore[misc]
    """A store that takes everything and gives back the beginning of it."""

    protocol = "breaking"

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if mode == "rb":
            return _BrokenConnection(self.cat_file(path))
        return super()._open(path, mode, **options)


@pytest.mark.parametrize("name", ["reply.json", "extract.osm.pbf"])
def test_a_store_that_goes_silent_is_not_mistaken_for_damage(
    workdir: Path, tmp_path: Path, name: str
) -> None:
    fsspec.register_implementation("breaking", _RemoteStore, clobber=True)
    lake = Lake(f"breaking://{uuid.uuid4()}")
    part = store(lake, workdir, name, NOISE)
    with pytest.raises(LakeUnavailable, match="the store went silent"):
        lake.restore(part, tmp_path)


def test_a_url_without_a_file_system_is_refused_without_being_shown() -> None:
    with pytest.raises(LakeNotConfigured, match="No file system for DATA_DIR") as caught:
        Lake("nowhere://user:hush@host/lake")
    assert "hush" not in str(caught.value)


# Manifests


def test_a_manifest_comes_back_as_it_was(lake: Lake, workdir: Path) -> None:
    manifest = manifest_of(store(lake, workdir), store(lake, workdir, content=b"{}"))
    where = lake.propose_candidate(manifest)
    assert lake.manifest("poi", "kazan", "relation/27504067", DAY) == manifest
    assert where.endswith("/snapshots/poi/kazan/relation-27504067/2026-11-20.candidate.json")


def test_a_manifest_keeps_what_proves_the_history_and_an_older_one_has_nothing(
    lake: Lake, url: str, workdir: Path
) -> None:
    manifest = replace(manifest_of(store(lake, workdir)), history="node/1 is known in version 1")
    lake.propose_candidate(manifest)
    assert lake.manifest("poi", "kazan", "relation/27504067", DAY) == manifest
    key = "snapshots/poi/kazan/relation-27504067/2026-11-20.candidate.json"
    document = json.loads(stored(url, key))
    del document["history"]
    overwrite(url, key, json.dumps(document).encode())
    older = lake.manifest("poi", "kazan", "relation/27504067", DAY)
    assert older == replace(manifest, history=None)


def test_an_accepted_snapshot_stands_for_its_day(lake: Lake, url: str, workdir: Path) -> None:
    manifest = manifest_of(store(lake, workdir))
    lake.propose_candidate(manifest)
    lake.accept(manifest)
    assert lake.manifest("poi", "kazan", "relation/27504067", DAY) == manifest
    assert stored(url, "snapshots/poi/kazan/relation-27504067/2026-11-20.json")
    lake.accept(manifest)
    assert lake.quarantine(manifest) is None
    assert lake.manifest("poi", "kazan", "relation/27504067", DAY) == manifest


def test_a_refused_snapshot_gives_way_to_the_one_that_stood(lake: Lake, workdir: Path) -> None:
    good, bad = (
        manifest_of(store(lake, workdir)),
        manifest_of(store(lake, workdir, content=b"{}")),
    )
    lake.propose_candidate(good)
    lake.accept(good)
    lake.propose_candidate(bad)
    assert lake.manifest("poi", "kazan", "relation/27504067", DAY) == bad
    kept = lake.quarantine(bad)
    assert kept is not None
    assert kept.endswith(f"/2026-11-20.refused-{bad.digest[:12]}.json")
    assert lake.manifest("poi", "kazan", "relation/27504067", DAY) == good


def test_only_the_snapshot_that_is_on_trial_is_moved(lake: Lake, workdir: Path) -> None:
    old, new = (
        manifest_of(store(lake, workdir)),
        manifest_of(store(lake, workdir, content=b"{}")),
    )
    lake.propose_candidate(old)
    lake.propose_candidate(new)
    lake.accept(old)
    assert lake.quarantine(old) is None
    assert lake.manifest("poi", "kazan", "relation/27504067", DAY) == new


@pytest.mark.parametrize("obtained", ["overpass", "another source"])
@pytest.mark.parametrize("selected", [None, SELECTED])
def test_a_manifest_keeps_the_selection(
    lake: Lake, workdir: Path, selected: dict[str, object] | None, obtained: str
) -> None:
    manifest = manifest_of(store(lake, workdir))
    manifest = replace(manifest, selected=selected, obtained=obtained)
    lake.propose_candidate(manifest)
    lake.accept(manifest)
    kept = lake.accepted("poi", "kazan", "relation/27504067", DAY)
    assert kept == manifest
    assert kept is not None
    assert kept.selected == selected


def test_a_manifest_of_the_time_before_selections_were_kept_is_read(
    lake: Lake, url: str, workdir: Path
) -> None:
    manifest = manifest_of(store(lake, workdir))
    lake.propose_candidate(manifest)
    key = "snapshots/poi/kazan/relation-27504067/2026-11-20.candidate.json"
    assert "selected" not in json.loads(stored(url, key)), "earlier versions do not read it"
    kept = lake.manifest("poi", "kazan", "relation/27504067", DAY)
    assert kept == manifest
    assert kept is not None
    assert kept.selected is None


def test_a_manifest_is_text_for_people_in_utc(lake: Lake, url: str, workdir: Path) -> None:
    lake.propose_candidate(manifest_of(store(lake, workdir)))
    text = stored(url, "snapshots/poi/kazan/relation-27504067/2026-11-20.candidate.json").decode()
    document = json.loads(text)
    assert document["manifest_version"] == 1
    assert document["as_of"] == "2026-11-20T03:00:00Z"
    assert document["parts"][0]["received_at"] == "2026-11-20T03:05:06.789000Z"
    assert "© OpenStreetMap contributors" in text


def test_a_day_without_a_manifest_has_none(lake: Lake, workdir: Path) -> None:
    assert lake.manifest("poi", "kazan", "relation/27504067", DAY) is None
    lake.propose_candidate(manifest_of(store(lake, workdir)))
    assert lake.manifest("poi", "kazan", "relation/27504067", date(2026, 11, 21)) is None
    assert lake.manifest("poi", "kazan", "relation/1", DAY) is None
    assert lake.manifest("poi", "sochi", "relation/27504067", DAY) is None
    assert lake.manifest("helpers", "kazan", "relation/27504067", DAY) is None


def test_many_days_are_read_as_each_by_itself(lake: Lake, url: str, workdir: Path) -> None:
    manifest = manifest_of(store(lake, workdir))
    stands, tried, both, refused, damaged = (DAY.replace(day=number) for number in range(1, 6))
    of = {day: replace(manifest, day=day) for day in (stands, tried, both, refused, damaged)}
    old = replace(of[both], location="an older one")
    for accepted in (of[stands], old):
        lake.propose_candidate(accepted)
        lake.accept(accepted)
    for proposed in (of[tried], of[both], of[refused], of[damaged]):
        lake.propose_candidate(proposed)
    lake.quarantine(of[refused])
    where = "snapshots/poi/kazan/relation-27504067"
    overwrite(url, f"{where}/{damaged}.candidate.json", b"{")
    found = lake.manifests("poi", "kazan", manifest.boundary_ref, [*of, DAY])
    assert isinstance(found.pop(damaged), SnapshotDamaged)
    assert found == {day: of[day] for day in (stands, tried, both)}
    assert lake.manifests("poi", "kazan", manifest.boundary_ref, [DAY]) == {}
    assert lake.manifests("poi", "elsewhere", manifest.boundary_ref, [DAY]) == {}


def test_a_refetch_takes_the_manifests_place_and_leaves_the_old_bytes(
    lake: Lake, url: str, workdir: Path, tmp_path: Path
) -> None:
    old = store(lake, workdir)
    lake.propose_candidate(manifest_of(old))
    new = manifest_of(store(lake, workdir, content=b"{}"))
    lake.propose_candidate(new)
    assert lake.manifest("poi", "kazan", "relation/27504067", DAY) == new
    assert lake.restore(old, tmp_path).read_bytes() == TEXT
    assert len(files(url)) == 3


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda good: good | {"manifest_version": 2}, id="another version"),
        pytest.param(lambda good: good | {"surprise": 1}, id="an unknown field"),
        pytest.param(lambda good: good | {"parts": [{}]}, id="a part without fields"),
        pytest.param(lambda good: good | {"as_of": "yesterday"}, id="no moment"),
        pytest.param(lambda good: {k: v for k, v in good.items() if k != "day"}, id="no day"),
        pytest.param(lambda _: {}, id="nothing"),
        pytest.param(lambda _: [], id="a list"),
        pytest.param(lambda _: None, id="null"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(
    lake: Lake, url: str, workdir: Path, spoil: Callable[[dict[str, object]], object]
) -> None:
    lake.propose_candidate(manifest_of(store(lake, workdir)))
    key = "snapshots/poi/kazan/relation-27504067/2026-11-20.candidate.json"
    overwrite(url, key, json.dumps(spoil(json.loads(stored(url, key)))).encode())
    with pytest.raises(SnapshotDamaged, match=r"2026-11-20\.candidate\.json is not a manifest"):
        lake.manifest("poi", "kazan", "relation/27504067", DAY)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_manifest_that_is_not_json_is_refused(lake: Lake, url: str, content: bytes) -> None:
    lake.propose_candidate(manifest_of())
    overwrite(url, "snapshots/poi/kazan/relation-27504067/2026-11-20.candidate.json", content)
    with pytest.raises(SnapshotDamaged):
        lake.manifest("poi", "kazan", "relation/27504067", DAY)


def test_the_digest_of_one_part_is_its_own_and_of_more_depends_on_their_order(
    lake: Lake, workdir: Path
) -> None:
    one, two = store(lake, workdir), store(lake, workdir, content=b"{}")
    assert manifest_of(one).digest == one.sha256
    both = {manifest_of(one, two).digest, manifest_of(two, one).digest}
    assert len(both | {one.sha256, two.sha256}) == 4


def test_a_snapshot_is_as_big_as_its_parts_and_came_with_the_last_one(
    lake: Lake, workdir: Path
) -> None:
    one = store(lake, workdir)
    two = replace(one, raw_bytes=5, received_at=CAME.replace(hour=9))
    manifest = manifest_of(two, one)
    assert manifest.raw_bytes == len(TEXT) + 5
    assert manifest.fetched_at == CAME.replace(hour=9)


# Whole or not at all


def test_a_file_appears_under_its_key_as_a_whole(lake: Lake, url: str) -> None:
    with lake.written("some/key") as stream:
        stream.write(b"half")
        with pytest.raises(FileNotFoundError), lake.opened("some/key"):
            pass
        stream.write(b" and half")
    assert stored(url, "some/key") == b"half and half"
    assert files(url) == ["some/key"]


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_failure_in_the_middle_of_writing_leaves_what_was_there(
    lake: Lake, url: str, before: bytes | None
) -> None:
    if before is not None:
        with lake.written("some/key") as stream:
            stream.write(before)

    def fail_in_the_middle() -> None:
        with lake.written("some/key") as stream:
            stream.write(b"half")
            raise RuntimeError("the power went")

    with pytest.raises(RuntimeError, match="the power went"):
        fail_in_the_middle()
    assert files(url) == ([] if before is None else ["some/key"])
    if before is not None:
        assert stored(url, "some/key") == before


def test_the_half_of_a_file_that_a_killed_process_left_is_removed_a_day_later(
    tmp_path: Path,
) -> None:
    lake = Lake(str(tmp_path / "lake"))
    folder = tmp_path / "lake/frames"
    folder.mkdir(parents=True)
    old, young = folder / f"a.{uuid.uuid4().hex}.part", folder / f"b.{uuid.uuid4().hex}.part"
    for path in (old, young):
        path.touch()
    moment = old.stat().st_mtime - 90_000
    os.utime(old, (moment, moment))
    with lake.written("frames/c") as stream:
        stream.write(b"c")
    assert sorted(path.name for path in folder.iterdir()) == [young.name, "c"]


def test_an_address_names_the_place_of_a_key(lake: Lake, tmp_path: Path) -> None:
    assert lake.address("some/key").endswith("/some/key")
    assert Lake(f"{tmp_path}/").address("some/key") == f"{tmp_path}/some/key"


# A lake that cannot be used


def test_a_lake_that_cannot_be_used_is_unavailable_and_worth_a_retry(
    workdir: Path, tmp_path: Path
) -> None:
    part = store(Lake(str(tmp_path / "lake")), workdir)
    (tmp_path / "file").write_text("a file, where a folder would have to be")
    lake = Lake(str(tmp_path / "file" / "lake"))
    uses: list[Callable[[], object]] = [
        lambda: store(lake, workdir),
        lambda: lake.restore(part, tmp_path),
        lambda: lake.propose_candidate(manifest_of(part)),
        lambda: lake.manifest("poi", "kazan", "relation/27504067", DAY),
        lambda: lake.written("key").__enter__(),
        lambda: lake.opened("key").__enter__(),
    ]
    for use in uses:
        with pytest.raises(LakeUnavailable, match="Check DATA_DIR") as refused:
            use()
        assert refused.value.should_retry
        assert f"{tmp_path}/file/lake/" in str(refused.value)


# Feeds

LOCATION = "https://user:hush@example.org/toilets.json?key=hush"


def test_the_bytes_of_a_feed_are_known_by_location_and_rules(
    lake: Lake, url: str, workdir: Path
) -> None:
    known = KnownFeed(store(lake, workdir), '"v1"', None, as_of=ASKED)
    lake.record_feed(LOCATION, "rules", known)
    assert Lake(url).known_feed(LOCATION, "rules") == known
    assert lake.known_feed(LOCATION, "other rules") is None
    assert lake.known_feed("https://example.org/toilets.json", "rules") is None
    assert not any(b"hush" in stored(url, key) or "hush" in key for key in files(url))


def test_bytes_of_a_feed_that_are_missing_or_damaged_are_not_known(
    lake: Lake, url: str, workdir: Path
) -> None:
    part = store(lake, workdir)
    lake.record_feed(LOCATION, "rules", KnownFeed(part, '"v1"', None, as_of=ASKED))
    overwrite(url, part.key, b"damaged")
    assert lake.known_feed(LOCATION, "rules") is None
    lake.remove(part.key)
    assert lake.known_feed(LOCATION, "rules") is None


def test_a_record_of_a_feed_that_is_not_understood_is_none(
    lake: Lake, url: str, workdir: Path
) -> None:
    lake.record_feed(LOCATION, "rules", KnownFeed(store(lake, workdir), None, "x", as_of=ASKED))
    (key,) = (key for key in files(url) if key.startswith("feeds/"))
    for content in (b"{", b"[]", b"{}"):
        overwrite(url, key, content)
        assert lake.known_feed(LOCATION, "rules") is None


def test_rejections_of_a_refused_feed_are_kept_until_the_failure_is_cleared(lake: Lake) -> None:
    key = ("feed-toilets", "town", "relation/7", DAY)
    assert lake.last_rejections(*key) == []
    rejections = [{"reason": "no_id", "count": 7, "examples": [{"raw": {"name": "é"}}]}]
    lake.record_rejections(*key, rejections)
    assert lake.last_rejections(*key) == rejections
    lake.clear_failure(*key)
    assert lake.last_rejections(*key) == []
