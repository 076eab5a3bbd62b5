//! PID 1 of a task: fetch, unpack, run, pack, upload, report.
