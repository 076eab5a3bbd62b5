"""A program that has never heard of sortie: official clients, one bash script in a container, results in a bucket.

It packs files into one archive named by its hash, creates one job whose container runs a script, starts it with
environment overrides, waits for the operation, and fetches and deletes what the script has left.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import tarfile
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from conftest import QUICKLY, parent
from emulators import BUCKET, Emulator
from google.auth import compute_engine
from google.auth.transport.requests import Request
from google.cloud import run_v2, storage

# What such a container does with nothing but a shell and Python: token, download, command, upload.
SCRIPT = r"""
set -euo pipefail
work=$(mktemp -d); mkdir "$work/input" "$work/output"; cd "$work"; trap 'rm -rf "$work"' EXIT
bucket() {
    python3 - "$@" <<'EOF'
import json, os, sys, urllib.parse, urllib.request
verb, path, name = sys.argv[1:]
metadata = f"http://{os.environ['GCE_METADATA_HOST']}/computeMetadata/v1/instance/service-accounts/default/token"
ask = urllib.request.Request(metadata, headers={"Metadata-Flavor": "Google"})
token = json.load(urllib.request.urlopen(ask))["access_token"]
host, bucket = os.environ["STORAGE_EMULATOR_HOST"], os.environ["BUCKET"]
name = urllib.parse.quote(name, safe="")
headers = {"Authorization": f"Bearer {token}"}
if verb == "get":
    url = f"{host}/storage/v1/b/{bucket}/o/{name}?alt=media"
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer, open(path, "wb") as out:
        out.write(answer.read())
else:
    url = f"{host}/upload/storage/v1/b/{bucket}/o?uploadType=media&name={name}"
    headers["Content-Type"] = "application/gzip"
    urllib.request.urlopen(urllib.request.Request(url, open(path, "rb").read(), headers, method="POST"))
EOF
}
if [ -n "${INPUT:-}" ]; then bucket get in.tgz "$INPUT"; tar xzf in.tgz -C input; fi
code=0
bash -c "$COMMAND" > output/stdout.txt 2> output/stderr.txt || code=$?
echo "$code" > output/returncode.txt
tar czf out.tgz -C output .
bucket put out.tgz "$OUTPUT"
"""


class Client:
    """The stranger's whole module."""

    def __init__(self, bucket: storage.Bucket, jobs: run_v2.JobsClient, name: str) -> None:
        self.bucket, self.jobs, self.name = bucket, jobs, name

    def create(self) -> None:
        container = run_v2.Container(
            image="slim",
            command=["bash", "-c"],
            args=[SCRIPT],
            env=[run_v2.EnvVar(name="BUCKET", value=BUCKET), run_v2.EnvVar(name="PATH", value=os.environ["PATH"])],
            resources=run_v2.ResourceRequirements(limits={"cpu": "1", "memory": "2Gi"}),
        )
        task = run_v2.TaskTemplate(containers=[container], max_retries=0)
        job = run_v2.Job(template=run_v2.ExecutionTemplate(template=task, task_count=1))
        self.jobs.create_job(parent=parent(), job=job, job_id=self.name).result(polling=QUICKLY)

    def send(self, files: dict[str, bytes]) -> str:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, content in sorted(files.items()):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        content = packed.getvalue()
        # The container's account may get what lies under these names, as in the kit's bucket.
        blob = self.bucket.blob(f"inputs/{hashlib.md5(content).hexdigest()}.tar.gz")
        if not blob.exists():
            blob.upload_from_string(content, content_type="application/gzip")
        return blob.name

    def run(self, command: str, given: str = "") -> dict[str, bytes]:
        output = f"runs/{uuid.uuid4().hex}.tgz"
        variables = {"COMMAND": command, "INPUT": given, "OUTPUT": output}
        env = [run_v2.EnvVar(name=name, value=value) for name, value in variables.items()]
        container = run_v2.RunJobRequest.Overrides.ContainerOverride(env=env)
        request = run_v2.RunJobRequest(
            name=f"{parent()}/jobs/{self.name}",
            overrides=run_v2.RunJobRequest.Overrides(container_overrides=[container]),
        )
        self.jobs.run_job(request).result(polling=QUICKLY)
        return self.receive(output)

    def receive(self, name: str) -> dict[str, bytes]:
        blob = self.bucket.blob(name)
        with tarfile.open(fileobj=io.BytesIO(blob.download_as_bytes())) as archive:
            files = {entry.name.removeprefix("./"): archive.extractfile(entry) for entry in archive if entry.isfile()}
            contents = {name: file.read() for name, file in files.items() if file is not None}
        blob.delete()
        assert not blob.exists()
        return contents


@pytest.fixture
def stranger(bucket: storage.Bucket, jobs: run_v2.JobsClient, job_id: str) -> Client:
    client = Client(bucket, jobs, job_id)
    client.create()
    return client


