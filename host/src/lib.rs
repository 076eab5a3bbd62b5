//! Send local files to an ephemeral Cloud Run Jobs container, run a command there, bring the results home.
