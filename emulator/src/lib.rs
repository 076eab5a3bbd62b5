//! Cloud Storage, Cloud Run jobs and the metadata server of one machine, on loopback.
