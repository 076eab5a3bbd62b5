//! Every call that host and entrypoint make, and a scene in which it is made.

use crate::proxy::{Call, Fault, Kind, Side};
use crate::scene::Scene;

/// A call, and what makes it be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// As the table calls it.
    pub(crate) name: &'static str,
    pub(crate) call: Call,
    pub(crate) scene: Scene,
    /// What must go wrong first.
    pub(crate) after: Option<(Call, Fault)>,
}

const fn row(name: &'static str, side: Side, kind: Kind, about: &'static str, scene: Scene) -> Row {
    Row {
        name,
        call: Call { side, kind, about },
        scene,
        after: None,
    }
}

impl Row {
    const fn after(mut self, side: Side, kind: Kind, about: &'static str, fault: Fault) -> Self {
        self.after = Some((Call { side, kind, about }, fault));
        self
    }

    /// What can go wrong with it.
    pub(crate) fn faults(&self) -> Vec<Fault> {
        let mut faults = vec![
            Fault::Refuse,
            Fault::ResetAtOnce,
            Fault::ResetUnheard,
            Fault::LostAnswer,
            Fault::ResetInAnswer,
            Fault::Truncated,
            Fault::ResetAfter,
            Fault::StallUnheard,
            Fault::StallDone,
            Fault::StallInAnswer,
            Fault::Drip,
            Fault::AnswerTwice,
            Fault::DoneTwice,
            Fault::DoneAnd503,
            Fault::Outage,
            Fault::Forbidden,
        ];
        for code in [408, 429, 500, 502, 503, 504] {
            faults.extend([Fault::Status(code, None), Fault::Status(code, Some(1))]);
        }
        let kind = self.call.kind;
        // No token goes to who gives tokens.
        if kind != Kind::Token {
            faults.extend([Fault::Expired, Fault::Unauthenticated, Fault::RateLimit]);
        }
        if kind.has_body() {
            faults.push(Fault::ResetInRequest);
        }
        if kind.has_media() {
            faults.push(Fault::FlipUp);
        }
        if kind == Kind::Media {
            faults.extend([Fault::FlipDown, Fault::WrongHash]);
        }
        faults
    }
}

const HOST: Side = Side::Host;
const TASK: Side = Side::Task;

