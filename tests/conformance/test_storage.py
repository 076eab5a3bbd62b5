"""google-cloud-storage, as anybody would use it, against the emulator."""

from __future__ import annotations

import base64
import datetime
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import google_crc32c
import pytest
from emulators import BUCKET, PROJECT, Emulator
from google.api_core import exceptions
from google.auth.exceptions import RefreshError
from google.cloud import storage
from google.cloud.storage import transfer_manager
from google.cloud.storage.exceptions import InvalidResponse
from google.oauth2.credentials import Credentials
from recorder import Recorder

MIB = 1024 * 1024


def crc32c_of(content: bytes) -> str:
    return base64.b64encode(google_crc32c.Checksum(content).digest()).decode()


def md5_of(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content).digest()).decode()


def test_a_missing_object_does_not_exist(bucket: storage.Bucket, prefix: str) -> None:
    assert not bucket.blob(prefix + "none").exists()
    assert bucket.get_blob(prefix + "none") is None
    with pytest.raises(exceptions.NotFound):
        bucket.blob(prefix + "none").download_as_bytes()
    with pytest.raises(exceptions.NotFound):
        bucket.blob(prefix + "none").reload()


def test_the_bucket_is_there(storage_client: storage.Client) -> None:
    assert storage_client.bucket(BUCKET).exists()
    assert not storage_client.bucket("there-is-no-such-bucket").exists()
    assert BUCKET in [bucket.name for bucket in storage_client.list_buckets()]


def test_a_small_object_comes_back(bucket: storage.Bucket, prefix: str) -> None:
    content = os.urandom(300_000)
    blob = bucket.blob(prefix + "an odd näme?#&+.tgz")
    blob.metadata = {"sha256": "abc", "note": "größer"}
    blob.cache_control = "no-transform"
    blob.upload_from_string(content, content_type="application/gzip", checksum="md5")
    again = bucket.get_blob(blob.name)
    assert again.download_as_bytes(checksum="crc32c") == content
    assert (again.size, again.content_type, again.cache_control) == (len(content), "application/gzip", "no-transform")
    assert (again.crc32c, again.md5_hash) == (crc32c_of(content), md5_of(content))
    assert again.metadata == {"sha256": "abc", "note": "größer"}
    assert again.metageneration == 1 and again.generation == blob.generation


@pytest.mark.parametrize("content", [b"", b"\0", b"\r\n--\r\n\r\n--x--\r\n"])
def test_awkward_content_comes_back(bucket: storage.Bucket, prefix: str, content: bytes) -> None:
    blob = bucket.blob(prefix + "awkward")
    blob.upload_from_string(content)
    assert blob.download_as_bytes() == content


