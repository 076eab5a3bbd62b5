"""Starts the servers that the tests talk to, each in a directory and on a port of its own."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

PROJECT = "sortie-conformance"
REGION = "us-central1"
BUCKET = "conformance-bucket"

EXPORT = re.compile(r"^export (\w+)='([^']*)'$")
# Printed last, so that all are known once it is.
LAST = "CLOUDSDK_AUTH_ACCESS_TOKEN"
PATIENCE = 60


@dataclass
class Emulator:
    """A running `sortie emulator`, and the environment that it printed for its clients."""

    process: subprocess.Popen[str]
    environment: dict[str, str]
    log: Path

    @property
    def endpoint(self) -> str:
        return self.environment["SORTIE_RUN_ENDPOINT"]

    @property
    def token(self) -> str:
        return self.environment["SORTIE_EMULATOR_TOKEN"]

    @property
    def metadata(self) -> str:
        return self.environment["GCE_METADATA_HOST"]

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(timeout=PATIENCE)


def start_emulator(sortie: str, state: Path, *flags: str) -> Emulator:
    """Starts one and waits until it has said where it is."""
    state.mkdir(parents=True, exist_ok=True)
    log = state / "emulator.log"
    argv = [sortie, "emulator", "--port", "0", "--state", str(state / "state"), "--project", PROJECT]
    argv += ["--region", REGION, "--bucket", BUCKET, *flags]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SORTIE_", "STORAGE_"))}
    with log.open("w") as errors:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
    # A server that says nothing must not hold the tests up for ever.
    watchdog = threading.Timer(PATIENCE, process.kill)
    watchdog.start()
    exports: dict[str, str] = {}
    assert process.stdout is not None
    for line in process.stdout:
        if export := EXPORT.match(line.strip()):
            exports[export[1]] = export[2]
        if LAST in exports:
            break
    watchdog.cancel()
    if LAST not in exports:
        process.wait()
        raise RuntimeError(f"`{' '.join(argv)}` ended with {process.returncode}: {log.read_text()[-2000:]}")
    return Emulator(process, exports, log)


def gcloud_environment(emulator: Emulator, home: Path) -> dict[str, str]:
    """For Google's command line: nobody's configuration, and the emulator's token."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "CLOUDSDK_CONFIG": str(home / "config"),
        "CLOUDSDK_CORE_PROJECT": PROJECT,
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_AUTH_ACCESS_TOKEN": emulator.token,
    }
