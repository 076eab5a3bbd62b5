//! What the collector finds and no entry needs to explain.

/// Files whose words show how a run stands, and say nothing of what went wrong.
pub(crate) const PAGES: &[&str] = &[
    "claude/src/page",
    "host/src/cli/forecast.rs",
    "host/src/cli/live.rs",
    "host/src/cli/table.rs",
    "host/src/report/mod.rs",
    "host/src/report/task.rs",
];

/// Words that fill the `…` of a text which has its entry.
const PARTS: &[&str] = &[
    "; on the quota of `…`",
    "Cloud Run",
    "Cloud Storage",
    "`--run-endpoint` or `SORTIE_RUN_ENDPOINT`",
    "`--storage-endpoint` or `STORAGE_EMULATOR_HOST`",
    "`…`, by gcloud",
    "a directory",
    "a model",
    "a program that is gone",
    "a session id",
    "a tool",
    "ahead of",
    "an argument",
    "and … more",
    "argument … of the command",
    "bytes of directories' names",
    "checkpoint interval",
    "credentials of the kind `…`, by gcloud",
    "data directory",
    "environment variable `…`",
    "flags and environment",
    "local mode (…)",
    "log interval",
    "look at",
    "look for",
    "no account",
    "no home directory",
    "no image",
    "no reason given",
    "nothing that has a name",
    "project `…`, region `…`, bucket `…`",
    "quota project",
    "run record",
    "service account `…`, by the key `…`",
    "service account `…`, by the metadata server",
    "service account `…`, impersonated by …",
    "special file",
    "task has",
    "task was",
    "tasks have",
    "tasks were",
    "the blob",
    "the bucket",
    "the environment's account",
    "the job",
    "the job's service account",
    "the login of `…`",
    "the project",
    "the pushed manifest",
    "who is logged in to gcloud",
    "your own login",
    "… min … s",
    "…, saved in `…`",
];

/// The steps of the sandbox and the workspace after `cannot`, which one paragraph names together.
const STEPS: &[&str] = &[
    "block signals",
    "give to the user",
    "give up privileges",
    "hear from the sandbox",
    "leave the host's root",
    "make a pipe",
    "make read-only",
    "make the directory",
    "make the file",
    "make the link",
    "mount a devpts at",
    "mount a procfs at",
    "mount a tmpfs at",
    "take a step that is not in the plan",
    "unblock signals",
    "wait for a signal",
    "wait for the sandbox",
];

/// Hints, which explain themselves.
const HINTS: &[&str] = &[
    "`gcloud auth application-default login` makes new credentials",
    "`gcloud auth application-default set-quota-project …`; it takes `roles/serviceusage.serviceUsageConsumer` there",
    "`printf %s \"$VALUE\" | gcloud secrets versions add … --data-file=- --project=…`",
    "`terraform -chdir=terraform apply` sets it as the kit has it",
    "`terraform apply` builds and pushes it again",
    "`terraform apply` makes it again",
    "give it a `--timeout` that leaves time to save the outputs",
    "give it more memory, or write less: files in a container are memory",
    "give the job's service account `roles/secretmanager.secretAccessor` on it, and the secret a version",
    "it goes on by itself; `sortie wait …` brings its results home",
    "let Cloud Run's service agent read the repository: `roles/artifactregistry.reader`",
    "make run CMD='wc -w input/text' INPUTS='text=README.md', or make run TASK=examples/wordcount.toml, or make run TASK='List what is in input/' INPUTS=examples",
    "raise the `serial` of `…` in terraform.tfvars, and `terraform -chdir=terraform apply`: the job names a version",
    "write `HOST/REPOSITORY:TAG` or `HOST/REPOSITORY@sha256:…`",
];

/// What tells that something went as it should, or how far it is.
const PROGRESS: &[&str] = &[
    "; $… by the list prices of …",
    "Claude Code: …, $… for the API",
    "`…` …: project `…`, environments `…`",
    "`…` and `…` answer",
    "`…` is there, in `…`",
    "all is well",
    "already in the bucket",
    "base `…`: … of …",
    "cancelling; what is saved comes home (Ctrl-C again leaves it)",
    "cost: $… for the API, as Claude Code reckons",
    "is sent",
    "is taken over by the registry",
    "is written",
    "next: sortie run -- echo hello",
    "removed run …: …",
    "run … is cancelled; `sortie wait …` brings home what it saved",
    "run … is over already",
    "run …: …, execution `…`",
    "says so already",
    "sent … in … of … packs",
    "settings: …; job `…`",
    "to use it: sortie run --image with that, or as an environment's `image` in Terraform",
    "would remove",
    "…, and nothing that stops a run",
];

/// What is looked for in other programs' words.
const FOREIGN: &[&str] = &[
    " at line 1 ",
    "max retries exceeded",
    "name resolution",
    "network is unreachable",
    "timed out",
    "unable to find the server",
    "unknown field `",
];

/// How a task ended, in a word or two, where its message stands beside.
const ENDINGS: &[&str] = &["not run", "not runnable", "outputs lost"];

/// What is written for programs, and for Claude.
const FORMATS: &[&str] = &[
    " --region=… --project=…",
    "# Made by `sortie init gs://…`. Meant to be committed; it holds no secrets.\n…",
    "--…\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n…\r\n--…\r\nContent-Type: …\r\n\r\n",
    "The files you are given, if any, are in the directory `input/` below your working directory. Put every file you are asked to make into the directory `output/` below your working directory: only what lies there is kept.\n\n",
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
    "multipart/related; boundary=…",
    "sortie image add",
];

/// What stays inside: an index that is not believed is only traced, and the others wake a thread which nobody hears.
const INSIDE: &[&str] = &[
    "another version made it",
    "it is too large",
    "nobody waits for it any more",
    "others may have written it",
    "there is no room",
];

/// Everything of the above.
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    [
        PARTS, STEPS, HINTS, PROGRESS, FOREIGN, ENDINGS, FORMATS, INSIDE,
    ]
    .into_iter()
    .flatten()
    .copied()
}
