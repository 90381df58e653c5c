//! What every process needs: tasks, TLS, serving, problem+json errors, auth, metrics.
