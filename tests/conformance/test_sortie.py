"""sortie itself, with every word between it and the emulator judged by the discovery documents.

The container's words are judged, too: the job lets its program talk to the proxy instead of the emulator.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import parent
from emulators import BUCKET, PROJECT, REGION, Emulator
from google.cloud import run_v2
from recorder import Recorder

PATIENCE = 120


class Sortie:
    """The program, told where to run by nothing but its environment."""

    def __init__(self, program: str, wire: Recorder, emulator: Emulator, job: str, home: Path) -> None:
        self.program, self.wire, self.home = program, wire, home
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "SORTIE_DATA_DIR": str(home / "data"),
            "SORTIE_PROJECT": PROJECT,
            "SORTIE_REGION": REGION,
            "SORTIE_BUCKET": BUCKET,
            "SORTIE_JOB": job,
            "SORTIE_RUN_ENDPOINT": wire.url,
            "STORAGE_EMULATOR_HOST": wire.url,
            "SORTIE_EMULATOR_TOKEN": emulator.token,
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        argv = [self.program, *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            argv, env=self.environment, cwd=self.home, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe
        )

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.fixture
def run(
    sortie: str, wire: Recorder, emulator: Emulator, jobs: run_v2.JobsClient, job_id: str, tmp_path: Path
) -> Sortie:
    # What the emulator is given to start is, as in an image, the entrypoint; here it needs directories of its own.
    command = ["env", f"STORAGE_EMULATOR_HOST={wire.url}", sortie, "container"]
    command += ["--image=any/image", "--cpu=1", "--memory=512Mi", "--"]
    variables = {"PATH": os.environ["PATH"], "SORTIE_SANDBOX": "none", "SORTIE_SCRATCH": str(tmp_path / "scratch")}
    container = run_v2.Container(
        image="any/image",
        command=command,
        env=[run_v2.EnvVar(name=name, value=value) for name, value in variables.items()],
    )
    task = run_v2.TaskTemplate(containers=[container], max_retries=0)
    job = run_v2.Job(template=run_v2.ExecutionTemplate(template=task))
    jobs.create_job(parent=parent(), job=job, job_id=job_id).result(timeout=60)
    home = tmp_path / "home"
    home.mkdir()
    wire.side = "sortie"
    return Sortie(sortie, wire, emulator, job_id, home)


def uploads(exchanges: list[dict]) -> list[str]:
    """The names of the objects whose upload was asked for."""
    asked = [exchange for exchange in exchanges if "uploadType=" in exchange["url"] and exchange["method"] == "POST"]
    bodies = [(exchange["request_body"] or {}).get("name") for exchange in asked]
    return [name or re.search(r"[?&]name=([^&]*)", exchange["url"])[1] for name, exchange in zip(bodies, asked)]


def test_files_go_out_and_results_come_home(run: Sortie, judged: Callable[[], list[dict]]) -> None:
    (run.home / "repo").mkdir()
    (run.home / "repo" / "a.txt").write_text("hello")
    script = "cat input/repo/a.txt; echo oops >&2; tr a-z A-Z < input/repo/a.txt > output/big; exit 7"
    ended = run("run", "--input", "repo", "--out", "results", "--", "sh", "-c", script)
    assert ended.returncode == 7, ended
    assert b"hello" in ended.stdout and b"oops" in ended.stderr
    assert (run.home / "results" / "output" / "big").read_text() == "HELLO"
    exchanges = judged()
    assert any(exchange["url"].partition("?")[0].endswith(":run") for exchange in exchanges)
    assert any(name.startswith("inputs") for name in uploads(exchanges))
    assert any("reports" in name for name in uploads(exchanges)), "the container's words were not heard"


def test_much_goes_both_ways(run: Sortie) -> None:
    given = run.home / "given"
    given.mkdir()
    for number in range(3):
        (given / f"{number}.bin").write_bytes(os.urandom(12 << 20))
    ended = run("run", "--input", "given", "--out", "results", "--", "sh", "-c", "cp -r input/given output/")
    assert ended.returncode == 0, ended
    for number in range(3):
        back = run.home / "results" / "output" / "given" / f"{number}.bin"
        assert back.read_bytes() == (given / f"{number}.bin").read_bytes()


def test_what_is_there_is_not_sent_again(run: Sortie, judged: Callable[[], list[dict]]) -> None:
    (run.home / "given").write_bytes(os.urandom(1 << 20))
    for attempt in range(2):
        run.wire.take() if attempt else None
        ended = run("run", "--input", "given", "--out", f"results{attempt}", "--", "wc", "-c", "input/given")
        assert ended.returncode == 0 and b"1048576" in ended.stdout, ended
        sent = [name for name in uploads(judged()) if name.startswith("inputs")]
        assert len(sent) == (0 if attempt else 1)


def test_many_tasks_are_one_execution(run: Sortie, judged: Callable[[], list[dict]]) -> None:
    ended = run("run", "-n", "5", "--out", "results", "--", "sh", "-c", "echo $CLOUD_RUN_TASK_INDEX > output/index")
    assert ended.returncode == 0, ended
    indices = sorted(path.read_text().strip() for path in (run.home / "results").rglob("index"))
    assert indices == ["0", "1", "2", "3", "4"]
    assert sum(exchange["url"].partition("?")[0].endswith(":run") for exchange in judged()) == 1


def test_a_timeout_is_124(run: Sortie) -> None:
    script = "echo saved > output/x; sleep 100"
    ended = run("run", "--timeout", "1s", "--grace", "1s", "--out", "results", "--", "sh", "-c", script)
    assert ended.returncode == 124, ended
    assert (run.home / "results" / "output" / "x").read_text() == "saved\n"


def test_an_interrupt_cancels_and_saves(run: Sortie, judged: Callable[[], list[dict]]) -> None:
    marker = run.home / "ready"
    script = f"echo saved > output/x; echo > {marker}; sleep 100"
    process = run.start("run", "--out", "results", "--", "sh", "-c", script)
    for _ in range(PATIENCE * 10):
        if marker.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, (out, err)
    assert (run.home / "results" / "output" / "x").read_text() == "saved\n"
    assert any(exchange["url"].partition("?")[0].endswith(":cancel") for exchange in judged())
