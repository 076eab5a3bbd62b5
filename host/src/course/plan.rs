//! What every task of a run does, and where.

use std::collections::HashMap;

use wire::contract::{RunPlan, SpecSource, Start, TaskRange, VERSION};
use wire::names::RunId;

/// Where a task's spec is, and which job runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Assigned {
    /// Index into the sources.
    pub(crate) source: u32,
    /// Index into the jobs.
    pub(crate) job: u32,
}

/// A job that a run uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UsedJob {
    /// Its short name.
    pub(crate) name: String,
    /// What overrides its task timeout, in seconds.
    pub(crate) timeout_s: Option<u64>,
}

/// What every task of a run does, and where.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) jobs: Vec<UsedJob>,
    pub(crate) sources: Vec<SpecSource>,
    /// By task; absent where no document has said so far what it does.
    pub(crate) tasks: Vec<Option<Assigned>>,
}

impl Plan {
    pub(crate) fn job(&self, task: u32) -> Option<u32> {
        self.assigned(task).map(|assigned| assigned.job)
    }

    fn assigned(&self, task: u32) -> Option<Assigned> {
        self.tasks.get(task as usize).copied().flatten()
    }

    /// What an execution of these tasks is told; all have the same job.
    pub(crate) fn start(&self, run: RunId, start: u32, tasks: &[u32]) -> Start {
        let job = tasks.first().and_then(|&task| self.job(task));
        let job = job.and_then(|job| self.jobs.get(job as usize));
        let mut document = Start {
            version: VERSION,
            run,
            start,
            job: job.map(|job| job.name.clone()).unwrap_or_default(),
            timeout_s: job.and_then(|job| job.timeout_s),
            by: String::new(),
            tasks: Vec::new(),
            specs: Vec::new(),
        };
        let mut numbers: HashMap<u32, u32> = HashMap::new();
        for (index, &task) in (0_u32..).zip(tasks) {
            let Some(Assigned { source, .. }) = self.assigned(task) else {
                continue;
            };
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let spec = *numbers.entry(source).or_insert(next);
            if spec == next
                && let Some(source) = self.sources.get(source as usize)
            {
                push_source(&mut document.specs, source);
            }
            push_task(&mut document.tasks, index, task, spec);
        }
        document
    }

    /// What every task does, for a host that goes on with the run.
    pub(crate) fn whole(&self, run: RunId) -> RunPlan {
        let of_job = |job: u32| {
            let tasks = (0_u32..).zip(&self.tasks);
            let tasks = tasks.filter(|(_, assigned)| assigned.is_some_and(|a| a.job == job));
            self.start(run, job, &tasks.map(|(task, _)| task).collect::<Vec<_>>())
        };
        RunPlan {
            version: VERSION,
            run,
            jobs: (0_u32..).take(self.jobs.len()).map(of_job).collect(),
        }
    }

    /// Takes over what a start or a plan says of its tasks.
    pub(crate) fn learn(&mut self, document: &Start) {
        let job = self.job_number(document);
        let first = u32::try_from(self.sources.len()).unwrap_or(u32::MAX);
        self.sources.extend(document.sources());
        for range in &document.tasks {
            for i in 0..range.count {
                let Some(slot) = self.tasks.get_mut((range.task + i) as usize) else {
                    break;
                };
                *slot = Some(Assigned {
                    source: first + range.spec + range.step * i,
                    job,
                });
            }
        }
    }

    /// Whether a start says of its tasks what the plan does: a task may write what looks like one.
    pub(crate) fn has_made(&self, start: &Start) -> bool {
        let tasks = start
            .tasks
            .iter()
            .flat_map(|range| range.task..range.task + range.count);
        let tasks: Vec<u32> = tasks.collect();
        let made = Start {
            by: start.by.clone(),
            ..self.start(start.run, start.start, &tasks)
        };
        made == *start
    }

    fn job_number(&mut self, document: &Start) -> u32 {
        let used = UsedJob {
            name: document.job.clone(),
            timeout_s: document.timeout_s,
        };
        let at = self.jobs.iter().position(|job| *job == used);
        let at = at.unwrap_or_else(|| {
            self.jobs.push(used);
            self.jobs.len() - 1
        });
        u32::try_from(at).unwrap_or(u32::MAX)
    }
}

