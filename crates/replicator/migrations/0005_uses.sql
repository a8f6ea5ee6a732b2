-- What pods run, as the watch on pods saw it. Times are milliseconds since 1970 (UTC).
CREATE TABLE uses (
    -- The reference as the pod has it, in canonical form.
    image           TEXT   NOT NULL,
    namespace       TEXT   NOT NULL,
    -- What the kubelet says it runs; empty where it has not said yet.
    digest          TEXT   NOT NULL,
    -- How many of them run now.
    pods            BIGINT NOT NULL,
    first_seen_at_ms BIGINT NOT NULL,
    last_seen_at_ms BIGINT NOT NULL,
    PRIMARY KEY (image, namespace, digest)
);
-- What runs now.
CREATE INDEX uses_now ON uses (image) WHERE pods > 0;
CREATE INDEX uses_by_age ON uses (last_seen_at_ms) WHERE pods = 0;

-- Moments that all replicators go by, each under its name.
CREATE TABLE moments (
    name  TEXT   NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
);
