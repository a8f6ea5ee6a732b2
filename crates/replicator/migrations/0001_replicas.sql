-- One row for each source that was ever asked for. Times are milliseconds since 1970 (UTC).
-- Only what SQLite and PostgreSQL both understand.
CREATE TABLE replicas (
    source          TEXT    NOT NULL PRIMARY KEY,
    target          TEXT    NOT NULL,
    state           TEXT    NOT NULL CHECK (state IN ('wanted', 'copying', 'present', 'failed', 'refused')),
    digest          TEXT,
    size_bytes      BIGINT,
    attempts        BIGINT  NOT NULL,
    failure_code    TEXT,
    failure_side    TEXT,
    failure_message TEXT,
    failure_is_lasting BOOLEAN,
    due_at_ms       BIGINT,
    changed_at_ms   BIGINT  NOT NULL,
    revision        BIGINT  NOT NULL
);

-- What a worker takes next: the one due longest.
CREATE INDEX replicas_due ON replicas (due_at_ms) WHERE due_at_ms IS NOT NULL;
