//! A private `/workspace` and `/tmp`, from Linux namespaces alone.
