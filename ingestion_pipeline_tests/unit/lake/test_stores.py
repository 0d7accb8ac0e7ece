"""A lake on a real S3 server: what it asks, and what it says when the server fails."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow as pa
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from ingestion_pipeline.lake.copies import LocalCopies
from ingestion_pipeline.lake.errors import (
    LakeError,
    LakeForbidden,
    LakeNotConfigured,
    LakeUnavailable,
    SnapshotDamaged,
)
from ingestion_pipeline.lake.frames import describe_table, read_table, write_table
from ingestion_pipeline.lake.lease import Pace
from ingestion_pipeline.lake.snapshots import Lake, Manifest, Part
from ingestion_pipeline.lake.stores import RemoteStore, StoreAccess, open_store
from ingestion_pipeline_tests.support.s3_server import (
    BROKEN,
    CUT_UPLOAD,
    KEY,
    SECRET,
    SLOW_DOWN,
    Answer,
    Request,
    times,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ingestion_pipeline_tests.support.s3_server import S3

MOMENT = datetime(2026, 11, 20, 3, 4, 5, tzinfo=UTC)
DAY = date(2026, 11, 20)
LARGE = random.Random(1).randbytes(20 << 20)
TEXT = b'{"elements": []}'
OF_DAY = ("poi", "kazan", "relation/7", DAY)
ACCESS = StoreAccess(attempts=3, timeout_s=5)


@pytest.fixture
def lake(s3: S3) -> Lake:
    """An empty lake, which sends a request three times at most."""
    return Lake(s3.lake, ACCESS)


def store(lake: Lake, folder: Path, name: str = "reply.json", content: bytes = TEXT) -> Part:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return lake.store(folder / name, query=None, requested_at=MOMENT, received_at=MOMENT)


def manifest_of(*parts: Part, day: date = DAY) -> Manifest:
    return Manifest(
        dataset="poi",
        city_slug="kazan",
        boundary_ref="relation/7",
        day=day,
        as_of=MOMENT,
        as_of_source="timestamp_osm_base",
        obtained="overpass",
        location="https://overpass.example/api/interpreter",
        bbox=(48.9, 55.6, 49.4, 55.9),
        selection="5e1ec7",
        licence="ODbL-1.0",
        attribution="© OpenStreetMap contributors",
        parts=parts,
    )


# Places


@pytest.mark.parametrize("form", ["{}", "file://{}", "local://{}"])
def test_a_folder_needs_no_library_of_stores(tmp_path: Path, form: str) -> None:
    assert open_store(form.format(tmp_path), StoreAccess()).address("key") == f"{tmp_path}/key"


@pytest.mark.process
def test_work_on_a_folder_does_not_import_fsspec(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib, datetime, pyarrow as pa\n"
        "from ingestion_pipeline.lake.snapshots import Lake\n"
        "from ingestion_pipeline.lake.frames import read_table, write_table\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "lake, now = Lake(str(folder / 'lake')), datetime.datetime.now(datetime.UTC)\n"
        "(folder / 'x.json').write_bytes(b'{}')\n"
        "part = lake.store(folder / 'x.json', query=None, requested_at=now, received_at=now)\n"
        "lake.restore(part, folder)\n"
        "write_table(lake, 'frames/x.parquet', pa.table({'geometry': [b'x']}), {})\n"
        "print(read_table(lake, 'frames/x.parquet').num_rows, 'fsspec' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "False"]


def test_an_address_on_a_store_is_its_url(s3: S3, lake: Lake) -> None:
    assert lake.address("raw/x") == f"{s3.lake}/raw/x"
    store_of_others = RemoteStore("memory://user:hush@place/lake?token=hush", StoreAccess())
    assert store_of_others.address("raw/x") == "memory://place/lake/raw/x"


class _Renaming(MemoryFileSystem):  # type: ignore[misc]
    """A file system that is no object store, such as SFTP."""

    protocol = "renaming"


def test_a_store_that_renames_never_shows_half_a_file() -> None:
    fsspec.register_implementation("renaming", _Renaming, clobber=True)
    store_of_files = open_store(f"renaming://{uuid.uuid4()}/lake", StoreAccess())
    store_of_files.put("a/b", b"old")

    def fail_in_the_middle() -> None:
        with store_of_files.written("a/b") as stored:
            stored.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_the_middle()
    assert store_of_files.names("a") == ["b"]
    assert store_of_files.read("a/b") == b"old"
    assert not store_of_files.create("a/b", b"new")
    assert store_of_files.create("a/c", b"new")
    store_of_files.move("a/c", "a/d", b"new")
    assert store_of_files.read_many(["a/b", "a/c", "a/d"]) == [b"old", None, b"new"]
    store_of_files.remove_folder("a")
    assert store_of_files.names("a") == []


# Requests


def test_a_city_day_asks_little_and_lists_nothing(s3: S3, lake: Lake, tmp_path: Path) -> None:
    for number in range(30):  # what else is in the bucket costs nothing
        lake.propose_candidate(manifest_of(day=DAY - timedelta(days=number + 1)))
    s3.requests.clear()
    assert lake.manifest(*OF_DAY) is None
    manifest = manifest_of(store(lake, tmp_path / "work"))
    lake.propose_candidate(manifest)
    lake.begin_candidate_read(manifest, "run")
    assert lake.restore(manifest.parts[0], tmp_path).read_bytes() == TEXT
    write_table(lake, "frames/f.parquet", pa.table({"geometry": [b"x"]}), {"is": "described"})
    lake.accept(manifest)
    assert lake.accepted(*OF_DAY) == manifest
    assert describe_table(lake, "frames/f.parquet") == {"is": "described"}
    assert read_table(lake, "frames/f.parquet").num_rows == 1
    assert len(s3.requests) <= 25
    # A blob that is missing is looked for as a folder too, below its own name.
    assert [each.prefix for each in s3.requests if each.is_listing] == [
        f"lake/{manifest.parts[0].key}/"
    ]


def test_an_empty_folder_is_listed_alone(s3: S3, lake: Lake) -> None:
    lake.propose_candidate(manifest_of())
    s3.requests.clear()
    assert lake.names("snapshots/poi/kazan/relation-7") == ["2026-11-20.candidate.json"]
    assert lake.names("snapshots/poi") == ["kazan"]
    assert lake.names("snapshots/poi/nowhere") == []
    assert [each.prefix for each in s3.requests] == [
        f"lake/snapshots/poi{folder}/" for folder in ("/kazan/relation-7", "", "/nowhere")
    ]


def test_a_listing_of_many_pages_is_read_to_its_end(
    s3: S3, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "5")  # instead of 1,000
    days = [DAY - timedelta(days=number) for number in range(12)]
    for day in days:
        lake.propose_candidate(manifest_of(day=day))
    s3.requests.clear()
    assert len(lake.names("snapshots/poi/kazan/relation-7")) == len(days)
    assert len(s3.requests) == 3


def test_a_year_is_one_listing_of_its_city(s3: S3, lake: Lake) -> None:
    days = [DAY - timedelta(days=number) for number in range(12)]
    for day in days:
        lake.propose_candidate(replace(manifest_of(day=day), selected={"open_keys": ["shop"]}))
    lake = Lake(s3.lake, ACCESS)
    s3.requests.clear()
    found = lake.manifests("poi", "kazan", "relation/7", days)
    assert list(found) == days
    listings = [each for each in s3.requests if each.is_listing]
    assert [each.prefix for each in listings] == ["lake/snapshots/poi/kazan/relation-7/"]
    assert len(s3.requests) == 1 + len(days) + 1  # the selection, which is the same


def test_a_large_file_goes_in_parts_and_comes_in_blocks(s3: S3, lake: Lake, tmp_path: Path) -> None:
    part = store(lake, tmp_path / "work", "x.osm.pbf", LARGE)
    sent = [len(each.body) for each in s3.sent("PUT")]
    assert sorted(sent) == [4 << 20, 8 << 20, 8 << 20]
    assert lake.restore(part, tmp_path).read_bytes() == LARGE
    assert 2 <= len(s3.sent("GET", part.key)) <= 5


def test_a_blob_that_another_host_stores_meanwhile_is_not_replaced(
    s3: S3, lake: Lake, tmp_path: Path
) -> None:
    part = store(lake, tmp_path / "work")
    remote = RemoteStore(s3.lake, ACCESS)
    remote.put(part.key, b"of the other host")
    s3.fault = times(1, Answer(404, "404"), when=lambda each: each.method == "HEAD")
    store(lake, tmp_path / "work")  # it asked just before the other host stored it
    assert remote.read(part.key) == b"of the other host"
    assert not remote.create(part.key, b"another")
    s3.fault = times(1, Answer(412, "PreconditionFailed"), when=is_put)  # not in AWS's words
    assert not remote.create("locks/1", b"another")
    assert remote.read(part.key) == b"of the other host"


@pytest.mark.parametrize("refusal", [Answer(501, "NotImplemented"), None])
def test_a_store_without_conditional_writes_works_too(
    s3: S3, lake: Lake, tmp_path: Path, refusal: Answer | None
) -> None:
    s3.fault = times(1, refusal, when=lambda each: each.method == "PUT") if refusal else None
    part = store(lake, tmp_path / "work")
    assert lake.restore(part, tmp_path).read_bytes() == TEXT
    s3.fault = times(1, refusal, when=lambda each: each.method == "PUT") if refusal else None
    remote = RemoteStore(s3.lake, ACCESS)
    assert remote.create("locks/a", b"1")
    s3.fault = times(1, refusal, when=lambda each: each.method == "PUT") if refusal else None
    assert not remote.create("locks/a", b"2")
    assert remote.read("locks/a") == b"1"


# Whole or not at all


def test_two_hosts_that_write_one_day_leave_one_of_both(s3: S3, tmp_path: Path) -> None:
    lakes = [Lake(s3.lake, ACCESS), Lake(s3.lake, ACCESS)]
    manifests = [
        manifest_of(store(lake, tmp_path / f"{number}", content=b"%d" % number))
        for number, lake in enumerate(lakes)
    ]
    seen: list[Manifest | None] = []
    ended = threading.Event()

    def write(number: int) -> None:
        for _ in range(6):
            lakes[number].propose_candidate(manifests[number])
            lakes[number].accept(manifests[number])

    def read() -> None:
        lake = Lake(s3.lake, ACCESS)
        while not ended.is_set():
            seen.append(lake.manifest(*OF_DAY))

    with ThreadPoolExecutor(3) as pool:
        reading = pool.submit(read)
        for writing in [pool.submit(write, number) for number in (0, 1)]:
            writing.result()
        ended.set()
        reading.result()
    once_there = list(itertools.dropwhile(lambda each: each is None, seen))
    assert once_there
    assert all(each in manifests for each in once_there)
    last = lakes[0].accepted(*OF_DAY)
    assert last in manifests
    assert lakes[1].restore(last.parts[0], tmp_path).read_bytes() in (b"0", b"1")


def test_an_acceptance_that_was_cut_off_is_made_up_for(s3: S3, lake: Lake, tmp_path: Path) -> None:
    old, new = (manifest_of(store(lake, tmp_path / "work", content=each)) for each in (b"1", b"2"))
    lake.propose_candidate(old)
    lake.accept(old)
    lake.propose_candidate(new)
    s3.fault = lambda each: Answer(403, "AccessDenied") if each.method == "DELETE" else None
    with pytest.raises(LakeForbidden):
        lake.accept(new)
    s3.fault = None
    assert lake.accepted(*OF_DAY) == lake.manifest(*OF_DAY) == new
    lake.accept(new)
    assert lake.accepted(*OF_DAY) == lake.manifest(*OF_DAY) == new
    assert not [key for key in s3.objects() if "candidate" in key]


UPLOADS = """
import sys, pathlib
from datetime import UTC, datetime
from ingestion_pipeline.lake.snapshots import Lake
lake, now = Lake(sys.argv[1]), datetime.now(UTC)
print("ready", flush=True)
lake.store(pathlib.Path(sys.argv[2]), query=None, requested_at=now, received_at=now)
"""


@pytest.mark.process
def test_a_writer_that_is_killed_leaves_nothing_or_all(s3: S3, lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "x.pbf").write_bytes(LARGE)
    sha256 = hashlib.sha256(LARGE).hexdigest()
    key, chance = f"raw/{sha256[:2]}/{sha256}.pbf", random.Random(7)
    part = Part(sha256, len(LARGE), len(LARGE), key, None, MOMENT, MOMENT)
    for after in [0, *(chance.randrange(1, 8) for _ in range(2))]:
        before = len(s3.requests)
        command = [sys.executable, "-c", UPLOADS, s3.lake, str(tmp_path / "x.pbf")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            until = time.monotonic() + 20
            while len(s3.requests) - before < after and time.monotonic() < until:
                time.sleep(0.001)
            writer.send_signal(signal.SIGKILL)
        for found in s3.objects():
            assert found == key
            assert lake.restore(part, tmp_path).read_bytes() == LARGE
            lake.remove(key)
    assert store(lake, tmp_path / "work", "x.pbf", LARGE) == part
    assert lake.restore(part, tmp_path).read_bytes() == LARGE


# Faults that pass


def is_put(request: Request) -> bool:
    return request.method == "PUT"


def is_get(request: Request) -> bool:
    return request.method == "GET" and not request.is_listing


@pytest.mark.parametrize(
    ("answer", "when"),
    [
        pytest.param(SLOW_DOWN, is_put, id="slow down, writing"),
        pytest.param(SLOW_DOWN, is_get, id="slow down, reading"),
        pytest.param(BROKEN, is_put, id="500, writing"),
        pytest.param(BROKEN, is_get, id="500, reading"),
        pytest.param(CUT_UPLOAD, is_put, id="cut upload"),
        pytest.param(Answer(cut=True), is_get, id="cut download"),
        pytest.param(Answer(500, "InternalError", forward=True), is_put, id="done and not said"),
    ],
)
def test_a_fault_that_passes_is_not_noticed(
    s3: S3, lake: Lake, tmp_path: Path, answer: Answer, when: Callable[[Request], bool]
) -> None:
    s3.fault = times(1, answer, when=when)
    content = LARGE[: 9 << 20]
    part = store(lake, tmp_path / "work", "x.pbf", content)
    lake.propose_candidate(manifest_of(part))
    assert lake.manifest(*OF_DAY) == manifest_of(part)
    assert lake.restore(part, tmp_path).read_bytes() == content


def test_bytes_that_the_network_damaged_are_read_again(s3: S3, lake: Lake, tmp_path: Path) -> None:
    part = store(lake, tmp_path / "work", "x.pbf", LARGE[:1000])
    s3.fault = times(1, Answer(corrupt=True), when=is_get)
    assert lake.restore(part, tmp_path).read_bytes() == LARGE[:1000]
    s3.fault = times(99, Answer(corrupt=True), when=is_get)
    with pytest.raises((SnapshotDamaged, LakeUnavailable)):
        lake.restore(part, tmp_path)


def test_an_upload_carries_a_checksum_and_a_wrong_one_is_refused(
    s3: S3, lake: Lake, tmp_path: Path
) -> None:
    s3.fault = times(
        99, Answer(400, "BadDigest", "The CRC32 you specified did not match."), when=is_put
    )
    with pytest.raises(LakeUnavailable, match="BadDigest"):
        store(lake, tmp_path / "work", "x.pbf", LARGE[:1000])
    assert s3.objects() == []


# Faults that stay

EXPIRED = "The provided token has expired."
SKEWED = "The difference between the request time and the current time is too large."


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (SLOW_DOWN, LakeUnavailable, "SlowDown: .*Please reduce your request rate"),
        (BROKEN, LakeUnavailable, "InternalError: .*Requests were repeated"),
        (CUT_UPLOAD, LakeUnavailable, "Check that DATA_DIR's store is up"),
        (Answer(403, "AccessDenied"), LakeForbidden, "AccessDenied: .*Give .* the rights"),
        (Answer(403, "InvalidAccessKeyId"), LakeForbidden, "Set AWS_ACCESS_KEY_ID"),
        (Answer(403, "SignatureDoesNotMatch", f"not {SECRET}"), LakeForbidden, r"not \*\*\*"),
        (Answer(400, "ExpiredToken", EXPIRED), LakeForbidden, "have expired: renew them"),
        (Answer(403, "RequestTimeTooSkewed", SKEWED), LakeForbidden, "clock of this machine"),
        (Answer(404, "NoSuchBucket", "It does not exist"), LakeNotConfigured, "Create the bucket"),
        (Answer(400, "AuthorizationHeaderMalformed"), LakeNotConfigured, "AWS_DEFAULT_REGION"),
    ],
    ids=lambda value: value.code or "cut" if isinstance(value, Answer) else "",
)
def test_a_fault_that_stays_is_named_with_place_and_remedy(
    s3: S3, tmp_path: Path, answer: Answer, error: type[LakeError], words: str
) -> None:
    lake = Lake(s3.lake, StoreAccess(key=KEY, secret=SECRET, attempts=2, timeout_s=5))
    whole = manifest_of(store(lake, tmp_path / "work"))
    kept = s3.objects()
    s3.fault = lambda _: answer
    uses: list[Callable[[], Any]] = [
        lambda: lake.propose_candidate(whole),
        lambda: lake.manifest(*OF_DAY),
        lambda: lake.names("cuts"),
    ]
    for use in uses:
        with pytest.raises(error, match=words) as refused:
            use()
        assert s3.lake in str(refused.value)
        assert SECRET not in str(refused.value)
        assert refused.value.should_retry == (error is LakeUnavailable)
    s3.fault = None
    assert s3.objects() == kept


def test_a_bucket_that_does_not_exist_is_no_empty_lake(s3: S3, tmp_path: Path) -> None:
    lake = Lake("s3://no-such-bucket/lake", ACCESS)
    uses: list[Callable[[], Any]] = [
        lambda: lake.manifest(*OF_DAY),
        lambda: lake.names("cuts"),
        lambda: store(lake, tmp_path / "work"),
        lambda: lake.manifests("poi", "kazan", "relation/7", [DAY] * 20),
        lambda: lake.known_extract("https://example.org/x.osm.pbf"),
        lambda: lake.opened("frames/x").__enter__(),
    ]
    for use in uses:
        with pytest.raises(LakeNotConfigured, match="Create the bucket"):
            use()
    assert not s3.sent("PUT", "/no-such-bucket?")


def test_a_store_that_is_not_there_is_unavailable(s3: S3) -> None:
    lake = Lake(s3.lake, replace(ACCESS, endpoint="http://127.0.0.1:9", attempts=1))
    with pytest.raises(LakeUnavailable, match="EndpointConnectionError"):
        lake.manifest(*OF_DAY)


def test_a_machine_without_credentials_is_refused(
    s3: S3, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    lake = Lake(s3.lake, replace(ACCESS, timeout_s=6))  # an instance of its own
    with pytest.raises(LakeForbidden, match="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        lake.manifest(*OF_DAY)


def test_no_secret_is_logged_or_shown(
    s3: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    access = StoreAccess(key=KEY, secret=SECRET, token="hush-token", attempts=1)
    lake = Lake(s3.lake, access)
    store(lake, tmp_path)
    s3.fault = lambda _: SLOW_DOWN
    with pytest.raises(LakeUnavailable) as refused:
        lake.manifest(*OF_DAY)
    assert refused.value.__suppress_context__
    for text in (repr(access), str(access), repr(lake), caplog.text, str(refused.value)):
        assert SECRET not in text


# One at a time

PACE = Pace(renewed_s=0.2, dead_s=5, looked_s=0.1)
"""A busy machine renews late, and a lease must not look dead for that."""


def test_hosts_do_a_piece_of_work_one_after_another(s3: S3, tmp_path: Path) -> None:
    inside: list[int] = []
    most: list[int] = []

    def work(number: int) -> None:
        lake = Lake(s3.lake, ACCESS, pace=PACE)
        with lake.one_at_a_time("fetch of x", lock_dir=tmp_path / f"host-{number}"):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.3)
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, number) for number in range(4)]:
            done.result()
    assert most == [1] * 4
    assert s3.objects() == []


HOLDS = """
import sys, time, pathlib
from ingestion_pipeline.lake.lease import Pace
from ingestion_pipeline.lake.snapshots import Lake
lake = Lake(sys.argv[1], pace=Pace(renewed_s=0.2, dead_s=5, looked_s=0.1))
with lake.one_at_a_time("fetch of x", lock_dir=pathlib.Path(sys.argv[2])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.process
def test_the_work_of_a_killed_host_is_taken_over_and_that_of_a_living_one_is_not(
    s3: S3, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", HOLDS, s3.lake, str(tmp_path / "other")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=dict(os.environ)) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        killed: list[float] = []

        def kill() -> None:
            killed.append(time.monotonic())
            holder.kill()

        threading.Timer(7, kill).start()  # longer than a dead one is waited for
        lake = Lake(s3.lake, ACCESS, pace=PACE)
        with lake.one_at_a_time("fetch of x", lock_dir=tmp_path / "here"):
            assert killed
            assert time.monotonic() - killed[0] >= 4
    assert s3.objects() == []


def test_a_lease_whose_creation_was_answered_late_is_held(s3: S3, tmp_path: Path) -> None:
    s3.fault = times(1, Answer(500, "InternalError", forward=True), when=is_put)
    lake, since = Lake(s3.lake, ACCESS, pace=replace(PACE, dead_s=60)), time.monotonic()
    with lake.one_at_a_time("fetch of x", lock_dir=tmp_path):
        assert time.monotonic() - since < 30
    assert s3.objects() == []


def test_a_holder_that_was_suspended_leaves_the_lease_of_the_next_one(
    s3: S3, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake = Lake(s3.lake, ACCESS, pace=PACE)
    with lake.one_at_a_time("fetch of x", lock_dir=tmp_path):
        (own,) = s3.objects()
        of_next = own.replace("000000001", "000000002")
        RemoteStore(s3.lake, ACCESS).put(of_next, b'{"holder": "next", "renewed": 0}')
        until = time.monotonic() + 20
        while "took over" not in caplog.text and time.monotonic() < until:
            time.sleep(0.02)
    assert "Another run took over a fetch of x from this one" in caplog.text
    assert of_next in s3.objects()


def test_other_work_is_not_waited_for(s3: S3, tmp_path: Path) -> None:
    lake = Lake(s3.lake, ACCESS, pace=PACE)
    with (
        lake.one_at_a_time("fetch of x", lock_dir=tmp_path),
        lake.one_at_a_time("fetch of y", lock_dir=tmp_path),
    ):
        assert len(s3.objects()) == 2


# Local copies


def test_a_large_file_comes_once_to_a_machine(s3: S3, tmp_path: Path) -> None:
    here, there = (
        Lake(s3.lake, ACCESS, copies=LocalCopies(tmp_path / host, most_bytes=30_000_000))
        for host in ("here", "there")
    )
    part = store(here, tmp_path / "work", "x.pbf", LARGE)
    sent = []
    for number, lake in enumerate((here, there, there)):
        s3.requests.clear()
        (tmp_path / f"{number}").mkdir()
        assert lake.restore(part, tmp_path / f"{number}").read_bytes() == LARGE
        sent.append(len(s3.requests))
    assert sent[0] == sent[2] == 0
    assert sent[1] > 0


def test_the_use_of_a_copy_leaves_the_time_of_a_providers_file(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path / "copies", most_bytes=250, least_bytes=1)
    (tmp_path / "of-provider").write_bytes(b"good")
    os.utime(tmp_path / "of-provider", (1_000, 1_000))
    os.link(tmp_path / "of-provider", tmp_path / "in-scratch")
    sha256 = hashlib.sha256(b"good").hexdigest()
    copies.keep(sha256, tmp_path / "in-scratch")
    assert copies.take(sha256, tmp_path / "out")
    assert (tmp_path / "of-provider").stat().st_mtime == 1_000


def test_copies_keep_within_their_bound_and_the_oldest_goes_first(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path / "copies", most_bytes=250, least_bytes=10)
    digests = []
    for number in range(4):
        content = bytes([number]) * (9 if number == 3 else 100)
        path = tmp_path / f"{number}"
        path.write_bytes(content)
        digests.append(hashlib.sha256(content).hexdigest())
        copies.keep(digests[-1], path)
        if number == 1:
            os.utime(tmp_path / "copies" / digests[0], (0, 0))
    assert [copies.take(each, tmp_path / "out") for each in digests] == [False, True, True, False]
    reading = (tmp_path / "out").open("rb")  # what is removed meanwhile is still read
    (tmp_path / "copies" / digests[2]).unlink()
    assert reading.read() == bytes([2]) * 100
    reading.close()


def test_a_damaged_copy_is_removed(tmp_path: Path) -> None:
    copies = LocalCopies(tmp_path / "copies", most_bytes=250, least_bytes=1)
    (tmp_path / "x").write_bytes(b"good")
    sha256 = hashlib.sha256(b"good").hexdigest()
    copies.keep(sha256, tmp_path / "x")
    (tmp_path / "copies" / sha256).write_bytes(b"evil")
    assert not copies.take(sha256, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "copies" / sha256).exists()


def test_a_machine_without_room_for_copies_works_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("a file, where a folder would have to be")
    copies = LocalCopies(tmp_path / "file" / "copies", most_bytes=250, least_bytes=1)
    (tmp_path / "x").write_bytes(b"good")
    copies.keep("0" * 64, tmp_path / "x")
    assert "No local copy is kept" in caplog.text
    assert not copies.take("0" * 64, tmp_path / "out")
