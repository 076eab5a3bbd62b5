"""Tasks in real containers, by `sortie run --image`: podman contains them. tests/kit/images.sh prepares."""

import http.server
import json
import os
import pathlib
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

HERE = pathlib.Path(__file__).parent.resolve()
ROOT = HERE.parent.parent
SORTIE = os.environ["SORTIE"]
SCRATCH = pathlib.Path(os.environ["SCRATCH"])
DATA = SCRATCH / "data"

SCRATCH_RECIPE = """
FROM scratch
COPY --from=sortie-entrypoint /sortie-entrypoint /sortie-entrypoint
COPY program /program
ENTRYPOINT ["/sortie-entrypoint"]
"""

# As static as the entrypoint, and from C.
PROGRAM = r"""
#include <stdio.h>
#include <unistd.h>
int main(int argc, char **argv) {
    FILE *in = fopen("input/word", "r"), *out = fopen("output/answer", "w");
    char word[64] = "";
    if (!in || !out || !fgets(word, sizeof word, in)) return 2;
    fprintf(out, "%s, %s\n", word, argc > 1 ? argv[1] : "");
    printf("parent %d\n", (int) getppid());
    return 3;
}
"""

OWN_RECIPE = """
FROM debian-here
COPY --from=sortie-entrypoint /sortie-entrypoint /sortie-entrypoint
RUN install -d -o 1234 /workspace
USER 1234
ENTRYPOINT ["/sortie-entrypoint"]
"""


def podman(*arguments, **options):
    return subprocess.run(["podman", *arguments], check=True, capture_output=True, text=True, **options).stdout.strip()


def build(name, recipe, **files):
    context = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH))
    (context / "Dockerfile").write_text(recipe)
    for file, source in files.items():
        (context / file).write_bytes(pathlib.Path(source).read_bytes())
        (context / file).chmod(0o755)
    podman("build", "--quiet", "--tag", name, str(context))


class Task:
    """One `sortie run`, or another verb that runs something."""

    def __init__(self, image, *arguments, verb="run", **environment):
        self.out = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH)) / "out"
        command = [SORTIE, verb, "--image", image, "--out", str(self.out), *arguments]
        environment = os.environ | {"SORTIE_DATA_DIR": str(DATA)} | environment
        self.log = self.out.parent / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=SCRATCH)

    def said(self):
        return self.log.read_text()

    def end(self):
        self.code = self.process.wait(timeout=300)
        return self

    def wait_for(self, text):
        while text not in self.said():
            assert self.process.poll() is None, self.said()
            time.sleep(0.05)

    def stdout(self):
        return (self.out / "stdout").read_text()

    def output(self, name):
        return (self.out / "output" / name).read_text()


def run(image, *arguments, **environment):
    return Task(image, *arguments, **environment).end()


def shell(image, text, *options, **environment):
    return run(image, *options, "--", "/bin/sh", "-c", text, **environment)


def containers():
    return podman("ps", "--all", "--quiet", "--filter", "label=sortie=task").split()


def emulator():
    return json.loads((DATA / "emulator.json").read_text())["pid"]


def setUpModule():
    program = SCRATCH / "program"
    subprocess.run(["cc", "-static", "-x", "c", "-o", str(program), "-"], input=PROGRAM, text=True, check=True)
    build("kit-scratch", SCRATCH_RECIPE, program=program)
    build("kit-own", OWN_RECIPE)
    (SCRATCH / "word").write_text("hello")
    (SCRATCH / "mounted").mkdir()
    (SCRATCH / "mounted/file").write_text("here\n")


def tearDownModule():
    os.kill(emulator(), signal.SIGTERM)
    assert containers() == [], "every task's container is gone"


