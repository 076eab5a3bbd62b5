"""Secret Manager, by the client that Google makes of its discovery document, and what a container gets of it."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Callable

import google_crc32c
import pytest
from conftest import QUICKLY, parent
from emulators import PROJECT
from google.cloud import run_v2
from google.oauth2.credentials import Credentials
from googleapiclient import discovery as clients
from googleapiclient.errors import HttpError
from recorder import Recorder

VALUE = b"first line\nand \x00\xff bytes"


@pytest.fixture
def secrets(wire: Recorder, credentials: Credentials):
    options = {"api_endpoint": wire.url}
    client = clients.build("secretmanager", "v1", credentials=credentials, client_options=options, static_discovery=True)
    with client:
        yield client.projects().secrets()


@pytest.fixture
def secret(secrets) -> str:
    """The full name of a secret that has no version yet."""
    body = {"replication": {"automatic": {}}, "labels": {"made": "here"}}
    name = f"secret-{uuid.uuid4().hex[:12]}"
    made = secrets.create(parent=f"projects/{PROJECT}", secretId=name, body=body).execute()
    assert made["labels"] == {"made": "here"} and made["name"].endswith(f"/secrets/{name}")
    return f"projects/{PROJECT}/secrets/{name}"


def add(secrets, name: str, value: bytes, **payload: str) -> dict:
    body = {"payload": {"data": base64.b64encode(value).decode(), **payload}}
    return secrets.addVersion(parent=name, body=body).execute()


def crc32c_of(value: bytes) -> str:
    return str(int.from_bytes(google_crc32c.Checksum(value).digest(), "big"))


def status_of(request) -> tuple[int, str]:
    with pytest.raises(HttpError) as caught:
        request.execute() if hasattr(request, "execute") else request()
    return caught.value.status_code, caught.value.reason


def test_versions_are_counted_and_read_back(secrets, secret: str) -> None:
    first = add(secrets, secret, b"old")
    second = add(secrets, secret, VALUE, dataCrc32c=crc32c_of(VALUE))
    assert (first["state"], second["name"].rsplit("/", 1)[1]) == ("ENABLED", "2")
    assert "clientSpecifiedPayloadChecksum" not in first and second["clientSpecifiedPayloadChecksum"] is True
    for version, value in (("1", b"old"), ("2", VALUE), ("latest", VALUE)):
        read = secrets.versions().access(name=f"{secret}/versions/{version}").execute()
        assert base64.b64decode(read["payload"]["data"]) == value
        assert read["payload"]["dataCrc32c"] == crc32c_of(value)
    assert secrets.versions().get(name=f"{secret}/versions/latest").execute() == second
    assert secrets.get(name=secret).execute()["labels"] == {"made": "here"}
    listed = secrets.list(parent=f"projects/{PROJECT}").execute()["secrets"]
    assert secret.rsplit("/", 1)[1] in [found["name"].rsplit("/", 1)[1] for found in listed]


def test_what_is_not_there_or_not_whole_is_refused(secrets, secret: str) -> None:
    assert status_of(secrets.versions().access(name=f"{secret}/versions/latest"))[0] == 404
    assert status_of(secrets.get(name=f"{secret}-none"))[0] == 404
    assert status_of(lambda: add(secrets, secret, VALUE, dataCrc32c="1"))[0] == 400
    assert status_of(lambda: add(secrets, secret, b""))[0] == 400
    assert status_of(lambda: add(secrets, secret, b"x" * 65537))[0] == 400
    again = secrets.create(parent=f"projects/{PROJECT}", secretId=secret.rsplit("/", 1)[1], body={})
    assert status_of(again)[0] == 409
    secrets.delete(name=secret).execute()
    assert status_of(secrets.delete(name=secret))[0] == 404


def test_a_container_gets_it_and_the_job_does_not_tell_it(
    secrets, secret: str, jobs: run_v2.JobsClient, job_id: str, tmp_path, judged: Callable[[], list[dict]]
) -> None:
    add(secrets, secret, b"open sesame")
    reference = run_v2.SecretKeySelector(secret=secret.rsplit("/", 1)[1], version="latest")
    env = [run_v2.EnvVar(name="KEY", value_source=run_v2.EnvVarSource(secret_key_ref=reference))]
    script = f'printf %s "$KEY" > {tmp_path}/key'
    container = run_v2.Container(image="any/image", command=["bash", "-c"], args=[script], env=env)
    job = run_v2.Job(template=run_v2.ExecutionTemplate(template=run_v2.TaskTemplate(containers=[container])))
    name = jobs.create_job(parent=parent(), job=job, job_id=job_id).result(timeout=60).name
    execution = jobs.run_job(name=name).result(polling=QUICKLY)
    assert execution.succeeded_count == 1
    assert (tmp_path / "key").read_text() == "open sesame"
    assert "open sesame" not in repr(judged())
