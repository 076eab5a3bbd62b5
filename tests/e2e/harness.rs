//! A home, a data directory and a working directory that live as long as a test.

use std::ffi::OsStr;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) const SORTIE: &str = env!("CARGO_BIN_EXE_sortie");

/// Nothing here takes so long unless it hangs.
const PATIENCE: Duration = Duration::from_mins(2);

/// A user's machine, for one test.
pub(crate) struct Machine {
    dir: tempfile::TempDir,
    nobody: bool,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["home", "data", "work"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir, nobody: false }
    }

    /// One whose user is not root, whoever runs the tests.
    pub(crate) fn of_nobody() -> Self {
        use std::os::unix::fs::{PermissionsExt, chown};
        let mut machine = Self::new();
        if rustix::process::geteuid().is_root() {
            fs::set_permissions(machine.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            for name in ["home", "data", "work"] {
                chown(machine.dir.path().join(name), Some(65534), Some(65534)).unwrap();
            }
            machine.nobody = true;
        }
        machine
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The directory commands are typed in.
    pub(crate) fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.work().join(relative)
    }

    pub(crate) fn write(&self, relative: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn read(&self, relative: &str) -> Vec<u8> {
        fs::read(self.path(relative)).unwrap_or_else(|error| panic!("{relative}: {error}"))
    }

    pub(crate) fn text(&self, relative: &str) -> String {
        String::from_utf8(self.read(relative)).unwrap()
    }

    /// `sortie` with these words, typed in the working directory.
    pub(crate) fn sortie<I, S>(&self, words: I) -> Typed
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.program(SORTIE, words)
    }

    /// Another program, in the same surroundings.
    #[expect(clippy::disallowed_methods, reason = "a test has no settings to read")]
    pub(crate) fn program<I, S>(&self, program: impl AsRef<OsStr>, words: I) -> Typed
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(program);
        command
            .args(words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.home())
            .env("SORTIE_DATA_DIR", self.data())
            .env("SORTIE_EMULATOR_IDLE", "2min")
            .current_dir(self.work())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // What the emulators are asked and answer is judged afterwards, where somebody wants that.
        if let Some(record) = std::env::var_os("SORTIE_EMULATOR_RECORD") {
            command.env("SORTIE_EMULATOR_RECORD", record);
        }
        if self.nobody {
            command.uid(65534).gid(65534);
        }
        Typed {
            command,
            input: Vec::new(),
        }
    }

    /// How to reach the emulator that serves this machine: its endpoint, its token.
    pub(crate) fn emulator(&self) -> (String, String) {
        let record = self.record();
        let text = |key: &str| record[key].as_str().unwrap().to_owned();
        (text("endpoint"), text("token"))
    }

    fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.data().join("emulator.json")).unwrap()).unwrap()
    }

    /// Ends the emulator, as a crash would.
    pub(crate) fn kill_emulator(&self) {
        signal(self.emulator_pid().unwrap(), rustix::process::Signal::KILL);
        wait_until("the emulator is gone", || self.emulator_pid().is_none());
    }

    /// The emulator's process, if it serves.
    pub(crate) fn emulator_pid(&self) -> Option<u32> {
        let json = fs::read(self.data().join("emulator.json")).ok()?;
        let record: Value = serde_json::from_slice(&json).ok()?;
        let pid = u32::try_from(record["pid"].as_u64()?).ok()?;
        is_alive(pid).then_some(pid)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(pid) = self.emulator_pid() {
            signal(pid, rustix::process::Signal::TERM);
            let begun = Instant::now();
            while is_alive(pid) && begun.elapsed() < Duration::from_secs(15) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        // Read-only directories of a test would keep the temporary one from going.
        let _ = Command::new("chmod")
            .arg("-R")
            .arg("u+rwx")
            .arg(self.dir.path())
            .output();
    }
}

/// A process that is gone, or a zombie that nobody reaps here, is not alive.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

pub(crate) fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// Waits for what must come; how long it takes is not the test's matter.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "still waiting until {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// For a test's own calls to the emulator.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

/// A command line, not yet entered.
#[must_use]
pub(crate) struct Typed {
    command: Command,
    input: Vec<u8>,
}

impl Typed {
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// In a directory below, which is made.
    pub(crate) fn directory(mut self, name: &str) -> Self {
        let dir = self.command.get_current_dir().unwrap().join(name);
        fs::create_dir_all(&dir).unwrap();
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = bytes.into();
        self.command.stdin(Stdio::piped());
        self
    }

    /// To its end.
    pub(crate) fn enter(self) -> Done {
        let input = self.input.clone();
        let mut running = self.start();
        if let Some(mut stdin) = running.child.stdin.take() {
            std::thread::spawn(move || stdin.write_all(&input));
        }
        running.end()
    }

    /// In the background.
    pub(crate) fn start(mut self) -> Running {
        Running {
            child: self.command.spawn().unwrap(),
        }
    }
}

/// For somebody else to start.
impl From<Typed> for Command {
    fn from(typed: Typed) -> Self {
        typed.command
    }
}

/// A command under way.
pub(crate) struct Running {
    child: Child,
}

impl Running {
    pub(crate) fn signal(&self, what: rustix::process::Signal) {
        signal(self.child.id(), what);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line of its standard output.
    pub(crate) fn line(&mut self) -> String {
        let out = self.child.stdout.as_mut().unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while out.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap()
    }

    /// The next JSON line that is about this.
    pub(crate) fn event(&mut self, name: &str) -> Value {
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "it ended before `{name}`");
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["event"] == name {
                return value;
            }
        }
    }

    pub(crate) fn end(self) -> Done {
        Done::from(self.child.wait_with_output().unwrap())
    }
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    #[track_caller]
    pub(crate) fn code(self, expected: i32) -> Self {
        assert_eq!(
            self.code,
            Some(expected),
            "stdout:\n{}\nstderr:\n{}",
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn prints(self, expected: &str) -> Self {
        assert_eq!(
            String::from_utf8_lossy(&self.stdout),
            expected,
            "stderr:\n{}",
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(
            self.stderr.contains(words),
            "no `{words}` in:\n{}",
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn says_nothing_of(self, words: &str) -> Self {
        assert!(
            !self.stderr.contains(words),
            "`{words}` in:\n{}",
            self.stderr
        );
        self
    }

    /// The lines of `--json`.
    #[track_caller]
    pub(crate) fn lines(&self) -> Vec<Value> {
        let text = std::str::from_utf8(&self.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The last of them: the result.
    #[track_caller]
    pub(crate) fn result(&self) -> Value {
        let last = self
            .lines()
            .pop()
            .unwrap_or_else(|| panic!("no line; {}", self.stderr));
        assert_eq!(last["event"], "result", "{last}");
        last
    }
}

/// A path from the root of the project.
pub(crate) fn project(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(relative)
}
