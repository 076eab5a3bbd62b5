//! How often what must happen once has happened.

use std::ops::AddAssign;

use crate::calls::Row;
use crate::proxy::{Fault, Kind, Side};
use crate::scene::Scene;
use crate::stage::Stage;

/// What there is of a case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// How often the command ran.
    pub(crate) ran: usize,
    pub(crate) executions: usize,
    pub(crate) reports: usize,
}

impl Counts {
    /// What there is.
    pub(crate) fn of(stage: &Stage<'_>, scene: Scene) -> Self {
        let started = stage.started(scene.comes_back());
        let names = stage.names("runs/");
        let of_case = |name: &&String| {
            let run = name.split('/').nth(1).unwrap_or_default();
            name.contains("/reports/") && started.iter().any(|start| start.contains(run))
        };
        Self {
            ran: stage.ran(),
            executions: started.len(),
            reports: names.iter().filter(of_case).count(),
        }
    }

    /// What there must be of a run that came to its end.
    pub(crate) fn of_whole(scene: Scene) -> Self {
        let tasks = scene.tasks();
        Self {
            ran: tasks,
            executions: tasks,
            reports: if is_killed(scene) { 0 } else { tasks },
        }
    }

    /// What there must be of a run whose task has failed at this call.
    pub(crate) fn of_failed(row: &Row, fault: Fault) -> Self {
        let call = row.call;
        let is_claiming =
            call.kind == Kind::Token || ["/starts/", "/claims/"].contains(&call.about);
        let reads = call.side == Side::Task && call.kind == Kind::Media;
        let has_report = !is_claiming && call.about != "/reports/" && !is_killed(row.scene);
        // An input that the task cannot have is looked for, and then asked for by another start, once.
        let starts = if call.about == "inputs/" && fault == Fault::Forbidden {
            2
        } else {
            1
        };
        Self {
            ran: usize::from(!is_claiming && !reads),
            executions: starts,
            reports: starts * usize::from(has_report),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.ran += other.ran;
        self.executions += other.executions;
        self.reports += other.reports;
    }
}

/// Whether its task is killed before it can report.
fn is_killed(scene: Scene) -> bool {
    matches!(scene, Scene::Lost | Scene::Checkpoint)
}
