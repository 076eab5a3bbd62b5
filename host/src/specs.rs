//! What every task is told.

use wire::contract::Spec;

use crate::request::Request;
use crate::stage::{InputSource, Staged};
use crate::submit::Assigned;

/// Every task's spec, its inputs filled in.
pub(crate) fn specs(request: &Request, staged: &[Staged]) -> Vec<Spec> {
    let all = request.inputs();
    let inputs = |wanted: &[InputSource]| {
        wanted
            .iter()
            .filter_map(|input| all.iter().position(|other| other == input))
            .filter_map(|at| staged.get(at))
            .map(|staged| staged.input.clone())
            .collect()
    };
    let task_specs = request.tasks.iter().map(|task| {
        let mut spec = task.spec.clone();
        spec.inputs = inputs(&task.inputs);
        spec
    });
    task_specs.collect()
}

/// Equal specs become one.
pub(crate) fn distinct(tasks: &[Assigned], specs: &[Spec]) -> (Vec<Assigned>, Vec<Spec>) {
    let mut kept: Vec<Spec> = Vec::new();
    let mut assigned = Vec::with_capacity(tasks.len());
    for task in tasks {
        let Some(spec) = specs.get(task.spec as usize) else {
            continue;
        };
        let at = kept
            .iter()
            .rposition(|other| other == spec)
            .unwrap_or_else(|| {
                kept.push(spec.clone());
                kept.len() - 1
            });
        assigned.push(Assigned {
            task: task.task,
            spec: u32::try_from(at).unwrap_or(u32::MAX),
        });
    }
    (assigned, kept)
}
