-- The queue, leases and freshness in the rows of replicas, and what is kept beside them.
-- BIGINT in the place of BOOLEAN: 0 or 1. Rows are copied, since SQLite cannot change a CHECK.
CREATE TABLE replicas_2 (
    source             TEXT   NOT NULL PRIMARY KEY,
    target             TEXT   NOT NULL,
    state              TEXT   NOT NULL CHECK (state IN ('wanted', 'copying', 'present', 'stale', 'failed', 'refused')),
    digest             TEXT,
    size_bytes         BIGINT,
    attempts           BIGINT NOT NULL,
    failure_code       TEXT,
    failure_side       TEXT,
    failure_message    TEXT,
    failure_is_lasting BIGINT,
    -- The lane that its turn is counted in: the source's registry, and the namespace that asked.
    registry           TEXT   NOT NULL,
    namespace          TEXT   NOT NULL,
    priority           BIGINT NOT NULL,
    -- At most one of these three is there: it waits, will wait, or somebody works on it.
    turn               BIGINT,
    due_at_ms          BIGINT,
    lease_owner        TEXT,
    -- Since when it waits, or is worked on.
    since_ms           BIGINT,
    claims             BIGINT NOT NULL,
    checked_at_ms      BIGINT,
    changed_at_ms      BIGINT NOT NULL,
    revision           BIGINT NOT NULL
);

INSERT INTO replicas_2
SELECT source, target, CASE state WHEN 'copying' THEN 'wanted' ELSE state END, digest, size_bytes,
    attempts, failure_code, failure_side, failure_message,
    CASE WHEN failure_is_lasting THEN 1 ELSE 0 END,
    '', 'unknown', 1,
    CASE WHEN state IN ('wanted', 'copying') OR (state = 'refused' AND due_at_ms IS NOT NULL) THEN 1 END,
    CASE WHEN state = 'failed' THEN due_at_ms END,
    NULL,
    CASE WHEN state IN ('wanted', 'copying') OR (state = 'refused' AND due_at_ms IS NOT NULL) THEN changed_at_ms END,
    0,
    CASE WHEN state = 'present' THEN changed_at_ms END,
    changed_at_ms, revision + 1
FROM replicas;

DROP TABLE replicas;
ALTER TABLE replicas_2 RENAME TO replicas;

-- What a worker takes next.
CREATE INDEX replicas_waiting ON replicas (priority, turn, since_ms) WHERE turn IS NOT NULL;
-- The last turn of a lane.
CREATE INDEX replicas_lanes ON replicas (registry, namespace, priority, turn) WHERE turn IS NOT NULL;
-- What joins the queue next.
CREATE INDEX replicas_due ON replicas (due_at_ms) WHERE due_at_ms IS NOT NULL;
-- What a replicator works on.
CREATE INDEX replicas_leased ON replicas (lease_owner) WHERE lease_owner IS NOT NULL;
-- How many there are in each state.
CREATE INDEX replicas_states ON replicas (state);

-- Signs of life. What a replicator holds is its own until that time, and anybody's after it.
CREATE TABLE replicators (
    id       TEXT   NOT NULL PRIMARY KEY,
    until_ms BIGINT NOT NULL
);