def test_files_go_out_and_results_come_home(stranger: Client) -> None:
    given = stranger.send({"repo/a.txt": b"hello", "data.json": b"{}"})
    results = stranger.run("cat input/repo/a.txt; ls input; tr a-z A-Z < input/repo/a.txt > output/big", given)
    assert results["stdout.txt"] == b"hello" + b"data.json\nrepo\n"
    assert results["big"] == b"HELLO"
    assert (results["stderr.txt"], results["returncode.txt"]) == (b"", b"0\n")


def test_a_failing_command_is_a_result(stranger: Client) -> None:
    results = stranger.run("echo out; echo err >&2; exit 7")
    assert (results["stdout.txt"], results["stderr.txt"], results["returncode.txt"]) == (b"out\n", b"err\n", b"7\n")


def test_any_command_arrives_as_it_was_written(stranger: Client) -> None:
    awkward = "naïve $HOME `x` 'q' \"d\" \\n\n\ttab; $(exit 3) * ? ~ !"
    assert stranger.run(f"printf %s {shlex.quote(awkward)}")["stdout.txt"] == awkward.encode()
    long = "x" * 30_000
    assert stranger.run(f"printf %s {long}")["stdout.txt"] == long.encode()


def test_one_client_runs_many_at_a_time(stranger: Client) -> None:
    with ThreadPoolExecutor(max_workers=8) as pool:
        results = list(pool.map(lambda number: stranger.run(f"echo {number}"), range(8)))
    assert [result["stdout.txt"] for result in results] == [b"%d\n" % number for number in range(8)]


# Prints what each of the forbidden calls is answered with.
FORBIDDEN = r"""
python3 - <<'EOF'
import json, os, urllib.error, urllib.request
metadata = f"http://{os.environ['GCE_METADATA_HOST']}/computeMetadata/v1/instance/service-accounts/default/token"
ask = urllib.request.Request(metadata, headers={"Metadata-Flavor": "Google"})
headers = {"Authorization": "Bearer " + json.load(urllib.request.urlopen(ask))["access_token"]}
host, bucket, name = os.environ["STORAGE_EMULATOR_HOST"], os.environ["BUCKET"], os.environ["INPUT"].replace("/", "%2F")
upload = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name="
for verb, path, body in [
    ("GET", f"/storage/v1/b/{bucket}/o/{name}", None),
    ("DELETE", f"/storage/v1/b/{bucket}/o/{name}", None),
    ("POST", upload + name, b"evil"),
    ("POST", upload + "inputs%2Fnew", b"evil"),
    ("GET", f"/storage/v1/b/{bucket}/o", None),
    ("GET", f"/storage/v1/b/{bucket}/o/runs%2Fnot-there", None),
]:
    try:
        print(urllib.request.urlopen(urllib.request.Request(host + path, body, headers, method=verb)).status)
    except urllib.error.HTTPError as error:
        print(error.code)
EOF
"""


def test_a_container_cannot_do_what_its_account_may_not(stranger: Client) -> None:
    given = stranger.send({"x": b"x"})
    results = stranger.run(FORBIDDEN, given)
    assert results["stdout.txt"].split() == [b"200", b"403", b"403", b"403", b"403", b"403"], results
    assert stranger.bucket.blob(given).exists()


def test_the_metadata_server_serves_google_auth(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    # Read from GCE_METADATA_HOST once, when the module is loaded.
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", emulator.metadata)
    credentials = compute_engine.Credentials()
    credentials.refresh(Request())
    assert credentials.token and credentials.valid
    assert credentials.service_account_email.endswith("gserviceaccount.com")
    assert credentials.token != emulator.token


def test_a_web_page_gets_nothing(emulator: Emulator) -> None:
    url = f"{emulator.endpoint}/storage/v1/b/{BUCKET}/o"
    owner = {"Authorization": f"Bearer {emulator.token}"}
    assert requests.get(url, headers=owner, timeout=30).status_code == 200
    for evil in ({"Origin": "http://evil.test"}, {"Host": "evil.test"}):
        assert requests.get(url, headers=owner | evil, timeout=30).status_code == 403
        metadata = f"http://{emulator.metadata}/computeMetadata/v1/instance/service-accounts/default/token"
        headers = {"Metadata-Flavor": "Google"} | evil
        assert requests.get(metadata, headers=headers, timeout=30).status_code == 403
    metadata = f"http://{emulator.metadata}/computeMetadata/v1/instance/service-accounts/default/token"
    assert requests.get(metadata, timeout=30).status_code == 403


def test_an_unknown_field_is_refused(emulator: Emulator) -> None:
    """Google's own clients cannot send one; whoever writes requests by hand can."""
    owner = {"Authorization": f"Bearer {emulator.token}", "Content-Type": "application/json"}
    url = f"{emulator.endpoint}/v2/{parent()}/jobs?jobId=typo"
    job = {"template": {"template": {"containers": [{"image": "x"}], "maxRetry": 1}}}
    answer = requests.post(url, json.dumps(job), headers=owner, timeout=30)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "maxRetry" in answer.json()["error"]["message"]
