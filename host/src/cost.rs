//! What Cloud Run bills, by its list prices.

use std::collections::BTreeMap;
use std::time::Duration;

/// Regions at the second price; all others are at the first.
const TIER_2: &[&str] = &[
    "africa-south1",
    "asia-east2",
    "asia-northeast3",
    "asia-south2",
    "asia-southeast1",
    "asia-southeast2",
    "australia-southeast1",
    "australia-southeast2",
    "europe-central2",
    "europe-west10",
    "europe-west12",
    "europe-west2",
    "europe-west3",
    "europe-west6",
    "me-central1",
    "me-central2",
    "northamerica-northeast1",
    "northamerica-northeast2",
    "southamerica-east1",
    "southamerica-west1",
    "us-west2",
    "us-west3",
    "us-west4",
];

/// Every container is billed for a minute at the least.
const FLOOR_MS: u64 = 60_000;

/// Lives are rounded up to tenths of a second.
const ROUND_MS: u64 = 100;

/// Prices in US dollars for a second, as of [`Prices::DATE`]; `[prices]` in `sortie.toml` overrides them.
#[derive(Debug, Clone, Copy, PartialEq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Of one vCPU.
    pub vcpu_second: f64,
    /// Of one GiB of memory.
    pub gib_second: f64,
    /// Of one GPU (an L4 without zonal redundancy).
    #[serde(default = "gpu_second")]
    pub gpu_second: f64,
}

fn gpu_second() -> f64 {
    0.000_186_7
}

impl Prices {
    /// When the list prices were read.
    pub const DATE: &'static str = "2025-08-19";

    /// The list prices of a region, for jobs.
    pub fn of_region(region: &str) -> Self {
        let (vcpu_second, gib_second) = if TIER_2.contains(&region) {
            (0.000_025_2, 0.000_002_8)
        } else {
            (0.000_018, 0.000_002)
        };
        Self {
            vcpu_second,
            gib_second,
            gpu_second: gpu_second(),
        }
    }
}

/// What a second of a job's container costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate(f64);

impl Rate {
    /// By a job's resource limits: `cpu`, `memory`, `nvidia.com/gpu`. What is not set is Cloud Run's default.
    pub fn of(limits: &BTreeMap<String, String>, prices: Prices) -> Self {
        let cpu = limits.get("cpu").and_then(|text| cpus(text)).unwrap_or(1.0);
        let gib = limits.get("memory").and_then(|text| gibibytes(text));
        let gpu = limits.get("nvidia.com/gpu").and_then(|text| cpus(text));
        Self(
            cpu * prices.vcpu_second
                + gib.unwrap_or(0.5) * prices.gib_second
                + gpu.unwrap_or(0.0) * prices.gpu_second,
        )
    }

    /// Of one container that lived so long, in US dollars.
    pub fn cost(self, lived: Duration) -> f64 {
        let ms = u64::try_from(lived.as_millis()).unwrap_or(u64::MAX);
        let billed = ms.max(FLOOR_MS).div_ceil(ROUND_MS) * ROUND_MS;
        Duration::from_millis(billed).as_secs_f64() * self.0
    }
}

/// `2`, `1000m`.
fn cpus(text: &str) -> Option<f64> {
    match text.strip_suffix('m') {
        Some(milli) => milli.parse::<f64>().ok().map(|milli| milli / 1000.0),
        None => text.parse().ok(),
    }
}

/// `512Mi`, `2Gi`, `1G`, `1073741824`.
pub(crate) fn gibibytes(text: &str) -> Option<f64> {
    const UNITS: &[(&str, f64)] = &[
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("", 1.0),
    ];
    let (number, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))?;
    let bytes: f64 = number.parse().ok()?;
    Some(bytes * unit / 1_073_741_824.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(cpu: &str, memory: &str, region: &str) -> Rate {
        let limits = [("cpu", cpu), ("memory", memory)];
        let limits = limits.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Rate::of(&BTreeMap::from(limits), Prices::of_region(region))
    }

    fn about(got: f64, expected: f64) {
        assert!((got - expected).abs() < 1e-9, "{got} is not {expected}");
    }

    #[test]
    fn two_minutes_of_two_cpus() {
        let rate = rate("2", "4Gi", "us-central1");
        about(rate.cost(Duration::from_mins(2)), 0.00528);
    }

    #[test]
    fn five_seconds_are_billed_as_a_minute() {
        about(
            rate("1", "2Gi", "us-central1").cost(Duration::from_secs(5)),
            0.00132,
        );
        about(
            rate("1000m", "2048Mi", "us-central1").cost(Duration::ZERO),
            0.00132,
        );
    }

    #[test]
    fn tenths_are_rounded_up_and_regions_differ() {
        let rate = rate("1", "512Mi", "europe-west3");
        about(
            rate.cost(Duration::from_millis(60_001)),
            60.1 * (0.000_025_2 + 0.000_001_4),
        );
    }
}