/// All of them, in the order of a run.
pub(crate) const ROWS: &[Row] = &[
    row(
        "host: jobs.get",
        HOST,
        Kind::JobsGet,
        "/jobs/",
        Scene::Small,
    ),
    row(
        "host: jobs.create, `--cpu`",
        HOST,
        Kind::JobsCreate,
        "",
        Scene::OwnJob,
    ),
    row(
        "host: objects.get, a pack",
        HOST,
        Kind::Get,
        "inputs/",
        Scene::Small,
    ),
    row(
        "host: objects.insert multipart, a pack",
        HOST,
        Kind::Insert,
        "inputs/",
        Scene::Small,
    ),
    row(
        "host: objects.patch, a pack's time",
        HOST,
        Kind::Patch,
        "inputs/",
        Scene::KnownInput,
    ),
    row(
        "host: resumable start, a pack",
        HOST,
        Kind::ResumableStart,
        "inputs/",
        Scene::LargeInput,
    ),
    row(
        "host: resumable chunk, a pack",
        HOST,
        Kind::Chunk,
        "",
        Scene::LargeInput,
    ),
    row(
        "host: resumable last chunk, a pack",
        HOST,
        Kind::LastChunk,
        "",
        Scene::LargeInput,
    ),
    row(
        "host: resumable query, a pack",
        HOST,
        Kind::Query,
        "",
        Scene::LargeInput,
    )
    .after(HOST, Kind::Chunk, "", Fault::LostAnswer),
    row(
        "host: objects.insert multipart, the record",
        HOST,
        Kind::Insert,
        "/run.json",
        Scene::Small,
    ),
    row(
        "host: objects.insert multipart, a start",
        HOST,
        Kind::Insert,
        "/starts/",
        Scene::Small,
    ),
    row("host: jobs.run", HOST, Kind::JobsRun, "", Scene::Small),
    row(
        "host: executions.list, after a lost jobs.run",
        HOST,
        Kind::ExecutionsList,
        "",
        Scene::Small,
    )
    .after(HOST, Kind::JobsRun, "", Fault::LostAnswer),
    row(
        "host: executions.get",
        HOST,
        Kind::ExecutionsGet,
        "",
        Scene::Small,
    ),
    row(
        "host: objects.list, logs",
        HOST,
        Kind::List,
        "/logs/0.",
        Scene::Talking,
    ),
    row(
        "host: objects.list, chunks",
        HOST,
        Kind::List,
        "startOffset=",
        Scene::Talking,
    ),
    row(
        "host: objects.get alt=media, a chunk",
        HOST,
        Kind::Media,
        "/logs/",
        Scene::Talking,
    ),
    row(
        "host: objects.list, reports",
        HOST,
        Kind::List,
        "/reports/",
        Scene::Small,
    ),
    row(
        "host: objects.get alt=media, a claim",
        HOST,
        Kind::Media,
        "/claims/",
        Scene::Small,
    ),
    row(
        "host: objects.get alt=media, a report",
        HOST,
        Kind::Media,
        "/reports/",
        Scene::Small,
    ),
    row(
        "host: objects.get alt=media, outputs",
        HOST,
        Kind::Media,
        "/outputs/",
        Scene::Object,
    ),
    row(
        "host: objects.get alt=media, large outputs",
        HOST,
        Kind::Media,
        "/outputs/",
        Scene::Large,
    ),
    row(
        "host: objects.delete, outputs",
        HOST,
        Kind::Delete,
        "/outputs/",
        Scene::Object,
    ),
    row(
        "host: tasks.list, of a lost task",
        HOST,
        Kind::TasksList,
        "",
        Scene::Lost,
    ),
    row(
        "host: objects.list, claims",
        HOST,
        Kind::List,
        "/claims/",
        Scene::Lost,
    ),
    row(
        "host: objects.list, checkpoints",
        HOST,
        Kind::List,
        "/checkpoints/",
        Scene::Lost,
    ),
    row(
        "host: objects.get alt=media, a checkpoint",
        HOST,
        Kind::Media,
        "/checkpoints/",
        Scene::Lost,
    ),
    row(
        "host: executions.cancel, Ctrl-C",
        HOST,
        Kind::ExecutionsCancel,
        "",
        Scene::Cancel,
    ),
    row(
        "host: objects.get alt=media, the record, `wait`",
        HOST,
        Kind::Media,
        "/run.json",
        Scene::Wait,
    ),
    row(
        "host: objects.list, starts, `wait`",
        HOST,
        Kind::List,
        "/starts/",
        Scene::Wait,
    ),
    row(
        "host: objects.get alt=media, a start, `wait`",
        HOST,
        Kind::Media,
        "/starts/",
        Scene::Wait,
    ),
    row(
        "host: executions.list, `wait`",
        HOST,
        Kind::ExecutionsList,
        "",
        Scene::Wait,
    ),
    row(
        "host: executions.delete, `rm`",
        HOST,
        Kind::ExecutionsDelete,
        "",
        Scene::Remove,
    ),
    row(
        "host: objects.list, `rm`",
        HOST,
        Kind::List,
        "runs/",
        Scene::Remove,
    ),
    row(
        "host: objects.delete, a report, `rm`",
        HOST,
        Kind::Delete,
        "/reports/",
        Scene::Remove,
    ),
    row(
        "host: objects.delete, the record, `rm`",
        HOST,
        Kind::Delete,
        "/run.json",
        Scene::Remove,
    ),
    row("task: token", Side::Metadata, Kind::Token, "", Scene::Small),
    row(
        "task: objects.get alt=media, the start",
        TASK,
        Kind::Media,
        "/starts/",
        Scene::Small,
    ),
    row(
        "task: objects.insert multipart, the claim",
        TASK,
        Kind::Insert,
        "/claims/",
        Scene::Small,
    ),
    row(
        "task: objects.get, the claim after a lost answer",
        TASK,
        Kind::Get,
        "/claims/",
        Scene::Small,
    )
    .after(TASK, Kind::Insert, "/claims/", Fault::LostAnswer),
    row(
        "task: objects.get alt=media, a pack",
        TASK,
        Kind::Media,
        "inputs/",
        Scene::Small,
    ),
    row(
        "task: objects.get alt=media, a large pack",
        TASK,
        Kind::Media,
        "inputs/",
        Scene::Large,
    ),
    row(
        "task: objects.insert multipart, a log chunk",
        TASK,
        Kind::Insert,
        "/logs/",
        Scene::Talking,
    ),
    row(
        "task: objects.insert multipart, a checkpoint",
        TASK,
        Kind::Insert,
        "/checkpoints/",
        Scene::Checkpoint,
    ),
    row(
        "task: objects.insert multipart, outputs",
        TASK,
        Kind::Insert,
        "/outputs/",
        Scene::Object,
    ),
    row(
        "task: resumable start, outputs",
        TASK,
        Kind::ResumableStart,
        "/outputs/",
        Scene::Large,
    ),
    row(
        "task: resumable chunk, outputs",
        TASK,
        Kind::Chunk,
        "",
        Scene::Large,
    ),
    row(
        "task: resumable last chunk, outputs",
        TASK,
        Kind::LastChunk,
        "",
        Scene::Large,
    ),
    row(
        "task: resumable query, outputs",
        TASK,
        Kind::Query,
        "",
        Scene::Large,
    )
    .after(TASK, Kind::Chunk, "", Fault::LostAnswer),
    row(
        "task: objects.insert multipart, the report",
        TASK,
        Kind::Insert,
        "/reports/",
        Scene::Small,
    ),
    row(
        "task: objects.get, the report after a lost answer",
        TASK,
        Kind::Get,
        "/reports/",
        Scene::Small,
    )
    .after(TASK, Kind::Insert, "/reports/", Fault::LostAnswer),
];