class Base(unittest.TestCase):
    def test_inputs_arrive_and_outputs_and_the_exit_code_come_home(self):
        task = shell("sortie-base", "cp input/word output/copy; echo said; exit 7", "--input", f"word={SCRATCH}/word")
        self.assertEqual(task.code, 7, task.said())
        self.assertEqual((task.output("copy"), task.stdout()), ("hello", "said\n"))

    def test_the_command_is_nobody_special(self):
        task = shell("sortie-base", "id -un; id -u; echo $HOME; touch /etc/x 2>/dev/null || echo refused; ls -ld /workspace/output | cut -d' ' -f3")
        self.assertEqual(task.code, 0, task.said())
        self.assertEqual(task.stdout().split(), ["sortie", "1000", "/home/sortie", "refused", "sortie"])

    def test_the_entrypoint_is_pid_1_and_tells_the_command_nothing(self):
        task = shell("sortie-base", "cat /proc/1/comm; cat /proc/1/environ >/dev/null 2>&1 || echo refused; env | grep -c ^SORTIE_")
        self.assertEqual(task.stdout().split(), ["sortie-entrypoi", "refused", "0"], task.said())

    def test_nothing_is_in_the_image_that_need_not_be(self):
        task = shell("sortie-base", "for tool in gcloud gsutil python3 perl curl wget node; do command -v $tool; done; find / -xdev -name '*.pyc' | head; find /var/lib/apt/lists /var/cache/apt /var/log -type f -size +0 ! -name '*.log' ! -name lock")
        self.assertLessEqual(set(task.stdout().split()), {"/usr/bin/perl"}, "Debian's own base has perl, and no more is to be there")

    def test_orphans_are_reaped(self):
        task = shell("sortie-base", "for i in 1 2 3 4 5 6 7 8; do (setsid sh -c 'sleep 0.2; exit 9' &) ; done; sleep 2; cat /proc/[0-9]*/status | grep -c '^State:.*zombie'; true")
        self.assertEqual(task.stdout().strip(), "0", task.said())

    def test_a_cancel_reaches_the_command_and_its_outputs_come_home(self):
        text = 'trap "echo caught > output/caught; exit 0" TERM; echo ready; while :; do sleep 0.1; done'
        task = Task("sortie-base", "--", "/bin/sh", "-c", text)
        task.wait_for("ready")
        task.process.send_signal(signal.SIGINT)
        task.end()
        self.assertEqual(task.code, 130, task.said())
        self.assertEqual(task.output("caught"), "caught\n")

    def test_a_timeout_ends_what_ignores_sigterm(self):
        task = shell("sortie-base", "trap '' TERM; echo kept > output/kept; while :; do sleep 0.1; done", "--timeout", "2s", "--grace", "1s")
        self.assertEqual((task.code, task.output("kept")), (124, "kept\n"), task.said())


class Others(unittest.TestCase):
    def test_from_scratch_the_entrypoint_and_a_program_are_enough(self):
        task = run("kit-scratch", "--input", f"word={SCRATCH}/word", "--", "/program", "it's\n$me")
        self.assertEqual(task.code, 3, task.said())
        self.assertEqual((task.output("answer"), task.stdout()), ("hello, it's\n$me\n", "parent 1\n"))

    def test_from_scratch_a_missing_shell_is_said(self):
        task = run("kit-scratch", "--shell-file", str(SCRATCH / "word"))
        self.assertEqual(task.code, 127, task.said())
        self.assertIn("/bin/sh", task.said())

    def test_an_image_with_a_user_of_its_own_keeps_it(self):
        task = shell("kit-own", "id -u; cp input/word output/copy", "--input", f"word={SCRATCH}/word")
        self.assertEqual(task.code, 0, task.said())
        self.assertEqual((task.stdout(), task.output("copy")), ("1234\n", "hello"))

    def test_claude_code_is_there_and_node_is_not(self):
        task = shell("sortie-claude-code", "claude --version; id -un; command -v node npm pip3; true")
        said = task.stdout().split("\n")
        self.assertRegex(said[0], r"^2\.\d+\.\d+ \(Claude Code\)$", task.said())
        self.assertEqual(said[1:], ["sortie", ""])


