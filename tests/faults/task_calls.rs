//! The calls of the entrypoint.

use crate::calls::{Row, row};
use crate::proxy::{Fault, Kind, Side};
use crate::scene::Scene;

const TASK: Side = Side::Task;

/// The entrypoint's calls, in the order of a task.
pub(crate) const TASK_ROWS: &[Row] = &[
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
        "task: objects.get alt=media, the claim of a twin",
        TASK,
        Kind::Media,
        "/claims/",
        Scene::Small,
    )
    .after(Side::Host, Kind::JobsRun, "", Fault::DoneTwice),
    row(
        "task: objects.get alt=media, a spec",
        TASK,
        Kind::Media,
        "/specs/",
        Scene::Spec,
    ),
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
        "task: objects.get, a log chunk after a lost answer",
        TASK,
        Kind::Get,
        "/logs/",
        Scene::Talking,
    )
    .after(TASK, Kind::Insert, "/logs/", Fault::LostAnswer),
    row(
        "task: objects.insert multipart, a checkpoint",
        TASK,
        Kind::Insert,
        "/checkpoints/",
        Scene::Checkpoint,
    ),
    row(
        "task: objects.get, a checkpoint after a lost answer",
        TASK,
        Kind::Get,
        "/checkpoints/",
        Scene::Checkpoint,
    )
    .after(TASK, Kind::Insert, "/checkpoints/", Fault::LostAnswer),
    row(
        "task: objects.insert multipart, outputs",
        TASK,
        Kind::Insert,
        ".KEY.tar.gz",
        Scene::Object,
    ),
    row(
        "task: objects.get, outputs after a lost answer",
        TASK,
        Kind::Get,
        ".KEY.tar.gz",
        Scene::Object,
    )
    .after(TASK, Kind::Insert, ".KEY.tar.gz", Fault::LostAnswer),
    row(
        "task: resumable start, outputs",
        TASK,
        Kind::ResumableStart,
        ".KEY.tar.gz",
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
        "task: objects.insert multipart, a collected directory",
        TASK,
        Kind::Insert,
        ".KEY.0.tar.gz",
        Scene::Collected,
    ),
    row(
        "task: objects.get, a collected directory after a lost answer",
        TASK,
        Kind::Get,
        ".KEY.0.tar.gz",
        Scene::Collected,
    )
    .after(TASK, Kind::Insert, ".KEY.0.tar.gz", Fault::LostAnswer),
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
