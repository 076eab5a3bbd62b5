//! What a task runs in, where that is not an environment's: checked before anything is sent.

use crate::error::Error;

const MIB: u64 = 1 << 20;

const GIB: u64 = 1 << 30;

/// vCPUs, and the memory that Cloud Run allows beside them, in bytes. Source: "Configure memory limits for jobs".
const PAIRS: &[(&str, u64, u64)] = &[
    ("1", 512 * MIB, 4 * GIB),
    ("2", 512 * MIB, 8 * GIB),
    ("4", 2 * GIB, 16 * GIB),
    ("6", 4 * GIB, 24 * GIB),
    ("8", 4 * GIB, 32 * GIB),
];

/// What Cloud Run takes where a job says nothing.
const DEFAULT_CPU: &str = "1";

/// What Cloud Run takes where a job says nothing.
const DEFAULT_MEMORY: &str = "512Mi";

/// What a task runs in, where that is not an environment's. What is not said is as the environment has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// The image.
    pub image: Option<String>,
    /// vCPUs: 1, 2, 4, 6 or 8.
    pub cpu: Option<String>,
    /// Memory, such as `2Gi`.
    pub memory: Option<String>,
    /// Whether it has a GPU.
    pub gpu: bool,
}

impl Shape {
    /// Whether nothing is asked for.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Refuses what Cloud Run would, given what the environment has.
    pub(crate) fn check(
        &self,
        environment_cpu: Option<&str>,
        environment_memory: Option<&str>,
    ) -> Result<(), Error> {
        let cpu = self.cpu.as_deref().or(environment_cpu);
        let cpu = cpu.unwrap_or(DEFAULT_CPU);
        let cpu = cpu.strip_suffix("000m").unwrap_or(cpu);
        let memory = self.memory.as_deref().or(environment_memory);
        let memory = memory.unwrap_or(DEFAULT_MEMORY);
        let Some(&(_, least, most)) = PAIRS.iter().find(|(name, ..)| *name == cpu) else {
            return Err(Error::usage(format!("a task cannot have {cpu} vCPUs"))
                .with_hint("`--cpu` is 1, 2, 4, 6 or 8"));
        };
        let Some(bytes) = bytes(memory) else {
            return Err(Error::usage(format!("`{memory}` is no amount of memory"))
                .with_hint("write it like `2Gi` or `512Mi`"));
        };
        if !(least..=most).contains(&bytes) {
            let what = format!("{memory} of memory do not go with {cpu} vCPU");
            return Err(Error::usage(what).with_hint(pair_hint(cpu, least, most, bytes)));
        }
        if self.gpu && (cpu.parse().unwrap_or(0) < 4 || bytes < 16 * GIB) {
            return Err(Error::usage(format!(
                "a GPU does not go with {cpu} vCPU and {memory} of memory"
            ))
            .with_hint("it takes at least `--cpu 4 --memory 16Gi`"));
        }
        Ok(())
    }
}

fn pair_hint(cpu: &str, least: u64, most: u64, wanted: u64) -> String {
    let hint = format!("with {cpu} it is {} to {}", written(least), written(most));
    let fits = PAIRS
        .iter()
        .find(|(_, least, most)| (least..=most).contains(&&wanted));
    match fits {
        Some((cpu, ..)) => format!("{hint}; `--cpu {cpu}` takes so much"),
        None => hint,
    }
}

fn written(bytes: u64) -> String {
    if bytes.is_multiple_of(GIB) {
        format!("{}Gi", bytes / GIB)
    } else {
        format!("{}Mi", bytes / MIB)
    }
}

/// As Kubernetes writes them.
pub(crate) fn bytes(text: &str) -> Option<u64> {
    let units = [
        ("Gi", GIB),
        ("Mi", MIB),
        ("G", 1_000_000_000),
        ("M", 1_000_000),
    ];
    let (number, unit) = units
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, *unit)))?;
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cpu: &str, memory: &str, gpu: bool) -> Result<(), Error> {
        Shape {
            cpu: Some(cpu.to_owned()),
            memory: Some(memory.to_owned()),
            gpu,
            image: None,
        }
        .check(None, None)
    }

    #[test]
    fn what_cloud_run_takes_passes() {
        for (cpu, memory) in [
            ("1", "512Mi"),
            ("1", "4Gi"),
            ("2", "8Gi"),
            ("4", "2Gi"),
            ("6", "24Gi"),
            ("8", "32Gi"),
            ("1000m", "1G"),
        ] {
            check(cpu, memory, false).unwrap();
        }
        check("4", "16Gi", true).unwrap();
        let half = Shape {
            memory: Some("8Gi".to_owned()),
            ..Shape::default()
        };
        half.check(Some("2"), Some("512Mi")).unwrap();
        assert!(half.check(Some("1"), Some("512Mi")).is_err());
    }

    #[test]
    fn what_it_does_not_take_is_refused_with_what_it_does() {
        for (cpu, memory, gpu, says) in [
            ("3", "4Gi", false, "1, 2, 4, 6 or 8"),
            ("1", "8Gi", false, "512Mi to 4Gi; `--cpu 2` takes so much"),
            ("8", "2Gi", false, "4Gi to 32Gi; `--cpu 1` takes so much"),
            ("8", "64Gi", false, "4Gi to 32Gi"),
            ("1", "lots", false, "like `2Gi`"),
            ("2", "8Gi", true, "--cpu 4 --memory 16Gi"),
        ] {
            let error = check(cpu, memory, gpu).unwrap_err();
            assert!(error.hint().unwrap().contains(says), "{error}");
        }
    }
}