/// Neighbours with one spec, or with neighbouring ones, become one range.
fn push_task(ranges: &mut Vec<TaskRange>, index: u32, task: u32, spec: u32) {
    if let Some(last) = ranges.last_mut()
        && last.task + last.count == task
        && spec >= last.spec
    {
        let step = spec - last.spec;
        if last.count == 1 && step <= 1 {
            last.step = step;
        }
        if spec - last.spec == last.step * last.count {
            last.count += 1;
            return;
        }
        if last.count == 1 {
            last.step = 0;
        }
    }
    ranges.push(TaskRange {
        index,
        task,
        count: 1,
        spec,
        step: 0,
    });
}

/// Objects numbered in a row become one entry.
fn push_source(sources: &mut Vec<SpecSource>, source: &SpecSource) {
    if let SpecSource::Object(k) = *source {
        match sources.last_mut() {
            Some(SpecSource::Objects { first, count }) if *first + *count == k => {
                *count += 1;
                return;
            }
            Some(last) if k > 0 && *last == SpecSource::Object(k - 1) => {
                *last = SpecSource::Objects {
                    first: k - 1,
                    count: 2,
                };
                return;
            }
            _ => {}
        }
    }
    sources.push(source.clone());
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::contract::{Command, Spec};

    fn inline(text: &str) -> SpecSource {
        SpecSource::Inline(Box::new(Spec::new(Command::Shell(text.into()))))
    }

    fn plan(sources: Vec<SpecSource>, tasks: &[u32]) -> Plan {
        let assigned = |&source| Some(Assigned { source, job: 0 });
        Plan {
            jobs: vec![UsedJob {
                name: "j".to_owned(),
                timeout_s: None,
            }],
            sources,
            tasks: tasks.iter().map(assigned).collect(),
        }
    }

    /// Every task finds what the plan says, whatever the ranges.
    fn check(plan: &Plan, tasks: &[u32]) -> Start {
        let start = plan.start(RunId::new(), 3, tasks);
        for (index, &task) in (0_u32..).zip(tasks) {
            let source = plan.sources[plan.tasks[task as usize].unwrap().source as usize].clone();
            assert_eq!(start.find(index), Some((task, source)), "{start:?}");
        }
        let past = u32::try_from(tasks.len()).unwrap();
        assert_eq!(start.find(past), None);
        start
    }

    #[test]
    fn copies_are_one_range() {
        let plan = plan(vec![inline("a")], &[0; 1000]);
        let all: Vec<u32> = (0..1000).collect();
        let start = check(&plan, &all);
        assert_eq!((start.tasks.len(), start.specs.len()), (1, 1));
    }

    #[test]
    fn ten_thousand_specs_are_one_range_and_one_row() {
        let sources = (0..10_000).map(SpecSource::Object).collect();
        let all: Vec<u32> = (0..10_000).collect();
        let plan = plan(sources, &all);
        let start = plan.start(RunId::new(), 0, &all);
        assert_eq!((start.tasks.len(), start.specs.len()), (1, 1));
        assert_eq!(start.find(9_999), Some((9_999, SpecSource::Object(9_999))));
    }

    #[test]
    fn any_choice_of_tasks_finds_its_specs() {
        let sources = vec![inline("a"), inline("b"), SpecSource::Object(7)];
        let plan = plan(sources, &[0, 0, 1, 2, 2, 0, 1, 1, 2]);
        for tasks in [
            &[0, 1, 2, 3, 4, 5, 6, 7, 8][..],
            &[8, 2],
            &[1, 2, 3, 4],
            &[2, 6, 7, 0],
        ] {
            check(&plan, tasks);
        }
    }

    #[test]
    fn what_a_start_says_is_learnt() {
        let plan = plan(vec![inline("a"), SpecSource::Object(7)], &[0, 1, 1, 0]);
        let start = plan.start(RunId::new(), 0, &[1, 3]);
        let mut learnt = Plan {
            tasks: vec![None; 4],
            ..Plan::default()
        };
        learnt.learn(&start);
        assert_eq!(learnt.start(start.run, 0, &[1, 3]), start);
        assert_eq!(learnt.tasks[0], None);
    }
}