class MessagesApi(http.server.BaseHTTPRequestHandler):
    """Answers every question with the same words, as the API streams them."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append((self.headers.get("x-api-key"), body.decode()))
        message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "stub", "content": [], "stop_reason": None, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
        events = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello from here"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 3}},
            {"type": "message_stop"},
        ]
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events:
            self.wfile.write(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode())

    def log_message(self, *_):
        pass


class Claude(unittest.TestCase):
    def test_a_prompt_runs_in_the_kits_image(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), MessagesApi)
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.shutdown)
        prompt = "Say 'hello'\nTASK_EOF $(id)"
        url = f"ANTHROPIC_BASE_URL=http://127.0.0.1:{server.server_port}"
        task = run("sortie-claude-code", "--env", url, "--env", "CLAUDE_CODE_MAX_RETRIES=0", prompt, verb="claude", ANTHROPIC_API_KEY="sk-of-the-kit")
        self.assertEqual(task.code, 0, task.said())
        self.assertEqual((task.out / "response.md").read_text(), "Hello from here")
        self.assertEqual(json.loads((task.out / "claude.json").read_text())["verdict"], "done")
        self.assertTrue(json.loads((task.out / "transcript.json").read_text()))
        self.assertTrue(any(key == "sk-of-the-kit" and json.dumps(prompt)[1:-1] in body for key, body in server.seen), server.seen)


class Local(unittest.TestCase):
    """What `--image` is on this machine."""

    def test_an_image_without_our_entrypoint_is_given_it(self):
        task = shell("debian-here", "cat /proc/1/comm; cat input/word > output/copy; grep -o ' /.sortie-entrypoint [^ ]* ro,' /proc/mounts | wc -l", "--input", f"word={SCRATCH}/word")
        self.assertEqual(task.code, 0, task.said())
        self.assertEqual((task.stdout(), task.output("copy")), (".sortie-entrypo\n1\n", "hello"))

    def test_without_a_static_one_it_is_the_program_and_that_is_said(self):
        alone = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH)) / "sortie"
        alone.write_bytes(pathlib.Path(SORTIE).read_bytes())
        alone.chmod(0o755)
        task = shell("debian-here", "cat /proc/1/comm", SORTIE_PROGRAM=str(alone), SORTIE_STATIC_ENTRYPOINT="", SORTIE_DATA_DIR=str(alone.parent / "data"), SORTIE_EMULATOR_IDLE="1s")
        self.assertEqual(task.code, 0, task.said())
        self.assertIn("make entrypoint", task.said())

    def test_secrets_reach_the_command_and_no_command_line(self):
        text = 'printf %s "$API_KEY" | wc -c; cat /proc/[0-9]*/cmdline | tr "\\0" "\\n" | grep -c "line of it"'
        task = Task("debian-here", "--secret", "API_KEY", "--", "/bin/sh", "-c", text + "; echo ready; sleep 3", API_KEY="a secret\nand a line of it")
        task.wait_for("ready")
        lines = b"".join(pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() for pid in os.listdir("/proc") if pid.isdigit() and pathlib.Path(f"/proc/{pid}/cmdline").exists())
        self.assertNotIn(b"and a line of", lines)
        self.assertIn("25", task.end().stdout(), task.said())

    def test_a_container_has_the_memory_it_is_given(self):
        task = shell("debian-here", "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; ulimit -n", "--cpu", "1", "--memory", "512Mi")
        self.assertEqual(task.code, 0, task.said())
        limit, files = task.stdout().split()
        self.assertEqual(int(limit), 512 << 20)
        self.assertLessEqual(int(files), 25000)

    def test_what_needs_too_much_memory_is_ended_and_told(self):
        task = shell("debian-here", "tail /dev/zero", "--cpu", "1", "--memory", "512Mi")
        self.assertNotEqual(task.code, 0, task.said())

    def test_a_directory_of_this_machine_can_be_read(self):
        task = shell("debian-here", f"cat {SCRATCH}/mounted/file; touch {SCRATCH}/mounted/x || echo refused", "--mount", str(SCRATCH / "mounted"))
        self.assertEqual(task.stdout().split(), ["here", "refused"], task.said())

    def test_what_a_killed_runner_left_is_removed_by_the_next(self):
        task = Task("debian-here", "--", "/bin/sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done")
        task.wait_for("ready")
        [runner] = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and self.is_runner(pid)]
        os.kill(runner, signal.SIGKILL)
        task.end()
        self.assertNotEqual(task.code, 0, task.said())
        self.assertEqual(shell("debian-here", "true").code, 0)
        self.assertEqual(containers(), [])

    def is_runner(self, pid):
        try:
            words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return words[1:2] == [b"container"] and words[0] == os.fsencode(SORTIE)

    def test_an_image_that_is_not_to_be_had_is_said_before_anything_is_sent(self):
        task = shell("localhost/no-such-image", "true")
        self.assertEqual(task.code, 125)
        self.assertIn("no image `localhost/no-such-image`", task.said())


class Images(unittest.TestCase):
    def test_they_start_as_root_with_the_entrypoint_and_nothing_else(self):
        for image in ["sortie-entrypoint", "sortie-base", "sortie-claude-code"]:
            config = json.loads(podman("image", "inspect", image))[0]["Config"]
            self.assertEqual(config.get("Entrypoint"), ["/sortie-entrypoint"], image)
            self.assertIn(config.get("User", ""), ("", "root"), image)
            self.assertFalse(config.get("Cmd"), image)

    def test_the_entrypoints_image_holds_one_file(self):
        container = podman("create", "sortie-entrypoint")
        listing = subprocess.run(f"podman export {container} | tar -t", shell=True, check=True, capture_output=True, text=True).stdout.split()
        podman("rm", container)
        made = {"dev/", "etc/", "proc/", "run/", "sys/"}  # by podman, for mounting
        self.assertEqual([name for name in listing if not name.startswith(tuple(made))], ["sortie-entrypoint"])

    def test_the_same_sources_make_the_same_image(self):
        def identities():
            return [podman("image", "inspect", "--format", "{{.Id}}", image) for image in ("sortie-entrypoint", "sortie-base")]

        before = identities()
        subprocess.run([ROOT / "images/build.sh", "--no-cache", "--debian", "debian-here", "entrypoint", "base"], check=True, capture_output=True)
        self.assertEqual(before, identities())


def serve_registry(test):
    """Debian's docker-registry, which podman may speak to without TLS."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH))
    (directory / "registry.yml").write_text(f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {directory}/registry}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n")
    (directory / "registries.conf").write_text(f'[[registry]]\nlocation = "127.0.0.1:{port}"\ninsecure = true\n')
    os.environ["CONTAINERS_REGISTRIES_CONF"] = str(directory / "registries.conf")
    test.addCleanup(os.environ.pop, "CONTAINERS_REGISTRIES_CONF")
    server = subprocess.Popen(["docker-registry", "serve", directory / "registry.yml"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    test.addCleanup(server.wait)
    test.addCleanup(server.terminate)
    for _ in range(100):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5).close()
            break
        except OSError:
            time.sleep(0.1)
    return f"127.0.0.1:{port}"


class Adding(unittest.TestCase):
    """`sortie image add`, and what comes of it."""

    def add(self, directory, *arguments, **environment):
        environment = os.environ | {"SORTIE_DATA_DIR": str(DATA)} | environment
        return subprocess.run([SORTIE, "image", "add", *arguments], env=environment, cwd=directory, capture_output=True, text=True)

    def test_an_image_is_added_to_and_runs_here(self):
        registry = serve_registry(self)
        podman("tag", "debian-here", f"{registry}/others/debian:1")
        podman("push", "--quiet", f"{registry}/others/debian:1")
        team = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH))
        (team / "sortie.toml").write_text(f'project = "p"\nbucket = "b"\n[environments.default]\njob = "j"\nimage = "{registry}/p/crew/base:1"\n')
        first = self.add(team, f"{registry}/others/debian:1")
        self.assertEqual(first.returncode, 0, first.stderr)
        self.assertRegex(first.stdout, rf"^{registry}/p/crew/debian(:[0-9a-f]+)?@sha256:[0-9a-f]{{64}}\n$")
        again = self.add(team, f"{registry}/others/debian:1", "--json")
        told = json.loads(again.stdout)
        self.assertEqual((told["event"], told["reference"], told["blobs_sent"]), ("image", first.stdout.strip(), 0), again.stderr)
        task = shell(first.stdout.strip(), "cat /proc/1/comm; pwd")
        self.assertEqual(task.stdout(), "sortie-entrypoi\n/workspace\n", task.said())

    def test_what_is_missing_is_said(self):
        nowhere = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH))
        base = f"127.0.0.1:9/debian@sha256:{'0' * 64}"
        target = self.add(nowhere, base)
        self.assertEqual((target.returncode, target.stdout), (125, ""))
        self.assertIn("name the new image too", target.stderr)
        alone = nowhere / "sortie"
        alone.write_bytes(pathlib.Path(SORTIE).read_bytes())
        entrypoint = self.add(nowhere, base, "127.0.0.1:9/t:1", SORTIE_PROGRAM=str(alone), SORTIE_STATIC_ENTRYPOINT="")
        self.assertEqual(entrypoint.returncode, 125)
        self.assertIn("make entrypoint", entrypoint.stderr)


