"""google-cloud-run over REST, as anybody would use it, against the emulator."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from conftest import QUICKLY, parent, rest
from google.api_core import exceptions
from google.auth.exceptions import RefreshError
from google.cloud import run_v2
from google.cloud.run_v2.services.jobs.transports import JobsRestTransport
from google.oauth2.credentials import Credentials
from google.protobuf import duration_pb2
from recorder import Recorder

Completed = run_v2.Condition.State
Reason = run_v2.Condition.ExecutionReason


def overrides(count: int = 0, timeout: int = 0, **variables: str) -> run_v2.RunJobRequest.Overrides:
    env = [run_v2.EnvVar(name=name, value=value) for name, value in variables.items()]
    container = run_v2.RunJobRequest.Overrides.ContainerOverride(env=env)
    made = run_v2.RunJobRequest.Overrides(container_overrides=[container], task_count=count)
    if timeout:
        made.timeout = duration_pb2.Duration(seconds=timeout)
    return made


def start(jobs: run_v2.JobsClient, name: str, **options):
    return jobs.run_job(run_v2.RunJobRequest(name=name, overrides=overrides(**options)))


def finish(operation) -> run_v2.Execution:
    return operation.result(polling=QUICKLY)


def completed(execution: run_v2.Execution) -> run_v2.Condition:
    return next(condition for condition in execution.conditions if condition.type_ == "Completed")


def wait_until_done(executions: run_v2.ExecutionsClient, name: str) -> run_v2.Execution:
    for _ in range(600):
        execution = executions.get_execution(name=name)
        if execution.completion_time:
            return execution
        time.sleep(0.1)
    raise AssertionError(f"{name} does not end")


def last_error(exchanges: list[dict]) -> tuple[int, str]:
    """Over REST the client tells an error by its number alone; the name is in the body."""
    answer = exchanges[-1]["response_body"]["error"]
    return answer["code"], answer["status"]


def test_a_created_job_has_the_defaults(jobs: run_v2.JobsClient, make_job: Callable[..., str]) -> None:
    job = jobs.get_job(name=make_job("true", retries=2))
    assert job.name in [listed.name for listed in jobs.list_jobs(parent=parent())]
    assert job.terminal_condition.type_ == "Ready" and job.terminal_condition.state == Completed.CONDITION_SUCCEEDED
    assert (job.template.task_count, job.template.template.max_retries) == (1, 2)
    assert job.template.template.timeout.total_seconds() == 600
    assert job.uid and job.etag and job.generation == job.observed_generation == 1 and not job.reconciling
    assert job.template.template.containers[0].command == ["bash", "-c"]


def test_a_job_cannot_be_created_twice(make_job: Callable[..., str], judged: Callable[[], list[dict]]) -> None:
    make_job("true")
    with pytest.raises(exceptions.Conflict):
        make_job("false")
    assert last_error(judged()) == (409, "ALREADY_EXISTS")


def test_a_job_needs_a_proper_name(jobs: run_v2.JobsClient, judged: Callable[[], list[dict]]) -> None:
    container = run_v2.Container(image="any/image")
    job = run_v2.Job(template=run_v2.ExecutionTemplate(template=run_v2.TaskTemplate(containers=[container])))
    for bad in ("Upper", "under_score", "-dash", "dash-", "x" * 64):
        with pytest.raises(exceptions.BadRequest):
            jobs.create_job(parent=parent(), job=job, job_id=bad)
        assert last_error(judged()) == (400, "INVALID_ARGUMENT")


def test_a_run_ends_with_its_execution(jobs: run_v2.JobsClient, make_job: Callable[..., str]) -> None:
    name = make_job("sleep 0.5")
    operation = start(jobs, name)
    assert operation.metadata.name.startswith(f"{name}/executions/{name.rpartition('/')[2]}-")
    execution = finish(operation)
    assert completed(execution).state == Completed.CONDITION_SUCCEEDED
    assert (execution.succeeded_count, execution.failed_count, execution.running_count) == (1, 0, 0)
    assert execution.create_time <= execution.start_time <= execution.completion_time
    assert execution.log_uri and not execution.reconciling
    latest = jobs.get_job(name=name)
    assert latest.execution_count == 1
    assert latest.latest_created_execution.name in (execution.name, execution.name.rpartition("/")[2])


def test_overrides_reach_every_task(
    jobs: run_v2.JobsClient, tasks: run_v2.TasksClient, make_job: Callable[..., str], tmp_path
) -> None:
    name = make_job('echo "$WHAT|$CLOUD_RUN_TASK_COUNT|$CLOUD_RUN_TASK_ATTEMPT" > "$OUT/$CLOUD_RUN_TASK_INDEX"')
    value = "two words, 'quotes' \"too\", $HOME and\na line"
    execution = finish(start(jobs, name, count=3, timeout=77, WHAT=value, OUT=str(tmp_path)))
    assert (execution.task_count, execution.succeeded_count) == (3, 3)
    assert execution.template.timeout.total_seconds() == 77
    for index in range(3):
        assert (tmp_path / str(index)).read_text() == f"{value}|3|0\n"
    listed = list(tasks.list_tasks(parent=execution.name))
    assert sorted(task.index for task in listed) == [0, 1, 2]
    one = tasks.get_task(name=listed[0].name)
    assert one.timeout.total_seconds() == 77 and one.last_attempt_result.exit_code == 0
    assert one.start_time <= one.completion_time
    # The job itself is as it was.
    assert jobs.get_job(name=name).template.task_count == 1


def test_args_can_be_overridden(jobs: run_v2.JobsClient, make_job: Callable[..., str], tmp_path) -> None:
    name = make_job("exit 1")
    container = run_v2.RunJobRequest.Overrides.ContainerOverride(args=[f"echo other > {tmp_path}/out"])
    request = run_v2.RunJobRequest(
        name=name, overrides=run_v2.RunJobRequest.Overrides(container_overrides=[container])
    )
    assert finish(jobs.run_job(request)).succeeded_count == 1
    assert (tmp_path / "out").read_text() == "other\n"


def test_short_tasks_do_not_end_each_other(jobs: run_v2.JobsClient, make_job: Callable[..., str]) -> None:
    name = make_job("echo")
    for _ in range(10):
        execution = finish(start(jobs, name, count=8))
        assert (execution.succeeded_count, execution.failed_count) == (8, 0)


def test_a_failing_task_fails_the_execution(
    jobs: run_v2.JobsClient,
    executions: run_v2.ExecutionsClient,
    tasks: run_v2.TasksClient,
    make_job: Callable[..., str],
) -> None:
    operation = start(jobs, make_job("exit 3"))
    execution = wait_until_done(executions, operation.metadata.name)
    assert completed(execution).state == Completed.CONDITION_FAILED
    assert completed(execution).execution_reason == Reason.NON_ZERO_EXIT_CODE
    assert (execution.succeeded_count, execution.failed_count) == (0, 1)
    (task,) = tasks.list_tasks(parent=execution.name)
    assert task.last_attempt_result.exit_code == 3


def test_a_task_is_tried_again(
    jobs: run_v2.JobsClient, tasks: run_v2.TasksClient, make_job: Callable[..., str], tmp_path
) -> None:
    script = 'echo "$CLOUD_RUN_TASK_ATTEMPT" >> "$OUT/attempts"; test "$CLOUD_RUN_TASK_ATTEMPT" = 2'
    execution = finish(start(jobs, make_job(script, retries=3), OUT=str(tmp_path)))
    assert (tmp_path / "attempts").read_text() == "0\n1\n2\n"
    assert (execution.succeeded_count, execution.retried_count) == (1, 1)
    (task,) = tasks.list_tasks(parent=execution.name)
    assert task.retried == 2


def test_a_killed_task_tells_its_signal(
    jobs: run_v2.JobsClient,
    executions: run_v2.ExecutionsClient,
    tasks: run_v2.TasksClient,
    make_job: Callable[..., str],
) -> None:
    execution = wait_until_done(executions, start(jobs, make_job("kill -KILL $$")).metadata.name)
    (task,) = tasks.list_tasks(parent=execution.name)
    assert (task.last_attempt_result.term_signal, task.last_attempt_result.exit_code) == (9, 0)


def test_a_timeout_ends_the_task(
    jobs: run_v2.JobsClient, executions: run_v2.ExecutionsClient, make_job: Callable[..., str], tmp_path
) -> None:
    script = f"trap 'echo saved > {tmp_path}/out; exit 0' TERM; sleep 100 & wait"
    execution = wait_until_done(executions, start(jobs, make_job(script), timeout=1).metadata.name)
    assert completed(execution).state == Completed.CONDITION_FAILED
    assert (tmp_path / "out").read_text() == "saved\n"


def test_a_cancelled_execution_gets_to_say_goodbye(
    jobs: run_v2.JobsClient, executions: run_v2.ExecutionsClient, make_job: Callable[..., str], tmp_path
) -> None:
    script = f"trap 'echo saved > {tmp_path}/out; exit 0' TERM; echo > {tmp_path}/ready; sleep 100 & wait"
    name = start(jobs, make_job(script)).metadata.name
    for _ in range(600):
        if (tmp_path / "ready").exists():
            break
        time.sleep(0.1)
    cancelled = executions.cancel_execution(name=name)
    execution = wait_until_done(executions, name)
    assert completed(execution).state == Completed.CONDITION_FAILED
    assert completed(execution).execution_reason == Reason.CANCELLED
    assert (execution.cancelled_count, execution.succeeded_count) == (1, 0)
    assert (tmp_path / "out").read_text() == "saved\n"
    assert cancelled.metadata.name == name


def test_a_finished_execution_cannot_be_cancelled(
    jobs: run_v2.JobsClient,
    executions: run_v2.ExecutionsClient,
    make_job: Callable[..., str],
    judged: Callable[[], list[dict]],
) -> None:
    execution = finish(start(jobs, make_job("true")))
    with pytest.raises(exceptions.BadRequest):
        executions.cancel_execution(name=execution.name)
    assert last_error(judged()) == (400, "FAILED_PRECONDITION")


def test_executions_are_listed_newest_first_and_deleted(
    jobs: run_v2.JobsClient, executions: run_v2.ExecutionsClient, make_job: Callable[..., str]
) -> None:
    name = make_job("true")
    made = [finish(start(jobs, name)).name for _ in range(3)]
    request = run_v2.ListExecutionsRequest(parent=name, page_size=2)
    assert [execution.name for execution in executions.list_executions(request)] == made[::-1]
    everywhere = executions.list_executions(parent=f"{parent()}/jobs/-")
    assert [execution.name for execution in everywhere if execution.name in made] == made[::-1]
    executions.delete_execution(name=made[0]).result(polling=QUICKLY)
    with pytest.raises(exceptions.NotFound):
        executions.get_execution(name=made[0])
    assert [execution.name for execution in executions.list_executions(parent=name)] == made[:0:-1]


def test_an_update_replaces_the_job(jobs: run_v2.JobsClient, make_job: Callable[..., str]) -> None:
    job = jobs.get_job(name=make_job("exit 1"))
    job.template.template.containers[0].args = ["exit 0"]
    job.labels["team"] = "x"
    jobs.update_job(job=job).result(polling=QUICKLY)
    again = jobs.get_job(name=job.name)
    assert (again.generation, dict(again.labels)) == (2, {"team": "x"})
    assert finish(start(jobs, job.name)).succeeded_count == 1


def test_an_update_can_make_a_job(jobs: run_v2.JobsClient, job_id: str) -> None:
    container = run_v2.Container(image="any/image", command=["true"])
    template = run_v2.ExecutionTemplate(template=run_v2.TaskTemplate(containers=[container]))
    job = run_v2.Job(name=f"{parent()}/jobs/{job_id}", template=template)
    with pytest.raises(exceptions.NotFound):
        jobs.update_job(run_v2.UpdateJobRequest(job=job))
    made = jobs.update_job(run_v2.UpdateJobRequest(job=job, allow_missing=True)).result(polling=QUICKLY)
    assert made.name == job.name and jobs.get_job(name=job.name).template.template.max_retries == 3


def test_an_old_etag_is_refused(jobs: run_v2.JobsClient, make_job: Callable[..., str]) -> None:
    job = jobs.get_job(name=make_job("true"))
    jobs.update_job(job=job).result(polling=QUICKLY)
    job.labels["late"] = "x"
    with pytest.raises(exceptions.Conflict):
        jobs.update_job(job=job)


def test_a_deleted_job_is_gone(jobs: run_v2.JobsClient, make_job: Callable[..., str]) -> None:
    name = make_job("true")
    jobs.delete_job(name=name).result(polling=QUICKLY)
    for call in (lambda: jobs.get_job(name=name), lambda: start(jobs, name), lambda: jobs.delete_job(name=name)):
        with pytest.raises(exceptions.NotFound):
            call()


def test_what_is_only_to_be_checked_leaves_no_trace(
    jobs: run_v2.JobsClient, executions: run_v2.ExecutionsClient, make_job: Callable[..., str]
) -> None:
    name = make_job("true")
    jobs.run_job(run_v2.RunJobRequest(name=name, validate_only=True))
    jobs.delete_job(run_v2.DeleteJobRequest(name=name, validate_only=True))
    assert jobs.get_job(name=name).execution_count == 0
    assert list(executions.list_executions(parent=name)) == []


def test_nobody_runs_anything_without_the_token(
    wire: Recorder, judged: Callable[[], list[dict]], make_job: Callable[..., str]
) -> None:
    stranger = run_v2.JobsClient(transport=rest(JobsRestTransport, wire.url, Credentials("not the token")))
    name = make_job("true")
    wire.take()
    # To the client a 401 means that its token is old.
    for call in (lambda: stranger.get_job(name=name), lambda: start(stranger, name)):
        with pytest.raises(RefreshError):
            call()
    assert [exchange["status"] for exchange in judged()] == [401, 401]