def test_a_second_create_is_refused_and_changes_nothing(bucket: storage.Bucket, prefix: str) -> None:
    blob = bucket.blob(prefix + "once")
    blob.upload_from_string(b"first", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(blob.name).upload_from_string(b"second", if_generation_match=0)
    assert bucket.blob(blob.name).download_as_bytes() == b"first"


def test_an_overwrite_makes_a_newer_generation(bucket: storage.Bucket, prefix: str) -> None:
    blob = bucket.blob(prefix + "twice")
    blob.upload_from_string(b"first")
    first = blob.generation
    blob.upload_from_string(b"second", if_generation_match=first)
    assert blob.generation > first
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(blob.name).upload_from_string(b"third", if_generation_match=first)


@pytest.mark.parametrize("chunk", [None, 4 * MIB, 256 * 1024])
def test_a_large_object_comes_back(bucket: storage.Bucket, prefix: str, chunk: int | None) -> None:
    content = os.urandom(9 * MIB + 17)
    blob = bucket.blob(prefix + "large", chunk_size=chunk)
    blob.upload_from_string(content)
    assert bucket.blob(blob.name).download_as_bytes() == content
    assert (bucket.get_blob(blob.name).crc32c, blob.size) == (crc32c_of(content), len(content))


def test_a_resumable_create_is_refused_if_there_is_one(bucket: storage.Bucket, prefix: str) -> None:
    name = prefix + "large"
    bucket.blob(name).upload_from_string(b"small")
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(name, chunk_size=MIB).upload_from_string(os.urandom(9 * MIB), if_generation_match=0)
    assert bucket.blob(name).download_as_bytes() == b"small"


def test_a_file_written_piece_by_piece_comes_back(bucket: storage.Bucket, prefix: str) -> None:
    blob = bucket.blob(prefix + "written")
    pieces = [os.urandom(700_000) for _ in range(4)]
    with blob.open("wb", chunk_size=MIB) as out:
        for piece in pieces:
            out.write(piece)
    with bucket.blob(blob.name).open("rb", chunk_size=MIB) as back:
        assert back.read() == b"".join(pieces)


def test_a_range_is_a_part(bucket: storage.Bucket, prefix: str) -> None:
    content = bytes(range(256)) * 100
    blob = bucket.blob(prefix + "ranged")
    blob.upload_from_string(content)
    assert blob.download_as_bytes(start=100, end=355) == content[100:356]
    assert blob.download_as_bytes(start=25_000) == content[25_000:]
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        blob.download_as_bytes(start=len(content) + 1)


def test_a_generation_pins_the_content(bucket: storage.Bucket, prefix: str) -> None:
    blob = bucket.blob(prefix + "pinned")
    blob.upload_from_string(b"old")
    old = blob.generation
    assert bucket.blob(blob.name, generation=old).download_as_bytes() == b"old"
    blob.upload_from_string(b"new")
    with pytest.raises(exceptions.NotFound):
        bucket.blob(blob.name, generation=old).download_as_bytes()
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(blob.name).download_as_bytes(if_generation_match=old)
    assert bucket.blob(blob.name).download_as_bytes() == b"new"


def test_a_reloaded_object_is_downloaded_by_its_link(bucket: storage.Bucket, prefix: str) -> None:
    bucket.blob(prefix + "linked").upload_from_string(b"content")
    blob = bucket.get_blob(prefix + "linked")
    assert blob.media_link and str(blob.generation) in blob.media_link
    assert blob.download_as_bytes() == b"content"


def test_lists_are_paged_and_in_order(bucket: storage.Bucket, prefix: str) -> None:
    names = [f"{prefix}{name}" for name in ("a", "b/1", "b/2", "c", "d", "ä")]
    for name in reversed(names):
        bucket.blob(name).upload_from_string(b"x")
    pages = bucket.client.list_blobs(bucket, prefix=prefix, page_size=2)
    assert [[blob.name for blob in page] for page in pages.pages] == [names[:2], names[2:4], names[4:]]
    listed = bucket.client.list_blobs(bucket, prefix=prefix, start_offset=f"{prefix}b/2", end_offset=f"{prefix}d")
    assert [blob.name for blob in listed] == names[2:4]
    assert [blob.name for blob in bucket.list_blobs(prefix=prefix, match_glob=f"{prefix}b/*")] == names[1:3]
    assert [blob.name for blob in bucket.list_blobs(prefix=prefix, max_results=3)] == names[:3]
    assert list(bucket.list_blobs(prefix=prefix + "nothing")) == []


def test_a_delimiter_folds_names_into_prefixes(bucket: storage.Bucket, prefix: str) -> None:
    for name in ("a", "b/1", "b/2", "c/x/y"):
        bucket.blob(prefix + name).upload_from_string(b"x")
    listed = bucket.client.list_blobs(bucket, prefix=prefix, delimiter="/")
    assert [blob.name for blob in listed] == [prefix + "a"]
    assert listed.prefixes == {prefix + "b/", prefix + "c/"}


@pytest.mark.parametrize("mask", ["items(name,size),prefixes", "items/name,items/size,prefixes"])
def test_a_mask_leaves_the_rest_out(bucket: storage.Bucket, prefix: str, mask: str) -> None:
    bucket.blob(prefix + "a").upload_from_string(b"xyz")
    query = {"prefix": prefix, "fields": mask}
    answer = bucket.client._connection.api_request("GET", f"{bucket.path}/o", query_params=query)
    assert answer == {"items": [{"name": prefix + "a", "size": "3"}]}


def test_a_deleted_object_is_gone(bucket: storage.Bucket, prefix: str) -> None:
    blob = bucket.blob(prefix + "gone")
    blob.upload_from_string(b"x")
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob(blob.name).delete(if_generation_match=blob.generation + 1)
    assert blob.exists()
    bucket.blob(blob.name).delete(if_generation_match=blob.generation)
    assert not bucket.blob(blob.name).exists()
    with pytest.raises(exceptions.NotFound):
        bucket.blob(blob.name).delete()


def test_the_custom_time_moves_forward_only(bucket: storage.Bucket, prefix: str) -> None:
    blob = bucket.blob(prefix + "timed")
    early = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc)
    blob.custom_time = early
    blob.upload_from_string(b"x")
    assert bucket.get_blob(blob.name).custom_time == early
    blob.custom_time = early + datetime.timedelta(days=1)
    blob.patch(if_metageneration_match=1)
    assert blob.metageneration == 2
    assert bucket.get_blob(blob.name).custom_time == early + datetime.timedelta(days=1)
    blob.custom_time = early
    with pytest.raises(exceptions.BadRequest):
        blob.patch()