class Pushing(unittest.TestCase):
    """images/push.sh, as Terraform calls it."""

    def push(self, build, registry, *images, path=""):
        environment = os.environ | {
            "SORTIE_PUSH_BUILD": build, "SORTIE_PUSH_REGISTRY": registry, "SORTIE_PUSH_PROJECT": "p", "SORTIE_PUSH_REGION": "us-central1",
            "SORTIE_PUSH_DEBIAN": "debian-here", "PATH": f"{path}:{os.environ['PATH']}",
        }
        return subprocess.run([ROOT / "images/push.sh", *images], env=environment, capture_output=True, text=True)

    def tools(self, **programs):
        directory = pathlib.Path(tempfile.mkdtemp(dir=SCRATCH))
        for name, text in programs.items():
            (directory / name).write_text(text)
            (directory / name).chmod(0o755)
        return directory

    def test_to_a_registry_once(self):
        registry = serve_registry(self)
        # No docker here, whatever the machine has; and a gcloud that knows a token.
        tools = self.tools(docker="#!/bin/sh\nexit 1\n", gcloud="#!/bin/sh\necho token\n")
        repository = f"{registry}/p/sortie"
        first = self.push("docker", repository, "base=abc", path=tools)
        self.assertEqual(first.returncode, 0, first.stderr)
        pushed = podman("pull", "--quiet", f"{repository}/base:abc")
        self.assertEqual(pushed, podman("image", "inspect", "--format", "{{.Id}}", "sortie-base"))
        again = self.push("docker", repository, "base=abc", path=tools)
        self.assertEqual((again.returncode, again.stdout), (0, f"{repository}/base:abc is there already\n"), again.stderr)

    def test_by_cloud_build_from_one_recipe(self):
        # A gcloud whose builds are podman's, given what Cloud Build would be given: a directory and a name.
        tools = self.tools(gcloud='#!/bin/sh\n[ "$1 $2" = "builds submit" ] || exit 1\nshift 2\nexec podman build --timestamp 1577836800 --tag cloud-built "$1" >&2\n')
        built = self.push("cloudbuild", "us-central1-docker.pkg.dev/p/sortie", "claude-code=abc", path=tools)
        self.assertEqual(built.returncode, 0, built.stderr[-2000:])
        task = shell("cloud-built", "claude --version; id -un")
        self.assertRegex(task.stdout(), r"^2\.\S+ \(Claude Code\)\nsortie\n$", task.said())

    def test_a_build_that_fails_is_told(self):
        tools = self.tools(gcloud="#!/bin/sh\nexit 1\n")
        self.assertNotEqual(self.push("cloudbuild", "us-central1-docker.pkg.dev/p/sortie", "base=abc", path=tools).returncode, 0)


if __name__ == "__main__":
    unittest.main()
