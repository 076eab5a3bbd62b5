"""`gcloud run jobs` against the emulator, where it is installed: an outside eye on the jobs that others made by version 2.

It puts a region before the host name it is given, so it is given one that does not exist, and the emulator as its proxy.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from emulators import PROJECT, REGION, Emulator, gcloud_environment
from google.cloud import run_v2
from recorder import Recorder

pytestmark = pytest.mark.skipif(shutil.which("gcloud") is None, reason="gcloud is not installed here")

Gcloud = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def gcloud(wire: Recorder, emulator: Emulator, tmp_path: Path) -> Gcloud:
    wire.side = "gcloud"
    proxy = urlsplit(wire.url)
    environment = gcloud_environment(emulator, tmp_path) | {
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN": "http://run.test/",
        "CLOUDSDK_PROXY_TYPE": "http",
        "CLOUDSDK_PROXY_ADDRESS": proxy.hostname or "",
        "CLOUDSDK_PROXY_PORT": str(proxy.port),
        "CLOUDSDK_RUN_REGION": REGION,
    }

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = ["gcloud", "run", "jobs", *arguments]
        return subprocess.run(argv, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180)

    return call


def seen(ended: subprocess.CompletedProcess[str]) -> object:
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def short(name: str) -> str:
    return name.rsplit("/", 1)[-1]


def test_executions_of_version_2_are_listed_and_described(
    gcloud: Gcloud, make_job: Callable[..., str], jobs: run_v2.JobsClient
) -> None:
    job = make_job("exit $CLOUD_RUN_TASK_INDEX")
    overrides = run_v2.RunJobRequest.Overrides(task_count=2)
    operation = jobs.run_job(run_v2.RunJobRequest(name=job, overrides=overrides))
    execution = short(operation.metadata.name)
    with pytest.raises(Exception, match="failed"):
        operation.result(timeout=60)

    listed = gcloud("list")
    assert listed.returncode == 0, listed.stderr
    assert short(job) in listed.stdout
    described = seen(gcloud("describe", short(job), "--format=json"))
    assert described["metadata"]["name"] == short(job)
    readable = gcloud("describe", short(job))
    assert readable.returncode == 0 and "any/image" in readable.stdout, readable.stderr

    table = gcloud("executions", "list", "--job", short(job))
    assert table.returncode == 0, table.stderr
    (line,) = (line for line in table.stdout.splitlines() if execution in line)
    assert "1 / 2" in line and short(job) in line, line
    one = seen(gcloud("executions", "describe", execution, "--format=json"))
    assert (one["status"]["failedCount"], one["status"]["succeededCount"]) == (1, 1)
    readable = gcloud("executions", "describe", execution)
    assert readable.returncode == 0 and "failed" in readable.stdout, readable.stderr
    tasks = seen(gcloud("executions", "tasks", "list", "--execution", execution, "--format=json"))
    codes = {task["status"].get("index", 0): task["status"]["lastAttemptResult"].get("exitCode", 0) for task in tasks}
    assert codes == {0: 0, 1: 1}


def test_execute_waits_for_the_end(
    gcloud: Gcloud, make_job: Callable[..., str], executions: run_v2.ExecutionsClient
) -> None:
    job = make_job('exit "$CODE"')
    good = gcloud("execute", short(job), "--wait", "--update-env-vars=CODE=0", "--tasks=3", "--task-timeout=60s")
    assert good.returncode == 0, good.stderr
    (execution,) = executions.list_executions(parent=job)
    assert (execution.succeeded_count, execution.template.timeout.seconds) == (3, 60)
    assert {variable.name: variable.value for variable in execution.template.containers[0].env} == {"CODE": "0"}
    bad = gcloud("execute", short(job), "--wait", "--update-env-vars=CODE=1")
    assert bad.returncode == 1 and "execution failed" in bad.stderr, bad.stderr


def test_cancel_and_delete(
    gcloud: Gcloud, make_job: Callable[..., str], jobs: run_v2.JobsClient, executions: run_v2.ExecutionsClient
) -> None:
    job = make_job("exec sleep 1000")
    name = jobs.run_job(name=job).metadata.name
    cancelled = gcloud("executions", "cancel", short(name), "--quiet")
    assert cancelled.returncode == 0, cancelled.stderr
    assert executions.get_execution(name=name).cancelled_count == 1
    assert gcloud("executions", "cancel", short(name), "--quiet").returncode != 0
    removed = gcloud("executions", "delete", short(name), "--quiet")
    assert removed.returncode == 0, removed.stderr
    assert list(executions.list_executions(parent=job)) == []
    removed = gcloud("delete", short(job), "--quiet")
    assert removed.returncode == 0, removed.stderr
    assert short(job) not in gcloud("list").stdout


def test_a_job_of_the_command_line_is_version_2s(
    gcloud: Gcloud, job_id: str, jobs: run_v2.JobsClient, executions: run_v2.ExecutionsClient
) -> None:
    flags = ("--image=any/image", "--command=bash", "--args=-c,exit $CODE", "--max-retries=0", "--tasks=2")
    made = gcloud("create", job_id, *flags, "--set-env-vars=CODE=0", "--memory=1Gi", "--cpu=2", "--labels=made=here")
    assert made.returncode == 0, made.stderr
    name = jobs.job_path(PROJECT, REGION, job_id)
    job = jobs.get_job(name=name)
    container = job.template.template.containers[0]
    assert (list(container.command), list(container.args)) == (["bash"], ["-c", "exit $CODE"])
    assert (dict(container.resources.limits), job.template.task_count) == ({"cpu": "2", "memory": "1Gi"}, 2)
    assert job.labels["made"] == "here"
    changed = gcloud("update", job_id, "--update-env-vars=CODE=0,MORE=1", "--tasks=1", "--execute-now", "--wait")
    assert changed.returncode == 0, changed.stderr
    (execution,) = executions.list_executions(parent=name)
    assert (execution.succeeded_count, execution.task_count) == (1, 1)
    assert jobs.get_job(name=name).generation == 2


def test_a_jobs_policy_is_changed(gcloud: Gcloud, make_job: Callable[..., str], jobs: run_v2.JobsClient) -> None:
    job = make_job("true")
    flags = ("--member=user:a@example.com", "--role=roles/run.invoker")
    added = gcloud("add-iam-policy-binding", short(job), *flags)
    assert added.returncode == 0, added.stderr
    (binding,) = jobs.get_iam_policy({"resource": job}).bindings
    assert (binding.role, list(binding.members)) == ("roles/run.invoker", ["user:a@example.com"])
    policy = seen(gcloud("get-iam-policy", short(job), "--format=json"))
    assert policy["bindings"][0]["role"] == "roles/run.invoker"
