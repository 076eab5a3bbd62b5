"""Google's command line against the emulator, where it is installed: it comes from no package registry."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from emulators import BUCKET, Emulator, gcloud_environment
from google.cloud import storage
from recorder import Recorder

pytestmark = pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed here")

Gcloud = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def gcloud(wire: Recorder, emulator: Emulator, tmp_path: Path) -> Gcloud:
    wire.side = "gcloud"
    environment = gcloud_environment(emulator, tmp_path)
    environment["CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE"] = f"{wire.url}/storage/v1/"

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = ["gcloud", "storage", *arguments]
        return subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180)

    return call


def test_files_are_copied_both_ways(gcloud: Gcloud, bucket: storage.Bucket, prefix: str, tmp_path: Path) -> None:
    for name, size in (("small", 300_000), ("large", 9 << 20)):
        content = os.urandom(size)
        (tmp_path / name).write_bytes(content)
        up = gcloud("cp", name, f"gs://{BUCKET}/{prefix}{name}")
        assert up.returncode == 0, up.stderr
        assert bucket.blob(prefix + name).download_as_bytes() == content
        down = gcloud("cp", f"gs://{BUCKET}/{prefix}{name}", f"{name}.back")
        assert down.returncode == 0, down.stderr
        assert (tmp_path / f"{name}.back").read_bytes() == content
    listed = gcloud("ls", f"gs://{BUCKET}/{prefix}")
    assert listed.returncode == 0, listed.stderr
    assert listed.stdout.split() == [f"gs://{BUCKET}/{prefix}{name}" for name in ("large", "small")]
    removed = gcloud("rm", f"gs://{BUCKET}/{prefix}small", f"gs://{BUCKET}/{prefix}large")
    assert removed.returncode == 0, removed.stderr
    assert list(bucket.list_blobs(prefix=prefix)) == []


def test_a_condition_and_a_hash_travel(gcloud: Gcloud, bucket: storage.Bucket, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    target = f"gs://{BUCKET}/{prefix}once"
    flags = ("--content-md5=mgNkuembtIDdJeHwKEyFVQ==", "--custom-time=2026-01-02T03:04:05Z", "--if-generation-match=0")
    first = gcloud("cp", "file", target, *flags)
    assert first.returncode == 0, first.stderr
    assert bucket.get_blob(prefix + "once").custom_time.year == 2026
    again = gcloud("cp", "file", target, "--if-generation-match=0")
    assert again.returncode != 0 and "412" in again.stderr, again.stderr
    wrong = gcloud("cp", "file", f"{target}2", "--content-md5=AAAAAAAAAAAAAAAAAAAAAA==")
    assert wrong.returncode != 0, wrong.stderr
    assert not bucket.blob(prefix + "once2").exists()
