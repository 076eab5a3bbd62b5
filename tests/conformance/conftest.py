"""The stage: emulators, Google's clients pointed at them, and a judge who listens to all they say."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import discovery
import pytest
from emulators import BUCKET, PROJECT, REGION, Emulator, start_emulator
from google.api_core.future.polling import DEFAULT_POLLING
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2, storage
from google.cloud.run_v2.services.executions.transports import ExecutionsRestTransport
from google.cloud.run_v2.services.jobs.transports import JobsRestTransport
from google.cloud.run_v2.services.tasks.transports import TasksRestTransport
from google.oauth2.credentials import Credentials
from recorder import Recorder

# The newest client asks for a bucket's metadata in the background, at moments of its own choosing.
os.environ["DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA"] = "true"


# The client would wait a second at first, and twenty in the end.
QUICKLY = DEFAULT_POLLING.with_delay(initial=0.1, maximum=0.5).with_timeout(120)


@pytest.fixture(scope="session")
def sortie() -> str:
    program = os.environ.get("SORTIE")
    if not program:
        pytest.exit("SORTIE must name the sortie program; run.sh does that", returncode=2)
    return program


@pytest.fixture(scope="session")
def emulator(sortie: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Lets nobody in without its token."""
    running = start_emulator(sortie, tmp_path_factory.mktemp("emulator"))
    yield running
    assert running.stop() == 0, running.log.read_text()[-2000:]


@pytest.fixture(scope="session")
def open_emulator(sortie: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """Storage is open to all: how a stranger's test suite would use it."""
    running = start_emulator(sortie, tmp_path_factory.mktemp("open"), "--anonymous")
    yield running
    assert running.stop() == 0, running.log.read_text()[-2000:]


@pytest.fixture(scope="session")
def recorder(emulator: Emulator) -> Iterator[Recorder]:
    listening = Recorder(emulator.endpoint)
    yield listening
    listening.close()


@pytest.fixture
def wire(recorder: Recorder, request: pytest.FixtureRequest) -> Iterator[Recorder]:
    """The recorder, with a clean sheet; what it hears in this test must be Google's language."""
    recorder.take()
    recorder.side = "python"
    yield recorder
    exchanges = recorder.take()
    if folder := os.environ.get("CONFORMANCE_EXCHANGES"):
        lines = "".join(json.dumps(exchange) + "\n" for exchange in exchanges)
        (Path(folder) / f"{request.node.name}.jsonl").write_text(lines)
    found = [problem for exchange in exchanges for problem in discovery.problems(exchange)]
    assert not found, "\n".join(sorted(set(found)))


@pytest.fixture
def judged(wire: Recorder) -> Callable[[], list[dict]]:
    """What was said so far, for a test to look at; it stays where the judge finds it."""

    def peek() -> list[dict]:
        exchanges = wire.take()
        for exchange in exchanges:
            wire.add(exchange)
        return exchanges

    return peek


@pytest.fixture
def credentials(emulator: Emulator) -> Credentials:
    return Credentials(emulator.token)


@pytest.fixture
def storage_client(wire: Recorder, credentials: Credentials) -> storage.Client:
    return storage.Client(PROJECT, credentials, client_options={"api_endpoint": wire.url})


@pytest.fixture
def anonymous_client(open_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> storage.Client:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", open_emulator.environment["STORAGE_EMULATOR_HOST"])
    return storage.Client(PROJECT, AnonymousCredentials())


@pytest.fixture
def bucket(storage_client: storage.Client) -> storage.Bucket:
    return storage_client.bucket(BUCKET)


@pytest.fixture
def prefix() -> str:
    """Names that no other test uses."""
    return f"{uuid.uuid4().hex}/"


@pytest.fixture
def job_id() -> str:
    return f"job-{uuid.uuid4().hex[:12]}"


def rest(transport: type, url: str, credentials: Credentials):
    return transport(host=url.removeprefix("http://"), url_scheme="http", credentials=credentials)


@pytest.fixture
def jobs(wire: Recorder, credentials: Credentials) -> run_v2.JobsClient:
    return run_v2.JobsClient(transport=rest(JobsRestTransport, wire.url, credentials))


@pytest.fixture
def executions(wire: Recorder, credentials: Credentials) -> run_v2.ExecutionsClient:
    return run_v2.ExecutionsClient(transport=rest(ExecutionsRestTransport, wire.url, credentials))


@pytest.fixture
def tasks(wire: Recorder, credentials: Credentials) -> run_v2.TasksClient:
    return run_v2.TasksClient(transport=rest(TasksRestTransport, wire.url, credentials))


@pytest.fixture
def make_job(jobs: run_v2.JobsClient, job_id: str) -> Callable[..., str]:
    """Creates a job whose container runs a bash script, and returns its full name."""

    def make(script: str, retries: int = 0, **template) -> str:
        container = run_v2.Container(image="any/image", command=["bash", "-c"], args=[script])
        task = run_v2.TaskTemplate(containers=[container], max_retries=retries, **template)
        job = run_v2.Job(template=run_v2.ExecutionTemplate(template=task))
        return jobs.create_job(parent=parent(), job=job, job_id=job_id).result(timeout=60).name

    return make


def parent() -> str:
    return f"projects/{PROJECT}/locations/{REGION}"
