"""Many runs: a process a job, then their table, pictures and which of them failed."""