def test_metadata_is_merged_and_cleared(bucket: storage.Bucket, prefix: str) -> None:
    blob = bucket.blob(prefix + "annotated")
    blob.metadata = {"a": "1", "b": "2"}
    blob.upload_from_string(b"x")
    generation = blob.generation
    blob.metadata = {"b": None, "c": "3"}
    blob.patch()
    again = bucket.get_blob(blob.name)
    assert again.metadata == {"a": "1", "c": "3"}
    assert (again.generation, again.metageneration) == (generation, 2)


def test_a_batch_deletes_many(bucket: storage.Bucket, prefix: str) -> None:
    for number in range(5):
        bucket.blob(f"{prefix}{number}").upload_from_string(b"x")
    with bucket.client.batch():
        for number in range(5):
            bucket.blob(f"{prefix}{number}").delete()
    assert list(bucket.list_blobs(prefix=prefix)) == []


def test_a_batch_tells_of_each_failure(bucket: storage.Bucket, prefix: str) -> None:
    bucket.blob(prefix + "there").upload_from_string(b"x")
    with pytest.raises(exceptions.NotFound), bucket.client.batch():
        bucket.blob(prefix + "there").delete()
        bucket.blob(prefix + "not there").delete()
    assert not bucket.blob(prefix + "there").exists()


def test_objects_are_composed_without_an_md5(bucket: storage.Bucket, prefix: str) -> None:
    parts = [bucket.blob(f"{prefix}{number}") for number in range(3)]
    for number, part in enumerate(parts):
        part.upload_from_string(b"%d;" % number)
    whole = bucket.blob(prefix + "whole")
    whole.content_type = "text/plain"
    whole.compose(parts, if_generation_match=0)
    again = bucket.get_blob(whole.name)
    assert again.download_as_bytes() == b"0;1;2;"
    assert (again.md5_hash, again.component_count, again.crc32c) == (None, 3, crc32c_of(b"0;1;2;"))


def test_an_object_is_copied_with_its_metadata(bucket: storage.Bucket, prefix: str) -> None:
    blob = bucket.blob(prefix + "original")
    blob.metadata = {"a": "1"}
    blob.upload_from_string(b"content", content_type="text/plain")
    token, done, total = bucket.blob(prefix + "rewritten").rewrite(blob)
    assert (token, done, total) == (None, 7, 7)
    for copy in (bucket.get_blob(prefix + "rewritten"), bucket.copy_blob(blob, bucket, prefix + "copied")):
        assert (copy.download_as_bytes(), copy.content_type, copy.metadata) == (b"content", "text/plain", {"a": "1"})
        assert copy.generation != blob.generation


@pytest.mark.parametrize("field", ["md5_hash", "crc32c"])
def test_a_wrong_checksum_stores_nothing(bucket: storage.Bucket, prefix: str, field: str) -> None:
    blob = bucket.blob(prefix + "wrong")
    setattr(blob, field, (md5_of if field == "md5_hash" else crc32c_of)(b"other content"))
    with pytest.raises(exceptions.BadRequest):
        blob.upload_from_string(b"content", checksum=None)
    assert not bucket.blob(blob.name).exists()


def test_wrong_credentials_are_refused(wire: Recorder, judged: Callable[[], list[dict]], prefix: str) -> None:
    endpoint = {"api_endpoint": wire.url}
    stranger = storage.Client("p", Credentials("not the token"), client_options=endpoint)
    # To the client a 401 means that its token is old.
    with pytest.raises(RefreshError):
        stranger.bucket(BUCKET).blob(prefix + "x").upload_from_string(b"x", retry=None)
    assert [exchange["status"] for exchange in judged()] == [401]


def test_without_credentials_it_is_open_only_if_told_so(anonymous_client: storage.Client, prefix: str) -> None:
    blob = anonymous_client.bucket(BUCKET).blob(prefix + "anyone")
    blob.upload_from_string(b"x")
    assert [found.name for found in anonymous_client.list_blobs(BUCKET, prefix=prefix)] == [blob.name]
    assert anonymous_client.get_bucket(BUCKET).get_blob(blob.name).download_as_bytes() == b"x"


def test_many_workers_fetch_one_object(bucket: storage.Bucket, prefix: str, tmp_path: Path) -> None:
    content = os.urandom(12 * MIB + 5)
    bucket.blob(prefix + "shared").upload_from_string(content)
    blob = bucket.get_blob(prefix + "shared")
    threads = {"worker_type": transfer_manager.THREAD, "max_workers": 4, "chunk_size": 5 * MIB}
    transfer_manager.download_chunks_concurrently(blob, str(tmp_path / "down"), **threads)
    assert (tmp_path / "down").read_bytes() == content


@pytest.fixture
def direct_client(emulator: Emulator, credentials: Credentials) -> storage.Client:
    """Nobody listens in: parts go by the XML API, of which the discovery documents know nothing."""
    return storage.Client(PROJECT, credentials, client_options={"api_endpoint": emulator.endpoint})


@pytest.mark.parametrize("checksum", ["crc32c", "md5", None])
def test_many_workers_send_one_object(
    direct_client: storage.Client, prefix: str, tmp_path: Path, checksum: str | None
) -> None:
    content = os.urandom(12 * MIB + 5)
    (tmp_path / "up").write_bytes(content)
    blob = direct_client.bucket(BUCKET).blob(prefix + "shared & <sent>")
    blob.metadata = {"colour": "red"}
    threads = {"worker_type": transfer_manager.THREAD, "max_workers": 4, "chunk_size": 5 * MIB}
    transfer_manager.upload_chunks_concurrently(
        str(tmp_path / "up"), blob, content_type="text/x-test", checksum=checksum, **threads
    )
    stored = direct_client.bucket(BUCKET).get_blob(blob.name)
    assert stored.download_as_bytes() == content
    assert (stored.size, stored.crc32c) == (len(content), crc32c_of(content))
    assert (stored.component_count, stored.md5_hash) == (3, None)
    assert (stored.content_type, stored.metadata) == ("text/x-test", {"colour": "red"})


def test_many_workers_find_no_bucket(direct_client: storage.Client, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "up").write_bytes(os.urandom(6 * MIB))
    blob = direct_client.bucket("there-is-no-such-bucket").blob(prefix + "shared")
    with pytest.raises(InvalidResponse) as caught:
        transfer_manager.upload_chunks_concurrently(
            str(tmp_path / "up"), blob, worker_type=transfer_manager.THREAD, chunk_size=5 * MIB
        )
    assert caught.value.response.status_code == 404
